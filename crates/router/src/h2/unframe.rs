//! The body of an answer as this router has framed it for HTTP/1.1, taken out of its frame again where it lies: nothing is copied, and a receiver may
//! take as little as it likes. Pure.

use crate::codec::Framing;

/// Trailers of an answer are no longer than this: the sender has bounded them already.
const MOST_TRAILERS: usize = 64 * 1024;

/// What comes next in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes are framing, and done with.
    Framing(usize),
    /// So many bytes are content, of which any number may be taken.
    Content(usize),
    /// Nothing of the body is left.
    End,
    /// It is no body.
    Odd,
}

/// Where a body is.
#[derive(Debug)]
pub(crate) enum Unframe {
    /// So much is left.
    Length(u64),
    /// Inside a chunk's size.
    Size(u64),
    /// So much of a chunk is left.
    Chunk(u64),
    /// Between a chunk's content and the next size.
    Behind,
    /// In the lines behind the last chunk.
    Trailers(Vec<u8>),
    /// All of it was there; these are its trailers.
    Done(Vec<u8>),
    /// As long as anything comes.
    Endless,
}

impl Unframe {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size(0),
            Framing::UntilClose => Self::Endless,
        }
    }

    /// Nothing follows.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Done(_))
    }

    /// Lines behind the body, each with its end.
    pub(crate) fn trailers(&self) -> &[u8] {
        if let Self::Done(trailers) = self { trailers } else { &[] }
    }

    /// What is next in these bytes, which are not empty.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Step {
        match self {
            Self::Length(0) | Self::Done(_) => Step::End,
            Self::Length(left) | Self::Chunk(left) => {
                Step::Content(usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()))
            }
            Self::Endless => Step::Content(bytes.len()),
            Self::Size(_) => self.size(bytes),
            Self::Behind => self.behind(bytes),
            Self::Trailers(_) => self.lines(bytes),
        }
    }

    /// So much content was taken.
    pub(crate) fn taken(&mut self, count: usize) {
        match self {
            Self::Length(left) => *left -= (count as u64).min(*left),
            Self::Chunk(left) => {
                *left -= (count as u64).min(*left);
                if *left == 0 {
                    *self = Self::Behind;
                }
            }
            _ => (),
        }
    }

    fn size(&mut self, bytes: &[u8]) -> Step {
        let Self::Size(size) = self else { return Step::Odd };
        for (at, byte) in bytes.iter().enumerate() {
            match char::from(*byte).to_digit(16) {
                Some(digit) if *size < 1 << 59 => *size = *size << 4 | u64::from(digit),
                None if *byte == b'\r' => (),
                None if *byte == b'\n' => {
                    *self = if *size == 0 { Self::Trailers(Vec::new()) } else { Self::Chunk(*size) };
                    return Step::Framing(at + 1);
                }
                _ => return Step::Odd,
            }
        }
        Step::Framing(bytes.len())
    }

    fn behind(&mut self, bytes: &[u8]) -> Step {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\r' => (),
                b'\n' => {
                    *self = Self::Size(0);
                    return Step::Framing(at + 1);
                }
                _ => return Step::Odd,
            }
        }
        Step::Framing(bytes.len())
    }

    fn lines(&mut self, bytes: &[u8]) -> Step {
        let Self::Trailers(lines) = self else { return Step::Odd };
        for (at, byte) in bytes.iter().enumerate() {
            lines.push(*byte);
            if lines.ends_with(b"\r\n") && (lines.len() == 2 || lines.ends_with(b"\r\n\r\n")) {
                lines.truncate(lines.len() - 2);
                *self = Self::Done(std::mem::take(lines));
                return Step::Framing(at + 1);
            }
            if lines.len() > MOST_TRAILERS {
                return Step::Odd;
            }
        }
        Step::Framing(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of this body in pieces of this length, of which a receiver takes at most so much at a time.
    fn read(framing: Framing, body: &[u8], piece: usize, take: usize) -> Option<(String, String)> {
        let (mut unframe, mut content) = (Unframe::new(framing), Vec::new());
        for mut bytes in body.chunks(piece) {
            while !bytes.is_empty() {
                let count = match unframe.next(bytes) {
                    Step::Framing(count) => count,
                    Step::Content(count) => {
                        let count = count.min(take);
                        content.extend_from_slice(&bytes[..count]);
                        unframe.taken(count);
                        count
                    }
                    Step::End => break,
                    Step::Odd => return None,
                };
                bytes = &bytes[count..];
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        unframe.is_done().then(|| (text(&content), text(unframe.trailers())))
    }

    #[test]
    fn however_it_comes_and_goes_the_content_is_the_same() {
        let chunked = b"3\r\nabc\r\nC\r\ndefghijklmno\r\n0\r\nx-a: 1\r\nx-b: 2\r\n\r\n";
        for piece in 1..chunked.len() {
            for take in [1, 2, 100] {
                let read = read(Framing::Chunked, chunked, piece, take);
                assert_eq!(
                    read,
                    Some(("abcdefghijklmno".into(), "x-a: 1\r\nx-b: 2\r\n".into())),
                    "{piece} {take}"
                );
            }
        }
        assert_eq!(read(Framing::Chunked, b"0\r\n\r\n", 9, 9), Some((String::new(), String::new())));
        assert_eq!(read(Framing::Length(3), b"abcdef", 2, 1), Some(("abc".into(), String::new())));
        assert_eq!(read(Framing::None, b"", 1, 1), Some((String::new(), String::new())));
    }

    #[test]
    fn what_breaks_off_or_is_none_is_not_whole() {
        for odd in ["3\r\nab", "3\r\nabc\r\n", "3\r\nabcd\r\n0\r\n\r\n", "x\r\n", "0\r\nx: 1\r\n"] {
            assert_eq!(read(Framing::Chunked, odd.as_bytes(), 3, 3), None, "{odd}");
        }
        assert_eq!(read(Framing::Length(5), b"abc", 3, 3), None);
    }
}
