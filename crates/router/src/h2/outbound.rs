//! An answer on its way out: the text that the path of HTTP/1.1 writes, as frames behind what waits for the client already. Nothing of it is kept here
//! but a head that is not whole; what the client has no room for is not taken.

use super::{
    frame::{self, END_STREAM, Kind, LONGEST},
    hpack::encoder,
    unframe::{Step, Unframe},
    windows::Outflow,
};
use crate::codec::{
    Framing,
    head::{Response, Space},
    scan::Scan,
};
use std::io;

/// What may wait for a client, over all its streams; little more if it is the end of a frame.
pub(crate) const MOST: usize = 64 * 1024;

/// Where an answer's frames go.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    /// The client wants to hear that we remember no lines.
    pub(crate) forget: &'a mut bool,
    /// What may be sent in all, and on this stream.
    pub(crate) window: &'a mut Outflow,
    pub(crate) own: &'a mut Outflow,
    pub(crate) stream: u32,
}

impl Sink<'_> {
    /// Nothing more is taken before something left.
    fn is_full(&self) -> bool {
        self.out.len() >= MOST
    }

    fn room(&self) -> usize {
        if self.is_full() { 0 } else { self.window.room().min(self.own.room()).min(LONGEST) }
    }

    /// Where the frame is.
    fn data(&mut self, content: &[u8], flags: u8) -> usize {
        let start = self.out.len();
        frame::head(self.out, Kind::Data, flags, self.stream, content.len());
        self.out.extend_from_slice(content);
        self.window.take(content.len());
        self.own.take(content.len());
        start
    }

    fn block(&mut self, flags: u8, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let start = self.out.len();
        frame::head(self.out, Kind::Headers, flags, self.stream, 0);
        if std::mem::take(self.forget) {
            self.out.push(encoder::NO_TABLE);
        }
        write(self.out)?;
        frame::finish_block(self.out, start, self.stream, flags, LONGEST);
        Ok(())
    }
}

/// An answer.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    /// The answer to a HEAD has no body, whatever its head says.
    is_head: bool,
    /// The beginning of a head.
    raw: Vec<u8>,
    scan: Scan,
    /// Of the body, once the final head was whole.
    body: Option<Unframe>,
    /// The client was told that nothing follows.
    ended: bool,
}

impl Outbound {
    /// Before the first byte of an answer.
    pub(crate) fn begin(&mut self, is_head: bool) {
        self.raw.clear();
        (self.is_head, self.scan, self.body, self.ended) = (is_head, Scan::default(), None, false);
    }

    /// The answer is out, to its end.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Takes as much of these parts as may be sent; nothing if that is nothing.
    pub(crate) fn write(&mut self, parts: &[&[u8]], to: &mut Sink<'_>) -> io::Result<usize> {
        let (mut taken, mut last) = (0, None);
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let count = match &mut self.body {
                    Some(body) => content(body, rest, to, &mut last)?,
                    None => self.head(rest, to)?,
                };
                if count == 0 {
                    return Ok(taken);
                }
                (taken, rest) = (taken + count, &rest[count..]);
            }
        }
        self.finish(last, to)?;
        Ok(taken)
    }

    /// A head, or the beginning of one.
    fn head(&mut self, bytes: &[u8], to: &mut Sink<'_>) -> io::Result<usize> {
        if to.is_full() {
            return Ok(0);
        }
        let before = self.raw.len();
        if before > 0 {
            self.raw.extend_from_slice(bytes);
        }
        let mut raw = std::mem::take(&mut self.raw);
        let all = if before > 0 { raw.as_slice() } else { bytes };
        let Some(length) = self.scan.head(all).map_err(odd)? else {
            if before == 0 {
                raw.extend_from_slice(bytes);
            }
            self.raw = raw;
            return Ok(bytes.len());
        };
        self.scan = Scan::default();
        self.read_head(&all[..length], to)?;
        raw.clear();
        self.raw = raw;
        Ok(length - before)
    }

    fn read_head(&mut self, head: &[u8], to: &mut Sink<'_>) -> io::Result<()> {
        let mut space = Space::new();
        let head = Response::parse(head, &mut space).map_err(odd)?;
        let mut flags = 0;
        if head.status >= 200 {
            let body = Unframe::new(Framing::of_response(&head, self.is_head).map_err(odd)?);
            self.ended = body.is_done();
            flags = if self.ended { END_STREAM } else { 0 };
            self.body = Some(body);
        }
        to.block(flags, |out| {
            encoder::status(out, head.status);
            for (name, text, value) in head.fields.iter() {
                if !name.is_hop_by_hop() {
                    encoder::line(out, text.as_bytes(), value);
                }
            }
            Ok(())
        })
    }

    /// Says that the answer is over, if it is: with the last frame, if that has not left.
    fn finish(&mut self, last: Option<usize>, to: &mut Sink<'_>) -> io::Result<()> {
        let Some(body) = self.body.as_ref().filter(|body| !self.ended && body.is_done()) else {
            return Ok(());
        };
        self.ended = true;
        if !body.trailers().is_empty() {
            return to.block(END_STREAM, |out| trailers(body.trailers(), out));
        }
        match last.and_then(|start| to.out.get_mut(start + 4)) {
            Some(flags) => *flags |= END_STREAM,
            None => drop(to.data(&[], END_STREAM)),
        }
        Ok(())
    }
}

