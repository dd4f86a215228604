//! Where a head ends. Lines end in CR LF and in nothing else: whoever takes a bare LF for an end sees another message than whoever does not.

use super::Refusal;
use memchr::memchr;

/// How far a head was looked through, so that one that comes byte by byte costs no more than one that comes at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the present line begins.
    line: usize,
    /// Up to here there is no line feed that was not seen.
    seen: usize,
}

impl Scan {
    /// The length of the head at the beginning of `bytes`, its empty line included; nothing as long as it is not whole. `bytes` may only
    /// grow between two calls.
    ///
    /// # Errors
    /// If a line feed stands without its carriage return.
    pub(crate) fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        if self.seen == 0 && is_one_head(bytes) {
            return Ok(Some(bytes.len()));
        }
        while let Some(found) = bytes.get(self.seen..).and_then(|rest| memchr(b'\n', rest)) {
            let feed = self.seen + found;
            if feed == self.line || bytes[feed - 1] != b'\r' {
                return Err(Refusal::LineEnd);
            }
            if feed == self.line + 1 {
                return Ok(Some(feed + 1));
            }
            (self.line, self.seen) = (feed + 1, feed + 1);
        }
        self.seen = bytes.len();
        Ok(None)
    }

    /// The first line has ended.
    pub(crate) fn is_past_first_line(&self) -> bool {
        self.line > 0
    }
}

/// These bytes are one head in good order and nothing else, as most that are read: found out many bytes at a time.
fn is_one_head(bytes: &[u8]) -> bool {
    let count = bytes.len();
    if !bytes.ends_with(b"\r\n\r\n") || bytes[..2].contains(&b'\n') {
        return false;
    }
    // No line feed without its carriage return, and no empty line but the last.
    let behind = bytes[..count - 3].iter().zip(&bytes[1..count - 2]).zip(&bytes[2..count - 1]);
    behind.fold(0, |odd, ((before, last), byte)| {
        odd | u8::from(*byte == b'\n') & (u8::from(*last != b'\r') | u8::from(*before == b'\n'))
    }) == 0
}

/// An empty line that clients of old send behind a body; one is skipped, never more.
pub(crate) fn blank(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_their_empty_line_however_they_come() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest\n";
        assert_eq!(Scan::default().head(bytes), Ok(Some(27)));
        let mut scan = Scan::default();
        for cut in 0..27 {
            assert_eq!(scan.head(&bytes[..cut]), Ok(None), "{cut}");
            assert_eq!(scan.is_past_first_line(), cut >= 16, "{cut}");
        }
        assert_eq!(scan.head(bytes), Ok(Some(27)));
    }

    #[test]
    fn a_head_that_comes_at_once_ends_where_it_ends_line_by_line() {
        let parts = ["\r\n", "\n", "\r", "a", "Host: a\r\n", "\r\n\r\n"];
        for code in 0..parts.len().pow(5) {
            let pick = |place: u32| parts[code / parts.len().pow(place) % parts.len()];
            let bytes: String = (0..5).map(pick).collect();
            let mut by_line = Scan::default();
            // A look at the first byte alone makes it go on line by line.
            let first = by_line.head(&bytes.as_bytes()[..1]);
            let whole = first.and_then(|_| by_line.head(bytes.as_bytes()));
            assert_eq!(Scan::default().head(bytes.as_bytes()), whole, "{bytes:?}");
        }
    }

    #[test]
    fn bare_line_feeds_end_nothing() {
        for bad in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nA: b\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n\n"]
        {
            assert_eq!(Scan::default().head(bad.as_bytes()), Err(Refusal::LineEnd), "{bad:?}");
        }
    }
}
