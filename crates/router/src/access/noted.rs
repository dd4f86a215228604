//! What the access log keeps of a request until it is over: named parts of its head, each of a bounded length. `Authorization`, `Cookie` and all other headers
//! are never looked at. Of a stream that is not looked into it keeps where it came to.

use std::net::IpAddr;

/// The longest path that is logged, in bytes; the rest is left out.
const MAX_PATH: usize = 4096;
/// The longest value of a header that is logged.
const MAX_VALUE: usize = 1024;
/// A text that has grown beyond this is not kept for the connection's next request.
const KEPT: usize = 2048;

/// The protocol that the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    /// HTTP/1.0.
    Old,
    /// HTTP/1.1.
    #[default]
    Usual,
    /// HTTP/2.
    Second,
    /// A stream by a TCP port of an app's.
    Tcp,
    /// A stream whose TLS the app ends.
    Tls,
}

impl Protocol {
    /// As logs have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Old => "HTTP/1.0",
            Self::Usual => "HTTP/1.1",
            Self::Second => "HTTP/2.0",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// Nothing of it is a request.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The address of whoever asks, as far as trusted proxies tell.
    Client,
    /// `GET`.
    Method,
    /// With its query.
    Path,
    /// `Host`.
    Host,
    /// `X-Request-Id`.
    Id,
    /// `Referer`.
    Referrer,
    /// `User-Agent`.
    Agent,
    /// The name of the app.
    App,
}

const PARTS: usize = 8;

/// A request's parts, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    text: Vec<u8>,
    places: [(usize, usize); PARTS],
    /// What the client speaks.
    pub(crate) protocol: Protocol,
    /// The TCP port that a stream came to.
    pub(crate) port: Option<u16>,
}

impl Noted {
    /// Notes the parts of this head instead of those of the request before; a head that could not be read is empty.
    pub(crate) fn take(&mut self, head: &[u8], node: &str, protocol: Protocol, trusted: &[IpAddr]) {
        self.clear(protocol);
        let mut lines =
            head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
        self.put(Part::Method, words.next().unwrap_or_default(), MAX_VALUE);
        self.put(Part::Path, words.next().unwrap_or_default(), MAX_PATH);
        let mut chain = None;
        for (name, value) in lines.filter_map(field) {
            match part_of(name) {
                Some(part) if self.get(part).is_empty() => self.put(part, value, MAX_VALUE),
                None if name.eq_ignore_ascii_case(b"x-forwarded-for") => chain = chain.or(Some(value)),
                _ => (),
            }
        }
        let chain = chain.and_then(|chain| std::str::from_utf8(chain).ok()).unwrap_or(node);
        self.put(Part::Client, client(chain, trusted).unwrap_or(node).as_bytes(), MAX_VALUE);
    }

    /// Notes a stream of this client's: the name in its handshake, or the port that it came to.
    pub(crate) fn stream(&mut self, node: &str, name: Option<&str>, port: Option<u16>) {
        self.clear(if name.is_some() { Protocol::Tls } else { Protocol::Tcp });
        self.port = port;
        self.put(Part::Client, node.as_bytes(), MAX_VALUE);
        self.put(Part::Host, name.unwrap_or_default().as_bytes(), MAX_VALUE);
    }

    /// Nothing is left of what was noted before.
    fn clear(&mut self, protocol: Protocol) {
        self.text.clear();
        if self.text.capacity() > KEPT {
            self.text = Vec::new();
        }
        (self.places, self.protocol, self.port) = ([(0, 0); PARTS], protocol, None);
    }

    /// Notes the app's name.
    pub(crate) fn app(&mut self, name: &str) {
        if self.get(Part::App).is_empty() {
            self.put(Part::App, name.as_bytes(), MAX_VALUE);
        }
    }

    /// A part; empty if the request has none.
    pub(crate) fn get(&self, part: Part) -> &[u8] {
        let (start, end) = self.places[part as usize];
        self.text.get(start..end).unwrap_or_default()
    }

    fn put(&mut self, part: Part, value: &[u8], most: usize) {
        let start = self.text.len();
        self.text.extend_from_slice(&value[..value.len().min(most)]);
        self.places[part as usize] = (start, self.text.len());
    }
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

fn part_of(name: &[u8]) -> Option<Part> {
    let named = [
        (&b"host"[..], Part::Host),
        (b"x-request-id", Part::Id),
        (b"referer", Part::Referrer),
        (b"user-agent", Part::Agent),
    ];
    named.into_iter().find(|(text, _)| name.eq_ignore_ascii_case(text)).map(|(_, part)| part)
}

/// The last address of the chain that is no proxy of the operator's. What stands before it was said by that client itself, and is not believed.
fn client<'a>(chain: &'a str, trusted: &[IpAddr]) -> Option<&'a str> {
    let mut last = None;
    for text in chain.rsplit(',').map(str::trim) {
        let Ok(address) = text.parse::<IpAddr>() else { break };
        last = Some(text);
        if !trusted.contains(&address.to_canonical()) {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer secret\r\nCookie: secret\r\n\
                        User-Agent: one\r\nuser-agent: two\r\nReferer: http://b/\r\nX-Forwarded-For: 192.0.2.1\r\nX-Request-Id: abc\r\n\r\n";

    fn noted(head: &str) -> Noted {
        let mut noted = Noted::default();
        noted.take(head.as_bytes(), "192.0.2.9", Protocol::Usual, &[]);
        noted
    }

    #[test]
    fn named_parts_are_kept_and_nothing_else() {
        let noted = noted(HEAD);
        let all = [Part::Client, Part::Method, Part::Path, Part::Host, Part::Id, Part::Referrer, Part::Agent];
        let texts = all.map(|part| String::from_utf8_lossy(noted.get(part)).into_owned());
        assert_eq!(texts, ["192.0.2.1", "GET", "/x?y=1", "a.test", "abc", "http://b/", "one"]);
        assert!(!String::from_utf8_lossy(&noted.text).contains("secret"));
    }

    #[test]
    fn a_request_leaves_nothing_to_the_next_one() {
        let mut noted = noted(HEAD);
        noted.app("shop");
        noted.take(b"", "192.0.2.9", Protocol::Usual, &[]);
        assert_eq!(noted.get(Part::Client), b"192.0.2.9");
        for part in [Part::Method, Part::Path, Part::Host, Part::Agent, Part::App] {
            assert_eq!(noted.get(part), b"", "{part:?}");
        }
    }

    #[test]
    fn parts_are_no_longer_than_allowed() {
        let long = "x".repeat(60_000);
        let noted = noted(&format!("GET /{long} HTTP/1.1\r\nUser-Agent: {long}\r\n\r\n"));
        assert_eq!((noted.get(Part::Path).len(), noted.get(Part::Agent).len()), (MAX_PATH, MAX_VALUE));
    }

    #[test]
    fn the_client_is_whoever_came_to_the_trusted_proxies() {
        let trusted = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().expect("an address"));
        assert_eq!(client("192.0.2.1", &trusted), Some("192.0.2.1"));
        assert_eq!(client("6.6.6.6, 192.0.2.1, 10.0.0.2, 10.0.0.1", &trusted), Some("192.0.2.1"));
        assert_eq!(client("10.0.0.2, 10.0.0.1", &trusted), Some("10.0.0.2"));
        assert_eq!(client("evil\", 10.0.0.1", &trusted), Some("10.0.0.1"));
        assert_eq!(client("evil", &trusted), None);
    }
}
