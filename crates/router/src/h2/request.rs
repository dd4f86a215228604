//! A request of HTTP/2 as HTTP/1.1 has it, pure: header lines in, the text of a head out.
//!
//! What is malformed (RFC 9113, 8.2 and 8.3) ends here, and above all whatever could split the text. Apart from that it translates and permits nothing: what
//! it writes is read by the same code as anybody's.

use crate::{
    codec::{framing::number, head::line},
    text::{self, is_token},
};
use memchr::memchr3;
use std::ops::Range;

/// What a line counts beyond its bytes (RFC 9113, 6.5.2).
const OVERHEAD: usize = 32;

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is none.
    Malformed,
    /// It is longer than a head may be.
    Long,
}

/// A request's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// As HTTP/1.1 has it.
    pub(crate) text: Vec<u8>,
    /// The answer has no body.
    pub(crate) is_head: bool,
    /// How long the body is, if that was said.
    pub(crate) length: Option<u64>,
}

/// Where the lines of a head are collected; used again for each.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The lines behind the first two, in HTTP/1.1's form.
    text: Vec<u8>,
    /// What has a place of its own in HTTP/1.1, and where it is in here.
    parts: Vec<u8>,
    method: Option<Range<usize>>,
    path: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    has_scheme: bool,
    /// HTTP/2 may part one `Cookie` into several (RFC 9113, 8.2.3); HTTP/1.1 knows one.
    cookies: Vec<u8>,
    length: Option<u64>,
    /// A line that is no pseudo-header came.
    past: bool,
    /// They are trailers.
    trailing: bool,
    wrong: Option<Wrong>,
    /// What the list may still count.
    room: usize,
}

impl Lines {
    /// A head begins, or trailers, of which so much is read.
    pub(crate) fn begin(&mut self, most: usize, trailing: bool) {
        self.text.clear();
        self.parts.clear();
        self.cookies.clear();
        (self.method, self.path, self.authority, self.host) = (None, None, None, None);
        (self.has_scheme, self.past, self.length, self.wrong) = (false, false, None, None);
        (self.trailing, self.room) = (trailing, most);
    }

