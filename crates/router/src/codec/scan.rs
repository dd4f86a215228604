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
    fn bare_line_feeds_end_nothing() {
        for bad in ["\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nA: b\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n\n"]
        {
            assert_eq!(Scan::default().head(bad.as_bytes()), Err(Refusal::LineEnd), "{bad:?}");
        }
    }
}
