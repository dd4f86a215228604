//! Chunked bodies: taken apart where they lie, checked to the last byte. Whoever passes them on writes chunks of his own.
//!
//! Extensions are dropped, trailers are kept aside; both are bounded. A line end is CR LF, a size is plain hexadecimal digits, and
//! everything else is refused.

use super::{Name, Refusal};
use crate::text::is_token;
use memchr::memchr;
use std::ops::Range;

/// Longest line with a size, its extensions and its end.
const MAX_SIZE_LINE: usize = 256;

/// Digits of a size: no overflow fits in.
const MAX_DIGITS: usize = 15;

/// Bytes of extensions in one body; beyond this somebody hides the body's cost in them.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Bytes of the whole trailer section, and so of one of its lines.
const MAX_TRAILERS: usize = 8 * 1024;

/// A chunked body on its way.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extensions: usize,
    trailer_bytes: usize,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What became of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// So many of them were used; the rest is needed again, with more behind it.
    pub(crate) taken: usize,
    /// Where the body's own bytes lie now.
    pub(crate) data: Range<usize>,
}

impl Chunked {
    /// Before the first size.
    pub(crate) fn new() -> Self {
        Self { state: State::Size, extensions: 0, trailer_bytes: 0, trailers: Vec::new() }
    }

    /// The last chunk and the trailer section were seen.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How much is certain to follow.
    pub(crate) fn left(&self) -> u64 {
        if let State::Data(left) = self.state { left } else { 0 }
    }

    /// Header lines that came behind the body, each with its line end; those that must not come there are not among them.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Goes on through `bytes` as far as they reach, and moves the body's own bytes together.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Result<Progress, Refusal> {
        let (mut at, mut data) = (0, 0..0);
        loop {
            let step = match self.state {
                State::Size => self.size(&bytes[at..])?,
                State::Data(left) => Some(self.data(left, bytes, at, &mut data)),
                State::DataEnd => self.data_end(&bytes[at..])?,
                State::Trailers => self.trailer(&bytes[at..])?,
                State::Done => None,
            };
            match step {
                Some(step) if step > 0 => at += step,
                _ => return Ok(Progress { taken: at, data }),
            }
        }
    }

    fn size(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some(line) = line(bytes, MAX_SIZE_LINE, Refusal::Chunk)? else { return Ok(None) };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = &line[digits..];
        if !(1..=MAX_DIGITS).contains(&digits) || !is_extension(extension) {
            return Err(Refusal::Chunk);
        }
        self.extensions += extension.len();
        if self.extensions > MAX_EXTENSIONS {
            return Err(Refusal::Chunk);
        }
        let size = line[..digits].iter().fold(0, |sum, digit| sum << 4 | hex(*digit));
        self.state = if size == 0 { State::Trailers } else { State::Data(size) };
        Ok(Some(line.len() + 2))
    }

    fn data(&mut self, left: u64, bytes: &mut [u8], at: usize, data: &mut Range<usize>) -> usize {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
        if data.start == data.end {
            *data = at..at + here;
        } else {
            bytes.copy_within(at..at + here, data.end);
            data.end += here;
        }
        let left = left - here as u64;
        self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
        here
    }

    fn data_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.state = State::Size;
                Ok(Some(2))
            }
            [] | [b'\r'] => Ok(None),
            _ => Err(Refusal::Chunk),
        }
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let most = MAX_TRAILERS - self.trailer_bytes;
        let Some(line) = line(bytes, most, Refusal::Trailer)? else { return Ok(None) };
        self.trailer_bytes += line.len() + 2;
        if line.is_empty() {
            self.state = State::Done;
        } else {
            self.keep(line)?;
        }
        Ok(Some(line.len() + 2))
    }

    /// Names that the router knows would be read as part of the head by whoever merges the two: they stay out.
    fn keep(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let colon = memchr(b':', line).ok_or(Refusal::Trailer)?;
        let (name, value) = (&line[..colon], trimmed(&line[colon + 1..]));
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) || !value.iter().all(|b| is_text(*b)) {
            return Err(Refusal::Trailer);
        }
        let known = std::str::from_utf8(name).map_or(Name::Disguised, Name::of);
        if known == Name::Other {
            for part in [name, b": ", value, b"\r\n"] {
                self.trailers.extend_from_slice(part);
            }
        }
        Ok(())
    }
}