    /// The next line.
    pub(crate) fn line(&mut self, name: &[u8], value: &[u8]) {
        if self.wrong.is_some() {
            return;
        }
        let taken = match self.room.checked_sub(name.len() + value.len() + OVERHEAD) {
            None => Err(Wrong::Long),
            Some(room) => {
                self.room = room;
                if name.first() == Some(&b':') { self.pseudo(name, value) } else { self.field(name, value) }
            }
        };
        self.wrong = taken.err();
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Wrong> {
        if self.past || self.trailing || value.is_empty() {
            return Err(Wrong::Malformed);
        }
        let place = match name {
            b":method" if value.iter().all(|byte| is_token(*byte)) => &mut self.method,
            b":path" if is_graphic(value) => &mut self.path,
            b":authority" if is_graphic(value) => &mut self.authority,
            b":scheme" if !self.has_scheme && value.iter().all(|byte| is_token(*byte)) => {
                self.has_scheme = true;
                return Ok(());
            }
            _ => return Err(Wrong::Malformed),
        };
        once(place, &mut self.parts, value)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Wrong> {
        self.past = true;
        if !is_name(name) || !is_value(value) {
            return Err(Wrong::Malformed);
        }
        match name {
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
                Err(Wrong::Malformed)
            }
            b"te" if !value.eq_ignore_ascii_case(b"trailers") => Err(Wrong::Malformed),
            b"host" if !self.trailing => once(&mut self.host, &mut self.parts, value),
            b"content-length" if !self.trailing => {
                if self.length.replace(number(value).map_err(|_| Wrong::Malformed)?).is_some() {
                    return Err(Wrong::Malformed);
                }
                line(&mut self.text, name, value);
                Ok(())
            }
            b"cookie" if !self.trailing => {
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
                Ok(())
            }
            _ => {
                line(&mut self.text, name, value);
                Ok(())
            }
        }
    }

    /// All lines of a head came; `last`: no body follows. The text is written into `text`, which is empty.
    pub(crate) fn head(&mut self, last: bool, mut text: Vec<u8>) -> Result<Head, Wrong> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let part = |range: &Option<Range<usize>>| range.clone().and_then(|range| self.parts.get(range));
        let method = part(&self.method).ok_or(Wrong::Malformed)?;
        let host = match (part(&self.authority), part(&self.host)) {
            (Some(authority), Some(host)) if authority == host => host,
            (Some(only), None) | (None, Some(only)) => only,
            _ => return Err(Wrong::Malformed),
        };
        let target = match part(&self.path) {
            None if method == b"CONNECT" && !self.has_scheme => host,
            Some(b"*") if method == b"OPTIONS" && self.has_scheme => b"*",
            Some(path) if path[0] == b'/' && method != b"CONNECT" && self.has_scheme => path,
            _ => return Err(Wrong::Malformed),
        };
        if last && self.length.is_some_and(|length| length > 0) {
            return Err(Wrong::Malformed);
        }
        for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
            text.extend_from_slice(part);
        }
        line(&mut text, b"host", host);
        text.extend_from_slice(&self.text);
        if !self.cookies.is_empty() {
            line(&mut text, b"cookie", &self.cookies);
        }
        match self.length {
            Some(_) => (),
            None if !last => line(&mut text, b"transfer-encoding", b"chunked"),
            // Without it apps of HTTP/1.1 would not know that nothing comes.
            None if matches!(method, b"POST" | b"PUT" | b"PATCH") => line(&mut text, b"content-length", b"0"),
            None => (),
        }
        text.extend_from_slice(b"\r\n");
        Ok(Head { text, is_head: method == b"HEAD", length: self.length })
    }

    /// All lines of trailers came: their text.
    pub(crate) fn trailers(&mut self) -> Result<&[u8], Wrong> {
        self.wrong.map_or(Ok(&self.text), Err)
    }
}

fn once(place: &mut Option<Range<usize>>, parts: &mut Vec<u8>, value: &[u8]) -> Result<(), Wrong> {
    let start = parts.len();
    parts.extend_from_slice(value);
    match place.replace(start..parts.len()) {
        None => Ok(()),
        Some(_) => Err(Wrong::Malformed),
    }
}

/// A name: a token, in lower case.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token(*byte) && !byte.is_ascii_uppercase())
}

/// No end of a line, and no blank at either end that one reader keeps and another one does not.
fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !blank(value.first()) && !blank(value.last()) && memchr3(b'\r', b'\n', 0, value).is_none()
}

