//! Which header lines go on, which end here, and which the router adds. Framing is hyper's business; what may be smuggled in names is ours.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{self, Entry},
    request::Parts,
    uri::PathAndQuery,
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Header lines that concern one connection only.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

/// A `Connection` line must not be able to name these away: they carry meaning to the end.
const KEPT: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::COOKIE, header::AUTHORIZATION];

/// Why a request is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No `Host`, or an empty one.
    NoHost,
    /// More than one `Host`, or one that contradicts the request's target.
    TwoHosts,
    /// A `Host` that is none.
    BadHost,
    /// `CONNECT`.
    Method,
}

/// The authority that a request is for, exactly as the client wrote it.
pub(crate) fn authority<B>(request: &Request<B>) -> Result<HeaderValue, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::TwoHosts),
        (host, None) => host,
    };
    let Some(target) = request.uri().authority() else {
        return host.filter(|host| !host.is_empty()).cloned().ok_or(Refusal::NoHost);
    };
    // An absolute target replaces `Host`; one that differs is a disguise more often than a mistake.
    if host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes())) {
        return Err(Refusal::TwoHosts);
    }
    if target.as_str().contains('@') {
        return Err(Refusal::BadHost);
    }
    HeaderValue::from_str(target.as_str()).map_err(|_| Refusal::BadHost)
}

/// The domain of an authority: lower case, without port and without the root's dot.
pub(crate) fn domain(authority: &HeaderValue) -> Result<String, Refusal> {
    let text = authority.to_str().map_err(|_| Refusal::BadHost)?;
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) if !text.starts_with('[') => return Err(Refusal::BadHost),
        _ => text,
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(legal) {
        return Err(Refusal::BadHost);
    }
    Ok(host.to_ascii_lowercase())
}

/// The protocol that the client wants to go on with on this connection. HTTP/2 is none: it would be a tunnel around these rules.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    if !tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let value = headers.get(header::UPGRADE)?;
    let h2 = |token: &str| token.trim().get(..2).is_some_and(|start| start.eq_ignore_ascii_case("h2"));
    let unsafe_ = value.to_str().map_or(true, |text| text.split(',').any(h2));
    (!unsafe_ && headers.get_all(header::UPGRADE).iter().count() == 1).then(|| value.clone())
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !KEPT.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Who asks, through which address.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    /// The other end of the connection.
    pub(crate) client: SocketAddr,
    /// The `Host` that counts.
    pub(crate) authority: &'a HeaderValue,
    /// What the client wants to go on with.
    pub(crate) upgrade: Option<&'a HeaderValue>,
    /// The other end is a proxy of the operator's: what it says of others is kept.
    pub(crate) trusted: bool,
}

/// Makes a client's request one for an instance.
pub(crate) fn request(head: &mut Parts, asker: &Asker<'_>) {
    let trailers = tokens(&head.headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    strip(&mut head.headers);
    let headers = &mut head.headers;
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = asker.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    headers.insert(header::HOST, asker.authority.clone());
    forwarded(headers, asker);
    identify(headers);
    head.version = Version::HTTP_11;
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
}

fn forwarded(headers: &mut HeaderMap, asker: &Asker<'_>) {
    let ip = asker.client.ip().to_canonical();
    if !asker.trusted {
        for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, header::FORWARDED] {
            headers.remove(name);
        }
    }
    add(headers, X_FORWARDED_FOR, &ip.to_string());
    let host = String::from_utf8_lossy(asker.authority.as_bytes()).into_owned();
    let node = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    // Quoted, because a port's colon is not a token's character; `domain` let nothing in that a quoted string cannot hold.
    add(headers, header::FORWARDED, &format!("for={node};host=\"{host}\";proto=http"));
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| asker.authority.clone());
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
}

/// Adds to a comma-separated list in one line.
fn add(headers: &mut HeaderMap, name: HeaderName, item: &str) {
    let before: Vec<&str> = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).collect();
    let line = if before.is_empty() { item.to_owned() } else { format!("{}, {item}", before.join(", ")) };
    if let Ok(value) = HeaderValue::from_str(&line) {
        headers.insert(name, value);
    }
}

/// Names the request, unless the client gave it a name that is fit for logs.
fn identify(headers: &mut HeaderMap) {
    let fit = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    let name = || {
        let text = format!("{:016x}{:016x}", crate::chance::next(), crate::chance::next());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"))
    };
    match headers.entry(X_REQUEST_ID) {
        Entry::Occupied(mut entry) if !fit(entry.get()) => drop(entry.insert(name())),
        Entry::Occupied(_) => (),
        Entry::Vacant(entry) => drop(entry.insert(name())),
    }
}

