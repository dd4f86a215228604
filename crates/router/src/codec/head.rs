//! Heads of requests and responses, parsed by httparse after the lines were found ([`super::scan`]), so that both must agree on where
//! the head ends.
//!
//! Nothing is copied: a head borrows the bytes that it was read from, and nothing here may outlive them.

use super::{Name, Refusal};
use httparse::{Header, ParserConfig};
use std::{mem::MaybeUninit, ops::Range};

/// Header lines that any head can have at most, whatever the configured limit says.
pub(crate) const MAX_LINES: usize = 256;

/// Where a head's lines are noted while it is looked at.
pub(crate) struct Space<'b> {
    headers: [MaybeUninit<Header<'b>>; MAX_LINES],
    names: [Name; MAX_LINES],
}

impl Space<'_> {
    /// Room for one head.
    pub(crate) fn new() -> Self {
        Self { headers: [const { MaybeUninit::uninit() }; MAX_LINES], names: [Name::Other; MAX_LINES] }
    }
}

/// A head's header lines.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    /// All of it, as it was read.
    head: &'a [u8],
    headers: &'a [Header<'a>],
    names: &'a [Name],
    /// Every name among them: most of those that are asked for are not, and cost nothing then.
    present: u32,
}

impl<'a> Fields<'a> {
    /// Which header, its name as it was written, its value without the space around it.
    pub(crate) fn iter(self) -> impl Iterator<Item = (Name, &'a str, &'a [u8])> + Clone {
        self.names.iter().zip(self.headers).map(|(name, header)| (*name, header.name, header.value))
    }

    /// A line of this name is among them.
    pub(crate) fn has(self, name: Name) -> bool {
        self.present & name.bit() != 0
    }

    /// The values of one header's lines.
    pub(crate) fn all(self, name: Name) -> impl Iterator<Item = &'a [u8]> + Clone {
        let names = if self.has(name) { self.names } else { &[] };
        Self { names, ..self }.iter().filter(move |(known, ..)| *known == name).map(|(_, _, value)| value)
    }

    /// The elements of one header's lists. Lines that are not text have none.
    pub(crate) fn tokens(self, name: Name) -> impl Iterator<Item = &'a str> + Clone {
        let lines = self.all(name).filter_map(|value| std::str::from_utf8(value).ok());
        lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
    }

    /// Writes the lines that are wanted, each as `name: value`. Neighbours that stand so already are copied at once.
    pub(crate) fn copy(self, out: &mut Vec<u8>, wanted: impl Fn(Name, &str) -> bool) {
        let mut run = 0..0;
        for (_, text, value) in self.iter().filter(|(name, text, _)| wanted(*name, text)) {
            match self.place(text, value) {
                Some(place) if place.start == run.end => run.end = place.end,
                place => {
                    out.extend_from_slice(&self.head[run]);
                    run = place.unwrap_or_default();
                    if run.is_empty() {
                        line(out, text, value);
                    }
                }
            }
        }
        out.extend_from_slice(&self.head[run]);
    }

    /// Where this line stands in the head, its end included, if it stands there as it would be written.
    fn place(self, name: &str, value: &[u8]) -> Option<Range<usize>> {
        let start = name.as_ptr().addr().checked_sub(self.head.as_ptr().addr())?;
        let colon = start + name.len();
        let end = colon + 2 + value.len();
        let is_so = self.head.get(colon..colon + 2)? == b": "
            && self.head.as_ptr().addr() + colon + 2 == value.as_ptr().addr()
            && self.head.get(end..end + 2)? == b"\r\n";
        is_so.then_some(start..end + 2)
    }

    /// One of the elements is `token`.
    pub(crate) fn has_token(self, name: Name, token: &str) -> bool {
        self.has(name) && self.tokens(name).any(|one| one.eq_ignore_ascii_case(token))
    }
}

