//! A request of HTTP/2 as HTTP/1.1 has it: the text of its head, and its body in HTTP/1.1's framing.
//!
//! It translates and permits nothing: what it writes is read by the same code as anybody's.

use super::pipe::Inbound;
use http::{HeaderMap, HeaderValue, Method, Request, header, request::Parts};
use hyper::body::{Body as _, Incoming};

/// The request, to be read as HTTP/1.1; `None` if it names no host, or two.
pub(super) fn translated(request: Request<Incoming>) -> Option<(Inbound, bool)> {
    let (mut head, body) = request.into_parts();
    let host = host(&head)?;
    join_cookies(&mut head.headers);
    let is_empty = body.is_end_stream();
    let chunked = !is_empty && !head.headers.contains_key(header::CONTENT_LENGTH);
    let mut text = Vec::with_capacity(1024);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    for part in [head.method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    line(&mut text, "host", host.as_bytes());
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != header::HOST) {
        line(&mut text, name.as_str(), value.as_bytes());
    }
    if chunked {
        line(&mut text, "transfer-encoding", b"chunked");
    } else if is_empty && has_body(&head.method) && !head.headers.contains_key(header::CONTENT_LENGTH) {
        // Without it apps of HTTP/1.1 would not know that nothing comes.
        line(&mut text, "content-length", b"0");
    }
    text.extend_from_slice(b"\r\n");
    let is_head = head.method == Method::HEAD;
    Some((Inbound::new(text, (!is_empty).then_some(body), chunked), is_head))
}

fn host(head: &Parts) -> Option<HeaderValue> {
    let authority = head.uri.authority().map(|authority| authority.as_str());
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (authority, hosts.next(), hosts.next()) {
        (Some(authority), None, None) => HeaderValue::from_str(authority).ok(),
        (Some(authority), Some(host), None) if host.as_bytes() == authority.as_bytes() => Some(host.clone()),
        (None, Some(host), None) => Some(host.clone()),
        _ => None,
    }
}

fn has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}

/// The lines of trailers, each with its end.
pub(super) fn lines(trailers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in trailers {
        line(&mut text, name.as_str(), value.as_bytes());
    }
    text
}

/// HTTP/2 may part one `Cookie` into several (RFC 9113, 8.2.3); HTTP/1.1 knows one.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}
