//! One stream of HTTP/2, as the path of HTTP/1.1 sees it: a request to read, a place to write an answer to. Both ends are on one thread and share what is in it.
//!
//! It is the carrier of a [`crate::wire::Wire`] and must never hold more than a little: who writes into a full one waits.

use super::{answer::Outbound, request::lines};
use hyper::body::{Body as _, Bytes, Incoming};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// A request on its way in.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// What is to be read next.
    staged: Bytes,
    /// Where more comes from.
    body: Option<Incoming>,
    chunked: bool,
}

impl Inbound {
    /// A head, and a body that goes in chunks if its length is not known.
    pub(super) fn new(head: Vec<u8>, body: Option<Incoming>, chunked: bool) -> Self {
        Self { staged: head.into(), body, chunked }
    }

    /// Ready when there is something to read; never if nothing comes any more.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.staged.is_empty() {
            let Some(body) = &mut self.body else { return Poll::Pending };
            self.staged = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if self.chunked => chunk(&data),
                    Ok(data) => data,
                    Err(frame) => self.last(frame.trailers_ref().map(lines)),
                },
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => self.last(None),
            };
        }
        Poll::Ready(Ok(()))
    }

    /// The end of the body.
    fn last(&mut self, trailers: Option<Vec<u8>>) -> Bytes {
        self.body = None;
        if !self.chunked {
            return Bytes::new();
        }
        [b"0\r\n".as_slice(), trailers.as_deref().unwrap_or_default(), b"\r\n"].concat().into()
    }
}

fn chunk(data: &Bytes) -> Bytes {
    if data.is_empty() {
        // An empty chunk would be the last one.
        return Bytes::new();
    }
    let mut bytes = Vec::with_capacity(data.len() + 16);
    crate::text::hex(&mut bytes, data.len() as u64, 1);
    for part in [b"\r\n", data.as_ref(), b"\r\n"] {
        bytes.extend_from_slice(part);
    }
    bytes.into()
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Pipe {
    inbound: Inbound,
    outbound: Rc<RefCell<Outbound>>,
}

impl Pipe {
    /// A stream whose request comes from here and whose answer goes there.
    pub(super) fn new(inbound: Inbound, outbound: Rc<RefCell<Outbound>>) -> Self {
        Self { inbound, outbound }
    }

    /// Ready when there is something to read, or nothing will ever be: the request is answered.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.inbound.poll_ready(cx) {
            Poll::Pending if self.outbound.borrow().is_whole() => Poll::Ready(Ok(())),
            ready => ready,
        }
    }

    /// Reads what there is; 0 once the request is answered.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready(cx))?;
        let count = self.inbound.staged.len().min(room.len());
        room[..count].copy_from_slice(&self.inbound.staged.split_to(count));
        Poll::Ready(Ok(count))
    }

    /// Takes all of these parts, or, if the client has to take something first, nothing.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        self.outbound.borrow_mut().poll_write(cx, parts)
    }
}