/// A part of a body; `last` is where its last frame is.
fn content(
    body: &mut Unframe,
    bytes: &[u8],
    to: &mut Sink<'_>,
    last: &mut Option<usize>,
) -> io::Result<usize> {
    match body.next(bytes) {
        Step::Framing(count) => Ok(count),
        Step::Content(count) => {
            let count = count.min(to.room());
            if count > 0 {
                *last = Some(to.data(&bytes[..count], 0));
                body.taken(count);
            }
            Ok(count)
        }
        Step::End => Ok(bytes.len()),
        Step::Odd => Err(odd("a body")),
    }
}

fn trailers(text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line).ok_or_else(|| odd("a trailer"))?;
        encoder::line(out, &line[..colon], line[colon + 1..].trim_ascii());
    }
    Ok(())
}

fn odd(what: impl std::fmt::Debug) -> io::Error {
    io::Error::other(format!("what was written is no answer: {what:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::{frame::Frame, hpack::Decoder};

    struct Client {
        out: Vec<u8>,
        forget: bool,
        window: Outflow,
        own: Outflow,
    }

    impl Client {
        fn new(window: u32) -> Self {
            Self { out: Vec::new(), forget: false, window: Outflow::new(1 << 20), own: Outflow::new(window) }
        }

        fn write(&mut self, outbound: &mut Outbound, parts: &[&[u8]]) -> io::Result<usize> {
            let Self { out, forget, window, own } = self;
            outbound.write(parts, &mut Sink { out, forget, window, own, stream: 1 })
        }

        /// What the client sees, in words.
        fn seen(&self) -> String {
            let (mut rest, mut all, mut decoder) = (self.out.as_slice(), String::new(), Decoder::new());
            while let Some((frame, length)) = own_frame(rest) {
                match frame {
                    Frame::Headers { block, last, .. } => {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let each =
                            |name: &[u8], value: &[u8]| all += &format!("{}={} ", text(name), text(value));
                        decoder.read(block, each).expect("a block");
                        all += if last { "end " } else { "" };
                    }
                    Frame::Data { content, last, .. } => {
                        all += &format!(
                            "[{}] {}",
                            String::from_utf8_lossy(content),
                            if last { "end " } else { "" }
                        );
                    }
                    other => panic!("{other:?}"),
                }
                rest = &rest[length..];
            }
            all.trim_end().to_owned()
        }
    }

    fn own_frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
        frame::parse(bytes).expect("legal")
    }

    fn begun(is_head: bool) -> Outbound {
        let mut outbound = Outbound::default();
        outbound.begin(is_head);
        outbound
    }

    #[test]
    fn heads_bodies_and_trailers_are_what_was_written() {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nX-A: 1\r\nConnection: close\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
        let want = ":status=103 link=x :status=201 x-a=1 [abc] [de] x-sum=5 end";
        let (mut client, mut outbound) = (Client::new(99), begun(false));
        assert_eq!(client.write(&mut outbound, &[text.as_bytes()]).expect("takes"), text.len());
        assert!(outbound.is_ended());
        assert_eq!(client.seen(), want);
        // As cruelly as can be: byte by byte.
        let (mut client, mut outbound) = (Client::new(99), begun(false));
        for byte in text.as_bytes().chunks(1) {
            assert_eq!(client.write(&mut outbound, &[byte]).expect("takes"), 1);
        }
        assert_eq!(
            client.seen().replace("] [", "").replace("abc", "[abc]").replace("de", "[de]"),
            want.replace("[abc] [de]", "[[abc][de]]")
        );
    }

    #[test]
    fn the_end_comes_with_the_last_frame() {
        let (mut client, mut outbound) = (Client::new(99), begun(false));
        let parts =
            [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n"[..], b"abc", b"\r\n0\r\n\r\n"];
        client.write(&mut outbound, &parts).expect("takes");
        assert_eq!(client.seen(), ":status=200 [abc] end");
        let (mut client, mut outbound) = (Client::new(99), begun(false));
        client.write(&mut outbound, &[b"HTTP/1.1 204 No Content\r\n\r\n"]).expect("takes");
        assert_eq!(client.seen(), ":status=204 end");
        let (mut client, mut outbound) = (Client::new(99), begun(true));
        client
            .write(&mut outbound, &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"])
            .expect("takes");
        assert_eq!(client.seen(), ":status=200 content-length=5 end", "to a HEAD");
    }

    #[test]
    fn no_more_is_taken_than_the_client_has_room_for() {
        let (mut client, mut outbound) = (Client::new(2), begun(false));
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(client.write(&mut outbound, &[head, b"abcde"]).expect("takes"), head.len() + 2);
        assert_eq!(client.write(&mut outbound, &[b"cde"]).expect("waits"), 0);
        client.own.change(100).expect("legal");
        client.out.resize(MOST, 0);
        assert_eq!(client.write(&mut outbound, &[b"cde"]).expect("waits"), 0, "others' bytes wait, too");
        client.out.clear();
        assert_eq!(client.write(&mut outbound, &[b"cde"]).expect("takes"), 3);
        assert_eq!((client.seen().as_str(), outbound.is_ended()), ("[cde] end", true));
    }

    #[test]
    fn what_is_no_answer_goes_nowhere() {
        for odd in
            ["HTTP/1.1 200 OK\nx: y\n\n", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
        {
            let (mut client, mut outbound) = (Client::new(9), begun(false));
            assert!(client.write(&mut outbound, &[odd.as_bytes()]).is_err(), "{odd}");
        }
    }
}
