//! Heads of requests and responses, parsed by httparse after the lines were found ([`super::scan`]), so that both must agree on where
//! the head ends.
//!
//! Nothing is copied: a head borrows the bytes that it was read from, and nothing here may outlive them.

use super::{Name, Refusal};
use httparse::{Header, ParserConfig};
use std::mem::MaybeUninit;

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
    headers: &'a [Header<'a>],
    names: &'a [Name],
}

impl<'a> Fields<'a> {
    /// Which header, its name as it was written, its value without the space around it.
    pub(crate) fn iter(self) -> impl Iterator<Item = (Name, &'a str, &'a [u8])> + Clone {
        self.names.iter().zip(self.headers).map(|(name, header)| (*name, header.name, header.value))
    }

    /// The values of one header's lines.
    pub(crate) fn all(self, name: Name) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.iter().filter(move |(known, ..)| *known == name).map(|(_, _, value)| value)
    }

    /// The elements of one header's lists. Lines that are not text have none.
    pub(crate) fn tokens(self, name: Name) -> impl Iterator<Item = &'a str> + Clone {
        let lines = self.all(name).filter_map(|value| std::str::from_utf8(value).ok());
        lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
    }

    /// One of the elements is `token`.
    pub(crate) fn has_token(self, name: Name, token: &str) -> bool {
        self.tokens(name).any(|one| one.eq_ignore_ascii_case(token))
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
        Ok(Self { method, target, minor, fields: classify(parsed.headers, names, lines)? })
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
        Ok(Self { status, reason, minor, fields: classify(parsed.headers, names, MAX_LINES)? })
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
    headers: &'a [Header<'a>],
    names: &'a mut [Name; MAX_LINES],
    most: usize,
) -> Result<Fields<'a>, Refusal> {
    if headers.len() > most {
        return Err(Refusal::ManyLines);
    }
    for (name, header) in names.iter_mut().zip(headers) {
        *name = Name::of(header.name);
    }
    Ok(Fields { headers, names: &names[..headers.len()] })
}
