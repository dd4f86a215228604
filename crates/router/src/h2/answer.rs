//! An answer on its way from the path of HTTP/1.1 to a client of HTTP/2: its head is read once it is whole, its body is what the framing says.
//!
//! An answer that ends before its end is an error, so that the client does not take it for the whole.

use super::stall::Stall;
use crate::codec::{
    Body as Decoder, Framing,
    head::{Response as Head, Space},
    scan::Scan,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use tokio::task::AbortHandle;

/// What may wait for the client.
const MOST: usize = 64 * 1024;

/// The inner end: what was written and not yet taken.
#[derive(Debug)]
pub(super) struct Outbound {
    /// The answer to a HEAD has no body, whatever its head says.
    is_head: bool,
    /// What is not understood yet: a part of a head, or of a chunk's frame.
    raw: Vec<u8>,
    scan: Scan,
    head: Option<Response<()>>,
    /// Of the body, once the head was whole.
    decoder: Option<Decoder>,
    data: Vec<u8>,
    /// Nothing is written any more.
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Outbound {
    /// Before the first byte of an answer.
    pub(super) fn new(is_head: bool) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            is_head,
            raw: Vec::new(),
            scan: Scan::default(),
            head: None,
            decoder: None,
            data: Vec::new(),
            ended: false,
            reader: None,
            writer: None,
        }))
    }

    /// The head is there, and was not taken yet.
    pub(super) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// The answer was written to its end.
    pub(super) fn is_whole(&self) -> bool {
        self.decoder.as_ref().is_some_and(Decoder::is_done)
    }

    /// Nothing more will be written.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.wake_reader();
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        if self.data.len() >= MOST {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for part in parts {
            self.raw.extend_from_slice(part);
        }
        self.understand()?;
        self.wake_reader();
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    fn understand(&mut self) -> io::Result<()> {
        while self.decoder.is_none() {
            let Some(length) = self.scan.head(&self.raw).map_err(odd)? else { return Ok(()) };
            self.scan = Scan::default();
            let head: Vec<u8> = self.raw.drain(..length).collect();
            self.read_head(&head)?;
        }
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let progress = decoder.decode(&mut self.raw).map_err(odd)?;
        self.data.extend_from_slice(&self.raw[progress.data]);
        self.raw.drain(..progress.taken);
        Ok(())
    }

    /// Interim answers end here: hyper cannot send them.
    fn read_head(&mut self, head: &[u8]) -> io::Result<()> {
        let mut space = Space::new();
        let head = Head::parse(head, &mut space).map_err(odd)?;
        if head.status < 200 {
            return Ok(());
        }
        self.decoder = Some(Decoder::new(Framing::of_response(&head, self.is_head).map_err(odd)?));
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status).map_err(io::Error::other)?;
        let headers = response.headers_mut();
        headers.reserve(16);
        for (_, text, value) in head.fields.iter().filter(|(name, ..)| !name.is_hop_by_hop()) {
            let (name, value) = (HeaderName::from_bytes(text.as_bytes()), HeaderValue::from_bytes(value));
            headers.append(name.map_err(io::Error::other)?, value.map_err(io::Error::other)?);
        }
        self.head = Some(response);
        Ok(())
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let text = self.decoder.as_ref()?.trailers();
        let mut trailers = HeaderMap::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
            trailers.append(HeaderName::from_bytes(&line[..colon]).ok()?, value);
        }
        (!trailers.is_empty()).then_some(trailers)
    }
}

fn odd(refusal: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("what was written is no answer: {refusal:?}"))
}

/// The outer end: the answer's body, none for a refusal. It says whom it waits for.
#[derive(Debug)]
pub(super) struct Answer {
    outbound: Option<Rc<RefCell<Outbound>>>,
    stall: Rc<Stall>,
    /// Whatever writes the rest ends with this.
    _writer: Option<Writer>,
}