/// Nothing that could end it, or be taken for the end of a line.
fn is_graphic(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// A part of a body as one chunk, behind `out`.
pub(crate) fn chunk(out: &mut Vec<u8>, content: &[u8]) {
    text::hex(out, content.len() as u64, 1);
    for part in [b"\r\n", content, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "shop.test")];

    fn head(all: &[(&str, &str)], last: bool) -> Result<String, Wrong> {
        let mut lines = Lines::default();
        lines.begin(2000, false);
        all.iter().for_each(|(name, value)| lines.line(name.as_bytes(), value.as_bytes()));
        let head = lines.head(last, Vec::new())?;
        Ok(String::from_utf8(head.text).expect("text"))
    }

    fn with(further: &[(&str, &str)]) -> Result<String, Wrong> {
        head(&[&GET, further].concat(), true)
    }

    #[test]
    fn a_request_becomes_text() {
        let text =
            "GET /a?b HTTP/1.1\r\nhost: shop.test\r\nx-a: 1\r\naccept: */*\r\ncookie: a=b; c=d\r\n\r\n";
        let lines =
            [("cookie", "a=b"), ("x-a", "1"), ("host", "shop.test"), ("cookie", "c=d"), ("accept", "*/*")];
        assert_eq!(with(&lines).as_deref(), Ok(text));
        let post = |further: &[(&str, &str)], last| {
            let all = [&[(":method", "POST")], &GET[1..], further].concat();
            head(&all, last).map(|text| text.split_once("shop.test\r\n").expect("a host").1.to_owned())
        };
        assert_eq!(post(&[], true).as_deref(), Ok("content-length: 0\r\n\r\n"));
        assert_eq!(post(&[], false).as_deref(), Ok("transfer-encoding: chunked\r\n\r\n"));
        assert_eq!(post(&[("content-length", "7")], false).as_deref(), Ok("content-length: 7\r\n\r\n"));
        assert_eq!(post(&[("content-length", "7")], true), Err(Wrong::Malformed));
        let connect = head(&[(":method", "CONNECT"), (":authority", "shop.test:443")], false);
        assert!(connect.expect("legal").starts_with("CONNECT shop.test:443 HTTP/1.1\r\n"));
    }

    #[test]
    fn nothing_splits_the_text() {
        for byte in 0..=255_u8 {
            let odd = format!("a{}b", char::from(byte));
            let (odd, text) = (odd.as_bytes().to_vec(), [b'a', byte, b'b']);
            for place in 0..6 {
                let mut lines = Lines::default();
                lines.begin(2000, false);
                let value =
                    |number, usual: &'static str| if number == place { text.to_vec() } else { usual.into() };
                lines.line(b":method", &value(0, "GET"));
                lines.line(b":scheme", &value(1, "https"));
                lines.line(b":path", &[b"/", &value(2, "")[..]].concat());
                lines.line(b":authority", &value(3, "shop.test"));
                lines.line(&value(4, "x-name"), &value(5, "value"));
                let Ok(head) = lines.head(true, Vec::new()) else { continue };
                let ends = head.text.iter().filter(|byte| matches!(byte, b'\n' | b'\r' | 0)).count();
                assert_eq!(ends, 8, "{place} {odd:?}: {:?}", String::from_utf8_lossy(&head.text));
                let first = head.text.split(|byte| *byte == b'\r').next().expect("a line");
                assert_eq!(
                    first.iter().filter(|byte| byte.is_ascii_whitespace()).count(),
                    2,
                    "{place} {byte}"
                );
            }
        }
    }

    #[test]
    fn what_is_malformed_is_no_request() {
        for further in [
            &[("X-Upper", "1")][..],
            &[("", "1")],
            &[(":status", "200")],
            &[(":path", "/again")],
            &[("x", "1"), (":method", "GET")],
            &[("x", " 1")],
            &[("x", "1\t")],
            &[("te", "gzip")],
            &[("host", "other.test")],
            &[("host", "shop.test"), ("host", "shop.test")],
            &[("content-length", "0"), ("content-length", "0")],
            &[("content-length", "+0")],
            &[("content-length", "9999999999999999999")],
            &[("upgrade", "websocket")],
        ] {
            assert_eq!(with(further), Err(Wrong::Malformed), "{further:?}");
        }
        assert!(with(&[("te", "trailers"), ("content-length", "0"), ("x", "")]).is_ok());
        for missing in 0..3 {
            let mut all = GET.to_vec();
            all.remove(missing);
            assert_eq!(head(&all, true), Err(Wrong::Malformed), "{missing}");
        }
        assert_eq!(with(&[("x", &"y".repeat(2000))]), Err(Wrong::Long));
        assert_eq!(with(&vec![("x", ""); 60]), Err(Wrong::Long), "many short lines are a long list");
    }

    #[test]
    fn trailers_are_lines_and_nothing_else() {
        let trailers = |name: &str, value: &str| {
            let mut lines = Lines::default();
            lines.begin(100, true);
            lines.line(name.as_bytes(), value.as_bytes());
            lines.trailers().map(|text| String::from_utf8_lossy(text).into_owned())
        };
        assert_eq!(trailers("x-sum", "5").as_deref(), Ok("x-sum: 5\r\n"));
        assert_eq!(trailers(":method", "GET"), Err(Wrong::Malformed));
        assert_eq!(trailers("x-sum", "5\r\n\r\nGET /"), Err(Wrong::Malformed));
    }
}