/// Writes one header line.
pub(crate) fn line(head: &mut Vec<u8>, name: impl AsRef<[u8]>, value: &[u8]) {
    for part in [name.as_ref(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// A request's head.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub(crate) minor: u8,
    pub(crate) fields: Fields<'a>,
}

/// A response's head.
#[derive(Clone, Copy)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub(crate) minor: u8,
    pub(crate) fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// Parses exactly one head, of at most `lines` header lines.
    pub(crate) fn parse<'b: 'a>(
        head: &'b [u8],
        space: &'a mut Space<'b>,
        lines: usize,
    ) -> Result<Self, Refusal> {
        let Space { headers, names } = space;
        let mut parsed = httparse::Request::new(&mut []);
        let result = ParserConfig::default().parse_request_with_uninit_headers(&mut parsed, head, headers);
        whole(result, head, first_line_of_request)?;
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Refusal::Line);
        };
        Ok(Self { method, target, minor, fields: classify(head, parsed.headers, names, lines)? })
    }
}

impl<'a> Response<'a> {
    /// Parses exactly one head.
    pub(crate) fn parse<'b: 'a>(head: &'b [u8], space: &'a mut Space<'b>) -> Result<Self, Refusal> {
        let Space { headers, names } = space;
        let mut parsed = httparse::Response::new(&mut []);
        let result = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, headers);
        whole(result, head, |_| Refusal::Line)?;
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else { return Err(Refusal::Line) };
        if status < 100 {
            return Err(Refusal::Line);
        }
        let reason = parsed.reason.unwrap_or_default();
        Ok(Self { status, reason, minor, fields: classify(head, parsed.headers, names, MAX_LINES)? })
    }
}

/// The parser must have read all of the head, and nothing less.
fn whole(
    parsed: httparse::Result<usize>,
    head: &[u8],
    first_line: fn(&[u8]) -> Refusal,
) -> Result<(), Refusal> {
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => Ok(()),
        Ok(_) | Err(httparse::Error::NewLine) => Err(Refusal::LineEnd),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::ManyLines),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => Err(Refusal::Field),
        Err(httparse::Error::Status | httparse::Error::Token | httparse::Error::Version) => {
            Err(first_line(head))
        }
    }
}

/// A first line that httparse does not take: of another version, or nothing at all.
fn first_line_of_request(head: &[u8]) -> Refusal {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match word.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => match word {
            b"HTTP/1.0" | b"HTTP/1.1" => Refusal::Line,
            _ => Refusal::Version,
        },
        _ => Refusal::Line,
    }
}

fn classify<'a>(
    head: &'a [u8],
    headers: &'a [Header<'a>],
    names: &'a mut [Name; MAX_LINES],
    most: usize,
) -> Result<Fields<'a>, Refusal> {
    if headers.len() > most {
        return Err(Refusal::ManyLines);
    }
    let mut present = 0;
    for (name, header) in names.iter_mut().zip(headers) {
        *name = Name::of(header.name);
        present |= name.bit();
    }
    Ok(Fields { head, headers, names: &names[..headers.len()], present })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_copied_as_if_each_were_written_anew() {
        let head =
            b"GET / HTTP/1.1\r\nHost: a\r\nx-one: 1\r\nX-Two:2\r\nx-three:  3\r\nx-four: 4 \r\nx-five: 5\r\n\
            x-empty: \r\nx-none:\r\nx-six: 6\r\ntE: x\r\nx-last: 7\r\n\r\n";
        let mut space = Space::new();
        let fields = Request::parse(head, &mut space, MAX_LINES).expect("legal").fields;
        for mask in 0..1 << 12 {
            let number = |text: &str| fields.iter().position(|(_, name, _)| name == text).expect("there");
            let wanted = |_: Name, text: &str| mask >> number(text) & 1 == 1;
            let (mut copied, mut written) = (b"x".to_vec(), b"x".to_vec());
            fields.copy(&mut copied, wanted);
            fields
                .iter()
                .filter(|(name, text, _)| wanted(*name, text))
                .for_each(|(_, text, value)| line(&mut written, text, value));
            assert_eq!(String::from_utf8_lossy(&copied), String::from_utf8_lossy(&written), "{mask:b}");
        }
    }

    #[test]
    fn names_that_are_not_there_have_no_lines() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\naccept: c\r\n\r\n";
        let mut space = Space::new();
        let fields = Request::parse(head, &mut space, MAX_LINES).expect("legal").fields;
        assert!(fields.has(Name::Host) && fields.has(Name::Accept) && !fields.has(Name::Cookie));
        assert_eq!(fields.all(Name::Accept).collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(fields.all(Name::Cookie).count(), 0);
    }
}