/// A task that ends when nobody wants its work any more.
#[derive(Debug)]
pub(super) struct Writer(pub(super) AbortHandle);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    /// The answer whose head is there; `writer` writes what is missing.
    pub(super) fn of(outbound: Rc<RefCell<Outbound>>, writer: Option<Writer>) -> Response<Self> {
        let head = outbound.borrow_mut().head.take();
        let Some(head) = head else { return Self::refusal(StatusCode::BAD_GATEWAY) };
        let stall = Stall::of_this_task();
        stall.awaits_client();
        head.map(|()| Self { outbound: Some(outbound), stall, _writer: writer })
    }

    /// Nothing but a status.
    pub(super) fn refusal(status: StatusCode) -> Response<Self> {
        let mut response = Response::new(Self { outbound: None, stall: Rc::default(), _writer: None });
        *response.status_mut() = status;
        response
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let Some(shared) = &this.outbound else { return Poll::Ready(None) };
        let mut outbound = shared.borrow_mut();
        if !outbound.data.is_empty() {
            let data = std::mem::take(&mut outbound.data);
            if let Some(writer) = outbound.writer.take() {
                writer.wake();
            }
            this.stall.awaits_client();
            return Poll::Ready(Some(Ok(Frame::data(data.into()))));
        }
        if outbound.is_whole() {
            let trailers = outbound.trailers();
            drop(outbound);
            this.outbound = None;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if outbound.ended {
            return Poll::Ready(Some(Err(io::Error::other("the answer broke off"))));
        }
        outbound.reader = Some(cx.waker().clone());
        this.stall.awaits_app();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let over = |outbound: &Outbound| {
            outbound.is_whole() && outbound.data.is_empty() && outbound.trailers().is_none()
        };
        self.outbound.as_ref().is_none_or(|shared| over(&shared.borrow()))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(outbound: &Rc<RefCell<Outbound>>, text: &str) {
        let mut cx = Context::from_waker(Waker::noop());
        // As cruelly as can be: byte by byte.
        for byte in text.as_bytes().chunks(1) {
            assert!(matches!(outbound.borrow_mut().poll_write(&mut cx, &[byte]), Poll::Ready(Ok(1))));
        }
    }

    fn read(answer: &mut Answer) -> Vec<Option<Result<Frame<Bytes>, String>>> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(frame) = Pin::new(&mut *answer).poll_frame(&mut cx) {
            let last = frame.as_ref().is_none_or(Result::is_err);
            all.push(frame.map(|frame| frame.map_err(|error| error.to_string())));
            if last {
                break;
            }
        }
        all
    }

    #[test]
    fn heads_bodies_and_trailers_are_what_was_written() {
        let outbound = Outbound::new(false);
        write(&outbound, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        assert!(!outbound.borrow().has_head());
        write(
            &outbound,
            "HTTP/1.1 201 Created\r\nx-a: 1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        let response = Answer::of(Rc::clone(&outbound), None);
        assert_eq!(response.status(), 201);
        let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-a"]);
        let mut body = response.into_body();
        assert!(read(&mut body).is_empty() && !body.is_end_stream());
        write(&outbound, "3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n");
        let frames = read(&mut body);
        let [Some(Ok(data)), Some(Ok(trailers)), None] = frames.as_slice() else { panic!("{frames:?}") };
        assert_eq!(data.data_ref().expect("data").as_ref(), b"abcde");
        assert_eq!(trailers.trailers_ref().expect("trailers")["x-sum"], "5");
    }

    #[test]
    fn what_breaks_off_is_an_error_and_what_has_no_body_ends_with_its_head() {
        let outbound = Outbound::new(false);
        write(&outbound, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc");
        let mut body = Answer::of(Rc::clone(&outbound), None).into_body();
        outbound.borrow_mut().end();
        assert!(matches!(read(&mut body).as_slice(), [Some(Ok(_)), Some(Err(_))]));
        let outbound = Outbound::new(true);
        write(&outbound, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
        assert!(Answer::of(outbound, None).into_body().is_end_stream());
        let none = Answer::of(Outbound::new(false), None);
        assert_eq!(none.status(), 502, "nothing was written");
    }

    #[test]
    fn who_writes_more_than_is_taken_waits() {
        let outbound = Outbound::new(false);
        write(&outbound, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        let mut cx = Context::from_waker(Waker::noop());
        let piece = vec![b'x'; MOST];
        assert!(outbound.borrow_mut().poll_write(&mut cx, &[&piece]).is_ready());
        assert!(outbound.borrow_mut().poll_write(&mut cx, &[&piece]).is_pending());
        let mut body = Answer::of(Rc::clone(&outbound), None).into_body();
        assert_eq!(read(&mut body).len(), 1);
        assert!(outbound.borrow_mut().poll_write(&mut cx, &[&piece]).is_ready());
    }
}
