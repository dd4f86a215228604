//! Which header lines go on and which end here; the response's side of it. The request's side is [`crate::asked`].

use crate::{
    asked::{Asked, framed},
    codec::{
        Framing, Name, Refusal,
        head::{Fields, Response, line},
    },
    text,
};
use std::time::Duration;

/// Names that one head may nominate as its connection's own.
const MAX_NOMINATED: usize = 32;

/// What a head's `Connection` lines say.
#[derive(Debug)]
pub(crate) struct Hops<'a> {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Further headers that concern the connection only.
    nominated: Vec<&'a str>,
}

impl<'a> Hops<'a> {
    /// Of this head.
    pub(crate) fn of(fields: Fields<'a>) -> Result<Self, Refusal> {
        let mut hops = Self { close: false, keep_alive: false, upgrade: false, nominated: Vec::new() };
        if !fields.has(Name::Connection) {
            return Ok(hops);
        }
        for token in fields.tokens(Name::Connection) {
            match token.len() {
                5 if token.eq_ignore_ascii_case("close") => hops.close = true,
                10 if token.eq_ignore_ascii_case("keep-alive") => hops.keep_alive = true,
                7 if token.eq_ignore_ascii_case("upgrade") => hops.upgrade = true,
                _ if hops.nominated.len() == MAX_NOMINATED => return Err(Refusal::Connection),
                _ => hops.nominated.push(token),
            }
        }
        Ok(hops)
    }

    /// This header concerns the connection only.
    pub(crate) fn names(&self, name: Name, text: &str) -> bool {
        !name.is_kept() && self.nominated.iter().any(|token| token.eq_ignore_ascii_case(text))
    }
}

/// What an instance's response is, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of the body that comes.
    pub(crate) framing: Framing,
    /// The body has no end of its own.
    pub(crate) endless: bool,
    /// The instance may take another request on this connection.
    pub(crate) keep: bool,
    /// How long the instance keeps an idle connection, if it says so.
    pub(crate) keep_for: Option<Duration>,
}

impl Answer {
    /// Of this head, to a request that was a HEAD or not.
    pub(crate) fn of(response: &Response<'_>, is_head: bool) -> Result<Self, Refusal> {
        let framing = Framing::of_response(response, is_head)?;
        let hops = Hops::of(response.fields)?;
        let persistent = if response.minor == 0 { hops.keep_alive } else { !hops.close };
        Ok(Self {
            status: response.status,
            framing,
            endless: is_event_stream(response.fields),
            keep: persistent && framing != Framing::UntilClose,
            keep_for: keep_for(response.fields),
        })
    }

    /// Something final follows.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// How a response's body goes on to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Onward {
    pub(crate) framing: Framing,
    /// The client's connection ends behind it.
    pub(crate) close: bool,
}

impl Onward {
    /// To this client: chunks where the end would be in doubt otherwise, if the client knows chunks; `last`: nothing more on this connection.
    pub(crate) fn of(answer: &Answer, asked: &Asked, last: bool) -> Self {
        let framing = match answer.framing {
            Framing::Chunked | Framing::UntilClose if asked.is_old => Framing::UntilClose,
            Framing::Chunked | Framing::UntilClose => Framing::Chunked,
            other => other,
        };
        Self { framing, close: last || !asked.keep || framing == Framing::UntilClose }
    }
}

/// Writes an instance's response anew for the client; `pin` is a cookie of ours.
pub(crate) fn response(
    head: &mut Vec<u8>,
    response: &Response<'_>,
    onward: Onward,
    asked: &Asked,
    pin: Option<&str>,
) -> Result<(), Refusal> {
    let hops = Hops::of(response.fields)?;
    let (interim, switches) = (response.status < 200, response.status == 101);
    status_line(head, response.status, response.reason);
    response.fields.copy(head, |name, text| {
        name != Name::ContentLength && !name.is_hop_by_hop() && !hops.names(name, text)
    });
    if switches {
        line(head, "Connection", b"upgrade");
        if let Some(protocol) = response.fields.all(Name::Upgrade).next() {
            line(head, "Upgrade", protocol);
        }
    } else if !interim {
        body_lines(head, response, onward);
        connection_lines(head, onward, asked);
    }
    if let Some(pin) = pin {
        line(head, "Set-Cookie", pin.as_bytes());
    }
    if !response.fields.has(Name::Date) && !interim {
        head.extend_from_slice(b"Date: ");
        text::date(head);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Ok(())
}

pub(crate) fn status_line(head: &mut Vec<u8>, status: u16, reason: &str) {
    head.extend_from_slice(b"HTTP/1.1 ");
    text::decimal(head, u64::from(status));
    head.push(b' ');
    head.extend_from_slice(reason.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// A response without a body may still say how long it would be: to HEAD, and in a 304.
fn body_lines(head: &mut Vec<u8>, response: &Response<'_>, onward: Onward) {
    if onward.framing != Framing::None {
        return framed(head, onward.framing);
    }
    if response.status != 204
        && let Ok(length @ Framing::Length(_)) =
            crate::codec::framing::announced(response.fields, response.minor)
    {
        framed(head, length);
    }
}

fn connection_lines(head: &mut Vec<u8>, onward: Onward, asked: &Asked) {
    if onward.close {
        line(head, "Connection", b"close");
    } else if asked.is_old {
        line(head, "Connection", b"keep-alive");
    }
}

fn keep_for(fields: Fields<'_>) -> Option<Duration> {
    if !fields.has(Name::KeepAlive) {
        return None;
    }
    let seconds = fields.tokens(Name::KeepAlive).find_map(|token| token.strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// The response has no end of its own.
fn is_event_stream(fields: Fields<'_>) -> bool {
    let kind = fields.all(Name::ContentType).next().unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::head::Space;

    fn answer(head: &str) -> Answer {
        let mut space = Space::new();
        let response = Response::parse(head.as_bytes(), &mut space).expect("legal");
        Answer::of(&response, false).expect("legal")
    }

    #[test]
    fn instances_may_say_how_long_they_wait() {
        let with = |line: &str| answer(&format!("HTTP/1.1 204 \r\n{line}\r\n\r\n")).keep_for;
        assert_eq!(with("Keep-Alive: timeout=5, max=100"), Some(Duration::from_secs(5)));
        assert_eq!(with("Keep-Alive: timeout=x"), None);
    }

    #[test]
    fn connections_are_kept_only_where_the_end_of_the_body_is_certain() {
        let keeps = |head: &str| answer(head).keep;
        assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"));
    }
}
