//! Where a body ends: decided once, strictly, and then written anew for the other side, which never sees what the sender wrote.

use super::{
    Name, Refusal,
    head::{Fields, Request, Response},
};

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection; responses only.
    UntilClose,
}

/// More digits than any honest length has; fewer than an overflow needs.
const MAX_DIGITS: usize = 18;

impl Framing {
    /// Nothing follows the head.
    pub(crate) fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }

    /// A request's.
    pub(crate) fn of_request(request: &Request<'_>) -> Result<Self, Refusal> {
        announced(request.fields, request.minor)
    }

    /// A response's; `head`: the request was a HEAD.
    pub(crate) fn of_response(response: &Response<'_>, head: bool) -> Result<Self, Refusal> {
        let announced = announced(response.fields, response.minor)?;
        Ok(match announced {
            _ if head || matches!(response.status, 100..=199 | 204 | 304) => Self::None,
            Self::None => Self::UntilClose,
            other => other,
        })
    }
}

/// What the header lines say: nothing, a length, or chunks; anything else is refused.
pub(crate) fn announced(fields: Fields<'_>, minor: u8) -> Result<Framing, Refusal> {
    if !fields.has(Name::ContentLength) && !fields.has(Name::TransferEncoding) {
        return Ok(Framing::None);
    }
    let (mut length, mut coding) = (None, None);
    for (name, _, value) in fields.iter() {
        let (seen, twice) = match name {
            Name::ContentLength => (&mut length, Refusal::Length),
            Name::TransferEncoding => (&mut coding, Refusal::Coding),
            _ => continue,
        };
        if seen.replace(value).is_some() {
            return Err(twice);
        }
    }
    match (length, coding) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(Refusal::Both),
        (Some(length), None) => number(length).map(Framing::Length),
        (None, Some(coding)) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Refusal::Coding),
    }
}

/// A length as `Content-Length` may say it: digits and nothing else.
pub(crate) fn number(digits: &[u8]) -> Result<u64, Refusal> {
    if !(1..=MAX_DIGITS).contains(&digits.len()) {
        return Err(Refusal::Length);
    }
    digits.iter().try_fold(0, |sum: u64, digit| match digit {
        b'0'..=b'9' => Ok(sum * 10 + u64::from(digit - b'0')),
        _ => Err(Refusal::Length),
    })
}
