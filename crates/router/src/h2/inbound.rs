//! A request's body on its way in, in HTTP/1.1's framing: what came by frames and was not taken yet. Pure.
//!
//! It holds what the stream's window allows and nothing else: framing is written as it is taken, so that small frames do not become large.

use super::{code::Code, request::chunk};

/// A chunk's size and its two line ends are shorter.
const FRAMING: usize = 16;
/// More memory than this is given back as soon as it is empty.
const KEPT: usize = 16 * 1024;

/// The body.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    body: Vec<u8>,
    at: usize,
    /// Framed already, and not taken yet: for room that is smaller than a chunk's framing.
    framed: Vec<u8>,
    /// No length was announced.
    chunked: bool,
    /// What is missing of the announced length.
    left: Option<u64>,
    ended: bool,
    /// The last chunk was framed.
    finished: bool,
    trailers: Vec<u8>,
}

impl Inbound {
    /// A body of this length, or of an unknown one; `last`: there is none.
    pub(crate) fn begin(&mut self, length: Option<u64>, last: bool) {
        self.clear();
        (self.chunked, self.left, self.ended) = (length.is_none() && !last, length, last);
        (self.finished, self.at) = (false, 0);
        self.trailers.clear();
    }

    /// Lets go of everything; how much of the windows that was.
    pub(crate) fn clear(&mut self) -> usize {
        let rest = self.body.len() - self.at;
        self.body.clear();
        self.framed.clear();
        self.at = 0;
        if self.body.capacity() > KEPT {
            self.body = Vec::new();
        }
        rest
    }

    /// More came; it must be what was announced.
    pub(crate) fn came(&mut self, content: &[u8], last: bool) -> Result<(), Code> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(content.len() as u64).ok_or(Code::Protocol)?;
        }
        self.body.extend_from_slice(content);
        if last { self.end(&[]) } else { Ok(()) }
    }

    /// Nothing more comes but these trailers, which a body of a known length has no place for.
    pub(crate) fn end(&mut self, trailers: &[u8]) -> Result<(), Code> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(Code::Protocol);
        }
        self.ended = true;
        self.trailers.extend_from_slice(trailers);
        Ok(())
    }

    /// The client will send nothing more.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// There is something to take.
    pub(crate) fn is_ready(&self) -> bool {
        self.at < self.body.len() || !self.framed.is_empty() || self.ended && self.chunked && !self.finished
    }

    /// Takes what fits; and how much of the windows that was.
    pub(crate) fn take(&mut self, room: &mut [u8]) -> (usize, usize) {
        if !self.chunked {
            let count = room.len().min(self.body.len() - self.at);
            room[..count].copy_from_slice(&self.body[self.at..self.at + count]);
            self.pass(count);
            return (count, count);
        }
        let mut count = 0;
        if self.framed.is_empty() {
            count = self.frame(room.len().max(2 * FRAMING) - FRAMING);
        }
        let taken = room.len().min(self.framed.len());
        room[..taken].copy_from_slice(&self.framed[..taken]);
        self.framed.drain(..taken);
        (taken, count)
    }

    /// Frames as much as this, and the end if it is there.
    fn frame(&mut self, most: usize) -> usize {
        let count = most.min(self.body.len() - self.at);
        if count > 0 {
            chunk(&mut self.framed, &self.body[self.at..self.at + count]);
            self.pass(count);
        }
        if self.ended && self.body.is_empty() && !self.finished {
            self.finished = true;
            for part in [b"0\r\n", self.trailers.as_slice(), b"\r\n"] {
                self.framed.extend_from_slice(part);
            }
        }
        count
    }

    fn pass(&mut self, count: usize) {
        self.at += count;
        if self.at == self.body.len() {
            self.body.clear();
            self.at = 0;
            if self.body.capacity() > KEPT {
                self.body = Vec::new();
            }
        } else if self.at > KEPT && self.at > self.body.len() / 2 {
            self.body.drain(..self.at);
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(inbound: &mut Inbound, room: usize) -> (String, usize) {
        let (mut all, mut credit) = (Vec::new(), 0);
        while inbound.is_ready() {
            let mut space = vec![0; room];
            let (taken, count) = inbound.take(&mut space);
            assert!(taken > 0, "what is ready can be taken");
            all.extend_from_slice(&space[..taken]);
            credit += count;
        }
        (String::from_utf8(all).expect("text"), credit)
    }

    #[test]
    fn bodies_without_a_length_go_in_chunks() {
        for room in [1, 7, 40, 1000] {
            let mut inbound = Inbound::default();
            inbound.begin(None, false);
            inbound.came(b"abc", false).expect("legal");
            inbound.came(b"de", false).expect("legal");
            assert_eq!(all(&mut inbound, room), ("5\r\nabcde\r\n".into(), 5), "{room}");
            assert!(!inbound.is_ready());
            inbound.came(b"f", false).expect("legal");
            inbound.end(b"x-sum: 1\r\n").expect("legal");
            assert_eq!(all(&mut inbound, room), ("1\r\nf\r\n0\r\nx-sum: 1\r\n\r\n".into(), 1), "{room}");
        }
    }

    #[test]
    fn a_length_that_was_announced_is_held_to() {
        let mut inbound = Inbound::default();
        let mut begin = |length| {
            inbound.begin(Some(length), false);
            [inbound.came(b"abc", false), inbound.came(b"d", true)]
        };
        assert_eq!(begin(4), [Ok(()), Ok(())]);
        assert_eq!(begin(3), [Ok(()), Err(Code::Protocol)]);
        assert_eq!(begin(5), [Ok(()), Err(Code::Protocol)]);
        inbound.begin(Some(4), false);
        inbound.came(b"abcd", true).expect("legal");
        assert_eq!(all(&mut inbound, 3), ("abcd".into(), 4));
    }

    #[test]
    fn large_bodies_are_the_same_in_whatever_pieces_they_come_and_go() {
        let body: Vec<u8> =
            (0..200_000_u32).map(|byte| b'a' + u8::try_from(byte % 26).expect("small")).collect();
        let mut inbound = Inbound::default();
        inbound.begin(Some(200_000), false);
        let (mut got, mut credit) = (Vec::new(), 0);
        for piece in body.chunks(10_007) {
            inbound.came(piece, false).expect("legal");
            let mut room = [0; 7_001];
            let (taken, count) = inbound.take(&mut room);
            got.extend_from_slice(&room[..taken]);
            credit += count;
        }
        let (rest, more) = all(&mut inbound, 16_384);
        got.extend_from_slice(rest.as_bytes());
        assert!(got == body && credit + more == body.len());
        inbound.begin(None, false);
        inbound.came(&body, false).expect("legal");
        assert_eq!(inbound.clear(), body.len(), "what nobody takes is given back, too");
    }
}
