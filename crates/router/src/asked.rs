//! A client's request, made one for an instance: what is needed to answer it, and its head as it goes on.
//!
//! The head is written anew from what was understood. Nothing of the client's own framing, and no line that concerns its connection, goes further.

use crate::{
    codec::{
        Framing, Name, Refusal,
        head::{Fields, Request, line},
        target::Target,
    },
    headers::Hops,
    node::Node,
    pages::Form,
    pins::Pins,
    text,
};
use std::{net::IpAddr, time::Instant};

/// Where certificate authorities look for proofs (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Who asks, through which address.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    /// The other end's address, as text.
    pub(crate) node: &'a Node,
    /// The other end is a proxy of the operator's: what it says of others is kept.
    pub(crate) trusted: bool,
    /// The same as an address.
    pub(crate) address: IpAddr,
    /// All proxies of the operator's.
    pub(crate) proxies: &'a [IpAddr],
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// As it goes on to an instance.
    pub(crate) head: Vec<u8>,
    /// Lower case, without port.
    pub(crate) domain: String,
    pub(crate) framing: Framing,
    /// How a page is to be written.
    pub(crate) form: Form,
    /// The answer has no body, whatever it says.
    pub(crate) is_head: bool,
    /// Twice is as good as once.
    pub(crate) is_idempotent: bool,
    /// The client speaks HTTP/1.0: no chunks, no interim answers.
    pub(crate) is_old: bool,
    /// The client may send another request on its connection.
    pub(crate) keep: bool,
    /// What the client wants to go on with.
    pub(crate) upgrade: Option<Protocol>,
    /// The client waits to be told to go on before it sends its body.
    pub(crate) expects: bool,
    /// The client takes trailers.
    pub(crate) trailers: bool,
    /// It came in clear text, as far as is known.
    pub(crate) is_clear: bool,
    /// Who is counted as the client: what asks us, or what the operator's proxies say.
    pub(crate) client: IpAddr,
    /// The instances that the client had before.
    pub(crate) pins: Pins,
    /// When all of its head was there.
    pub(crate) at: Instant,
    /// The last part of the path under which certificate authorities look for proofs.
    pub(crate) challenge: Option<String>,
}

/// A protocol behind an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    WebSocket,
    Other,
}

impl Asked {
    /// Where the same thing is by TLS; `head` is its head as it would go on.
    pub(crate) fn by_tls(&self, head: &[u8]) -> String {
        let path = Some(target(head)).filter(|path| path.starts_with(b"/")).unwrap_or(b"/");
        format!("https://{}{}", self.domain, String::from_utf8_lossy(path))
    }

    /// It can be sent once more as it is, and twice is as good as once.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_idempotent && self.framing.is_empty()
    }

    /// Reads a request, and writes it anew behind `head`, which is empty.
    pub(crate) fn of(request: &Request<'_>, asker: &Asker<'_>, mut head: Vec<u8>) -> Result<Self, Refusal> {
        let framing = Framing::of_request(request)?;
        let target = Target::of(request)?;
        let fields = request.fields;
        let hops = Hops::of(fields)?;
        let is_old = request.minor == 0;
        let upgrade = upgrade(fields, &hops).filter(|_| !is_old);
        let trailers = !is_old && fields.has_token(Name::Te, "trailers");
        let expects = !is_old && fields.has_token(Name::Expect, "100-continue");

        begin(&mut head, request.method, &target);
        let unwanted = |name| name == Name::Expect && is_old;
        fields.copy(&mut head, |name, text| goes_on(name) && !unwanted(name) && !hops.names(name, text));
        let mut pins = Pins::default();
        for value in fields.all(Name::Cookie).map(|value| pins.take(value)) {
            if !value.is_empty() {
                line(&mut head, "Cookie", &value);
            }
        }
        framed(&mut head, framing);
        if trailers {
            line(&mut head, "TE", b"trailers");
        }
        if let Some((_, value)) = upgrade {
            line(&mut head, "Connection", b"upgrade");
            line(&mut head, "Upgrade", value.as_bytes());
        }
        forwarded(&mut head, fields, asker, target.authority);
        identify(&mut head, fields);
        head.extend_from_slice(b"\r\n");
        Ok(Self {
            head,
            domain: target.domain,
            framing,
            form: Form::asked(fields),
            is_head: request.method == "HEAD",
            is_idempotent: matches!(request.method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE"),
            is_old,
            keep: if is_old { hops.keep_alive } else { !hops.close },
            upgrade: upgrade.map(|(protocol, _)| protocol),
            expects: expects && !matches!(framing, Framing::None | Framing::Length(0)),
            trailers,
            is_clear: proto(fields, asker) != b"https",
            client: client(fields, asker),
            pins,
            at: Instant::now(),
            challenge: target.path.strip_prefix(CHALLENGES).map(ToOwned::to_owned),
        })
    }
}