/// Without the blanks and tabs around it; a form feed is none of those, though `trim_ascii` takes it for one.
fn trimmed(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| blank(byte)).count();
    let value = &value[start..];
    &value[..value.len() - value.iter().rev().take_while(|byte| blank(byte)).count()]
}

/// The line at the beginning, without its end; nothing as long as it is not whole.
fn line(bytes: &[u8], most: usize, refusal: Refusal) -> Result<Option<&[u8]>, Refusal> {
    let within = &bytes[..bytes.len().min(most)];
    let Some(feed) = memchr(b'\n', within) else {
        return if bytes.len() >= most { Err(refusal) } else { Ok(None) };
    };
    match bytes[..feed].split_last() {
        Some((b'\r', line)) if !line.contains(&b'\r') => Ok(Some(line)),
        _ => Err(refusal),
    }
}

fn is_extension(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes[0] == b';' && bytes.len() > 1 && bytes.iter().all(|byte| is_text(*byte))
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

fn hex(digit: u8) -> u64 {
    u64::from(match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A') + 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, the trailers, and what was left over, fed in steps of `step`.
    fn decode(bytes: &[u8], step: usize) -> Result<(Vec<u8>, String, Vec<u8>), Refusal> {
        let (mut chunked, mut body, mut rest) = (Chunked::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            rest.extend_from_slice(piece);
            let Progress { taken, data } = chunked.decode(&mut rest)?;
            assert!(data.end <= taken.max(data.start));
            body.extend_from_slice(&rest[data]);
            rest.drain(..taken);
        }
        assert!(chunked.is_done() || !bytes.ends_with(b"0\r\n\r\n"));
        Ok((body, String::from_utf8_lossy(chunked.trailers()).into_owned(), rest))
    }

    #[test]
    fn bodies_come_out_whole_however_they_are_cut() {
        let bytes =
            b"5\r\nhello\r\n1;a=\"b\"\r\n,\r\n00A\r\n 12345678 \r\n0\r\nX-Sum: 7 \r\nHost: evil\r\n\r\nGET /";
        for step in 1..bytes.len() {
            let (body, trailers, rest) = decode(bytes, step).expect("legal");
            assert_eq!(body, b"hello, 12345678 ", "{step}");
            assert_eq!((trailers.as_str(), rest.as_slice()), ("X-Sum: 7\r\n", b"GET /".as_slice()), "{step}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused_however_it_is_cut() {
        let long = format!("1;{}\r\n", "x".repeat(300));
        let many = "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n \r\n".repeat(300);
        let trailers = format!("0\r\n{}", "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n".repeat(400));
        let bad = [
            "\r\n",
            "x\r\n",
            "+5\r\nhello\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\r\nhello",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\r0\r\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "0000000000000000\r\n",
            "5 ;a\r\nhello\r\n",
            "5;\r\n",
            "5;a\u{0}\r\nhello",
            "5;a\rb\r\nhello",
            "0\r\nbad\r\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA: b\u{1}\r\n\r\n",
            "0\r\nA: b\u{c}\r\n\r\n",
            "0\r\nA:\u{c}b\r\n\r\n",
            "0\r\n A: b\r\n\r\n",
            "0\r\n\n",
            "0\n\n",
            &long,
            &many,
            &trailers,
        ];
        for bad in bad {
            for step in [1, 2, 3, 7, 4096] {
                assert!(decode(bad.as_bytes(), step).is_err(), "{bad:?} in steps of {step}");
            }
        }
    }
}