/// How long the instance keeps an idle connection, if it says so.
pub(crate) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let mut tokens = tokens(headers, &KEEP_ALIVE);
    let seconds = tokens.find_map(|token| token.strip_prefix("timeout="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Makes an instance's response one for the client.
pub(crate) fn response(headers: &mut HeaderMap, upgrade: Option<&HeaderValue>) {
    let protocol = headers.get(header::UPGRADE).cloned();
    strip(headers);
    if upgrade.is_some()
        && let Some(protocol) = protocol
    {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// The response has no end of its own.
pub(crate) fn is_endless(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri("/x?y=1");
        for (name, value) in lines {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("legal")
    }

    fn forwarded_with(lines: &[(&str, &str)], trusted: bool) -> HeaderMap {
        let (mut head, ()) = with(lines).into_parts();
        let authority = HeaderValue::from_static("a.test:80");
        let client = SocketAddr::from(([192, 0, 2, 1], 9));
        request(&mut head, &Asker { client, authority: &authority, upgrade: None, trusted });
        head.headers
    }

    #[test]
    fn one_host_counts_and_only_one() {
        assert_eq!(authority(&with(&[])), Err(Refusal::NoHost));
        assert_eq!(authority(&with(&[("host", "")])), Err(Refusal::NoHost));
        assert_eq!(authority(&with(&[("host", "a"), ("host", "a")])), Err(Refusal::TwoHosts));
        let mut absolute = with(&[("host", "b.test")]);
        *absolute.uri_mut() = Uri::from_static("http://a.test/x");
        assert_eq!(authority(&absolute), Err(Refusal::TwoHosts));
        absolute.headers_mut().remove("host");
        assert_eq!(authority(&absolute), Ok(HeaderValue::from_static("a.test")));
    }

    #[test]
    fn domains_are_compared_without_case_port_and_dot() {
        for same in ["A.test", "a.test:8080", "a.TEST.", "a.test.:1"] {
            assert_eq!(domain(&HeaderValue::from_str(same).expect("legal")), Ok("a.test".into()), "{same}");
        }
        for bad in ["a b", "a/b", "a.test:x", ":1", "a@b", "a\"b", "a,b"] {
            assert_eq!(domain(&HeaderValue::from_str(bad).expect("legal")), Err(Refusal::BadHost), "{bad}");
        }
    }

    #[test]
    fn what_concerns_one_connection_ends_here() {
        let headers = forwarded_with(
            &[
                ("connection", "x-secret, close, cookie, content-length"),
                ("x-secret", "1"),
                ("cookie", "kept"),
                ("te", "trailers, gzip"),
                ("transfer-encoding", "chunked"),
                ("keep-alive", "1"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
            ],
            false,
        );
        for gone in ["connection", "x-secret", "transfer-encoding", "keep-alive", "upgrade", "http2-settings"]
        {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["te"], "trailers");
        assert_eq!(headers["cookie"], "kept");
    }

    #[test]
    fn only_trusted_proxies_speak_for_others() {
        let lines =
            [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https"), ("forwarded", "for=x")];
        let stranger = forwarded_with(&lines, false);
        assert_eq!(stranger["x-forwarded-for"], "192.0.2.1");
        assert_eq!(stranger["x-forwarded-proto"], "http");
        assert_eq!(stranger["forwarded"], "for=192.0.2.1;host=\"a.test:80\";proto=http");
        assert_eq!(stranger["x-forwarded-host"], "a.test:80");
        let trusted = forwarded_with(&lines, true);
        assert_eq!(trusted["x-forwarded-for"], "203.0.113.9, 192.0.2.1");
        assert_eq!(trusted["x-forwarded-proto"], "https");
        assert_eq!(trusted["forwarded"], "for=x, for=192.0.2.1;host=\"a.test:80\";proto=http");
    }

    #[test]
    fn names_of_requests_are_kept_if_they_are_fit_for_logs() {
        assert_eq!(forwarded_with(&[("x-request-id", "abc")], false)["x-request-id"], "abc");
        let long = "x".repeat(129);
        for bad in ["a b", "", long.as_str()] {
            let made = &forwarded_with(&[("x-request-id", bad)], false)["x-request-id"];
            assert_eq!(made.len(), 32, "{bad:?}");
        }
    }

    #[test]
    fn http2_is_no_upgrade() {
        let wants = |protocol: &str| {
            upgrade(with(&[("connection", "keep-alive, Upgrade"), ("upgrade", protocol)]).headers()).is_some()
        };
        assert!(wants("websocket") && wants("chat"));
        assert!(!wants("h2c") && !wants("websocket, H2C"));
        assert!(upgrade(with(&[("upgrade", "websocket")]).headers()).is_none());
    }

    #[test]
    fn instances_may_say_how_long_they_wait() {
        let headers = with(&[("keep-alive", "timeout=5, max=100")]);
        assert_eq!(keep_alive(headers.headers()), Some(Duration::from_secs(5)));
        assert_eq!(keep_alive(with(&[("keep-alive", "timeout=x")]).headers()), None);
    }
}