/// The target in a request's head.
pub(crate) fn target(head: &[u8]) -> &[u8] {
    head.split(|byte| matches!(byte, b' ' | b'\r')).nth(1).unwrap_or_default()
}

/// The first line, and the host.
fn begin(head: &mut Vec<u8>, method: &str, target: &Target<'_>) {
    let root = if target.rootless { " /" } else { " " };
    write(head, &[method, root, target.path, " HTTP/1.1\r\nHost: ", target.authority, "\r\n"]);
}

/// Writes the parts, one behind the other: each costs, however short it is.
fn write(head: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        head.extend_from_slice(part.as_bytes());
    }
}

/// The framing that the other side is told: always ours.
pub(crate) fn framed(head: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => (),
        Framing::Length(length) => {
            head.extend_from_slice(b"Content-Length: ");
            text::decimal(head, length);
            head.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => line(head, "Transfer-Encoding", b"chunked"),
    }
}

/// Is copied as it is; cookies lose those of ours.
fn goes_on(name: Name) -> bool {
    let ours = matches!(
        name,
        Name::Host
            | Name::ContentLength
            | Name::Cookie
            | Name::Forwarded
            | Name::XForwardedFor
            | Name::XForwardedHost
            | Name::XForwardedProto
            | Name::XRequestId
    );
    !ours && !name.is_hop_by_hop()
}

/// The protocol that the client wants to go on with on this connection. HTTP/2 is none: it would be a tunnel around these rules.
fn upgrade<'a>(fields: Fields<'a>, hops: &Hops<'_>) -> Option<(Protocol, &'a str)> {
    let mut values = fields.all(Name::Upgrade);
    let (Some(value), None, true) = (values.next(), values.next(), hops.upgrade) else { return None };
    let value = std::str::from_utf8(value).ok().filter(|value| !value.is_empty())?;
    let h2 = |token: &str| token.trim().get(..2).is_some_and(|start| start.eq_ignore_ascii_case("h2"));
    if value.split(',').any(h2) {
        return None;
    }
    let websocket = value.eq_ignore_ascii_case("websocket");
    Some((if websocket { Protocol::WebSocket } else { Protocol::Other }, value))
}

/// From where and to which host the client came. A host was let in only if a quoted string can hold it, and is quoted because a port's colon is no
/// token's character.
fn forwarded(head: &mut Vec<u8>, fields: Fields<'_>, asker: &Asker<'_>, authority: &str) {
    let Asker { node, scheme, trusted, .. } = *asker;
    if !trusted {
        write(head, &[node.lines(), authority, "\";proto=", scheme, "\r\nX-Forwarded-Host: ", authority]);
        return write(head, &["\r\nX-Forwarded-Proto: ", scheme, "\r\n"]);
    }
    list(head, "X-Forwarded-For: ", fields, Name::XForwardedFor);
    write(head, &[node.text(), "\r\n"]);
    list(head, "Forwarded: ", fields, Name::Forwarded);
    write(head, &[node.pair(), authority, "\";proto=", scheme, "\r\nX-Forwarded-Host: "]);
    let told = fields.all(Name::XForwardedHost).next();
    head.extend_from_slice(told.unwrap_or(authority.as_bytes()));
    head.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
    head.extend_from_slice(proto(fields, asker));
    head.extend_from_slice(b"\r\n");
}

/// Behind the operator's proxies: the nearest address that is none of theirs. Whatever that one says of others is its own word.
fn client(fields: Fields<'_>, asker: &Asker<'_>) -> IpAddr {
    if !asker.trusted {
        return asker.address;
    }
    let told: Vec<&str> = fields.tokens(Name::XForwardedFor).collect();
    let mut nearest = asker.address;
    for address in told.into_iter().rev().map_while(|text| text.parse::<IpAddr>().ok()) {
        nearest = address.to_canonical();
        if !asker.proxies.contains(&nearest) {
            break;
        }
    }
    nearest
}

/// By what the client came to us, or to the proxy in front of us.
fn proto<'a>(fields: Fields<'a>, asker: &Asker<'a>) -> &'a [u8] {
    let told = fields.all(Name::XForwardedProto).next().filter(|_| asker.trusted);
    told.unwrap_or(asker.scheme.as_bytes())
}

/// The beginning of a comma-separated list in one line, with what a trusted proxy said before.
fn list(head: &mut Vec<u8>, text: &str, fields: Fields<'_>, name: Name) {
    head.extend_from_slice(text.as_bytes());
    for before in fields.all(name).filter(|value| !value.is_empty()) {
        head.extend_from_slice(before);
        head.extend_from_slice(b", ");
    }
}

/// Names the request, unless the client gave it one name that is fit for logs.
fn identify(head: &mut Vec<u8>, fields: Fields<'_>) {
    let fit = |value: &&[u8]| (1..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    if let Some(value) = fields.all(Name::XRequestId).next().filter(fit) {
        return line(head, "X-Request-Id", value);
    }
    let [one, other] = [(); 2].map(|()| text::hex_digits(crate::chance::next()));
    let mut id = [0; 32];
    id[..16].copy_from_slice(&one);
    id[16..].copy_from_slice(&other);
    line(head, "X-Request-Id", &id);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::head::{MAX_LINES, Space};
    use std::{net::Ipv4Addr, sync::LazyLock};

    const PROXIES: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))];

    static NODE: LazyLock<Node> = LazyLock::new(|| Node::new(PROXIES[0]));

    fn asker(trusted: bool) -> Asker<'static> {
        Asker { node: &NODE, trusted, address: PROXIES[0], proxies: &PROXIES, scheme: "http" }
    }

    fn ask(head: &str, trusted: bool) -> Result<(Asked, String), Refusal> {
        let mut space = Space::new();
        let request = Request::parse(head.as_bytes(), &mut space, MAX_LINES)?;
        let asked = Asked::of(&request, &asker(trusted), Vec::new())?;
        let text = String::from_utf8_lossy(&asked.head).into_owned();
        Ok((asked, text))
    }

    fn with(lines: &str, trusted: bool) -> (Asked, String) {
        ask(&format!("GET /x?y=1 HTTP/1.1\r\nHost: a.test:80\r\n{lines}\r\n"), trusted).expect("legal")
    }

    #[test]
    fn what_concerns_one_connection_ends_here() {
        let lines = "Connection: x-secret, close, cookie, content-length\r\nX-Secret: 1\r\nCookie: kept\r\nTE: trailers, gzip\r\n\
                     Keep-Alive: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: y\r\nX_Forwarded_For: 9\r\n";
        let (asked, head) = with(lines, false);
        let lower = head.to_ascii_lowercase();
        for gone in ["connection", "x-secret", "keep-alive", "upgrade", "http2", "proxy", "x_forwarded"] {
            assert!(!lower.contains(gone), "{gone} in {head}");
        }
        assert!(head.starts_with("GET /x?y=1 HTTP/1.1\r\nHost: a.test:80\r\n") && head.ends_with("\r\n\r\n"));
        assert!(head.contains("Cookie: kept\r\n") && head.contains("TE: trailers\r\n"));
        assert!(!asked.keep && asked.trailers && asked.upgrade.is_none());
    }

    #[test]
    fn only_trusted_proxies_speak_for_others() {
        let lines = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\nX-Forwarded-For: 8\r\n";
        let ours = "for=192.0.2.1;host=\"a.test:80\";proto=http\r\n";
        let (_, stranger) = with(lines, false);
        assert!(stranger.contains("X-Forwarded-For: 192.0.2.1\r\n"), "{stranger}");
        assert!(stranger.contains("X-Forwarded-Proto: http\r\n"));
        assert!(stranger.contains(&format!("Forwarded: {ours}")));
        assert!(stranger.contains("X-Forwarded-Host: a.test:80\r\n"));
        let (_, trusted) = with(lines, true);
        assert!(trusted.contains("X-Forwarded-For: 203.0.113.9, 8, 192.0.2.1\r\n"), "{trusted}");
        assert!(trusted.contains("X-Forwarded-Proto: https\r\n"));
        assert!(trusted.contains(&format!("Forwarded: for=x, {ours}")));
    }

    #[test]
    fn the_client_is_the_nearest_that_is_no_proxy_of_the_operators() {
        for (lines, trusted, expected) in [
            ("X-Forwarded-For: 203.0.113.9\r\n", false, "192.0.2.1"),
            ("", true, "192.0.2.1"),
            ("X-Forwarded-For: 203.0.113.9\r\n", true, "203.0.113.9"),
            ("X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n", true, "203.0.113.9"),
            (
                "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.9, 192.0.2.2\r\n",
                true,
                "203.0.113.9",
            ),
            ("X-Forwarded-For: 2001:db8::7\r\n", true, "2001:db8::7"),
            ("X-Forwarded-For: 203.0.113.9, unknown\r\n", true, "192.0.2.1"),
        ] {
            assert_eq!(with(lines, trusted).0.client.to_string(), expected, "{lines}");
        }
    }

    #[test]
    fn pins_do_not_reach_the_app() {
        let (asked, head) =
            with("Cookie: a=1; teal-instance-x=p; b=2\r\nCookie: teal-instance-y=q\r\n", false);
        assert!(head.contains("Cookie: a=1; b=2\r\n") && !head.contains("teal-instance"), "{head}");
        assert_eq!(
            (asked.pins.of("teal-instance-x"), asked.pins.of("teal-instance-y")),
            (Some("p"), Some("q"))
        );
        assert_eq!(head.matches("Cookie").count(), 1, "{head}");
    }

    #[test]
    fn names_of_requests_are_kept_if_they_are_fit_for_logs() {
        assert!(with("X-Request-Id: abc\r\n", false).1.contains("X-Request-Id: abc\r\n"));
        for bad in ["a b", "", &"x".repeat(129)] {
            let (_, head) = with(&format!("X-Request-Id: {bad}\r\n"), false);
            let made = head.split("X-Request-Id: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            assert_eq!(made.map(str::len), Some(32), "{bad:?}");
        }
    }

    #[test]
    fn http2_is_no_upgrade() {
        let wants = |protocol: &str| {
            let (asked, head) =
                with(&format!("Connection: keep-alive, Upgrade\r\nUpgrade: {protocol}\r\n"), false);
            assert_eq!(asked.upgrade.is_some(), head.contains("Connection: upgrade\r\nUpgrade: "), "{head}");
            asked.upgrade
        };
        assert_eq!((wants("WebSocket"), wants("chat")), (Some(Protocol::WebSocket), Some(Protocol::Other)));
        assert_eq!((wants("h2c"), wants("websocket, H2C")), (None, None));
        assert!(with("Upgrade: websocket\r\n", false).0.upgrade.is_none());
    }

    #[test]
    fn targets_go_on_in_origin_form() {
        for (line, expected) in [
            ("GET http://a.test/x?y HTTP/1.1\r\nHost: A.test", "GET /x?y HTTP/1.1\r\nHost: a.test\r\n"),
            ("GET http://a.test HTTP/1.1\r\nHost: a.test", "GET / HTTP/1.1\r\n"),
            ("GET http://a.test?y HTTP/1.1\r\nHost: a.test", "GET /?y HTTP/1.1\r\n"),
            ("GET HTTPS://a.test/ HTTP/1.0\r\nA: b", "GET / HTTP/1.1\r\nHost: a.test\r\n"),
            ("OPTIONS * HTTP/1.1\r\nHost: a.test", "OPTIONS * HTTP/1.1\r\n"),
            ("OPTIONS http://a.test HTTP/1.1\r\nHost: a.test", "OPTIONS * HTTP/1.1\r\n"),
            ("GET //b.test/ HTTP/1.1\r\nHost: a.test", "GET //b.test/ HTTP/1.1\r\nHost: a.test\r\n"),
        ] {
            let (_, head) = ask(&format!("{line}\r\n\r\n"), false).expect(line);
            assert!(head.starts_with(expected), "{head}");
        }
    }

    #[test]
    fn old_clients_are_known() {
        let old =
            |lines: &str| ask(&format!("GET / HTTP/1.0\r\nHost: a\r\n{lines}\r\n"), false).expect("legal");
        let (asked, head) = old("Expect: 100-continue\r\nConnection: upgrade\r\nUpgrade: websocket\r\n");
        assert!(asked.is_old && !asked.keep && !asked.expects && asked.upgrade.is_none());
        assert!(!head.contains("Expect") && head.contains(" HTTP/1.1\r\n"));
        assert!(old("Connection: keep-alive\r\n").0.keep);
    }
}
