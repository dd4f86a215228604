//! What must never be forwarded, as a table: each head, and why it is refused. And what must be understood in one way only.

use super::{
    Framing, Refusal,
    head::{MAX_LINES, Request, Response, Space},
    scan::Scan,
    target::Target,
};

/// The whole way of a head: found, parsed, framed, aimed. Nothing as long as it is not whole.
fn request(bytes: &[u8]) -> Result<Option<(Framing, String)>, Refusal> {
    let Some(length) = Scan::default().head(bytes)? else { return Ok(None) };
    let mut space = Space::new();
    let request = Request::parse(&bytes[..length], &mut space, 100)?;
    let framing = Framing::of_request(&request)?;
    Ok(Some((framing, Target::of(&request)?.domain)))
}

fn response(bytes: &[u8], head: bool) -> Result<Framing, Refusal> {
    let length = Scan::default().head(bytes)?.expect("whole");
    let mut space = Space::new();
    Framing::of_response(&Response::parse(&bytes[..length], &mut space)?, head)
}

/// First lines that are none.
const FIRST_LINES: &[(&str, Refusal)] = &[
    ("GET /", Refusal::Line),
    ("GET", Refusal::Line),
    ("GET  / HTTP/1.1", Refusal::Line),
    ("GET /  HTTP/1.1", Refusal::Line),
    (" GET / HTTP/1.1", Refusal::Line),
    ("GET\t/ HTTP/1.1", Refusal::Line),
    ("GET /\tHTTP/1.1", Refusal::Line),
    ("GET / HTTP/1.1 ", Refusal::LineEnd),
    ("GET / HTTP/1.1x", Refusal::LineEnd),
    ("GET / HTTP/1.10", Refusal::LineEnd),
    ("GET / HTTP/1", Refusal::Line),
    ("GET / http/1.1", Refusal::Line),
    ("GET / HTTP/01.1", Refusal::Line),
    ("GET / HTTP/1.2", Refusal::Version),
    ("GET / HTTP/0.9", Refusal::Version),
    ("GET / HTTP/2.0", Refusal::Version),
    ("PRI * HTTP/2.0", Refusal::Version),
    ("GET / HTTP/9.9", Refusal::Version),
    ("GET / HTTPS/1.1", Refusal::Line),
    ("G@T / HTTP/1.1", Refusal::Line),
    ("G\u{0}T / HTTP/1.1", Refusal::Line),
    ("GET /a b HTTP/1.1", Refusal::Line),
    ("GET /\u{0} HTTP/1.1", Refusal::Line),
    ("GET /\u{1} HTTP/1.1", Refusal::Line),
    ("GET /\u{7f} HTTP/1.1", Refusal::Line),
    ("GET /a\rb HTTP/1.1", Refusal::Line),
    ("GET /a#b HTTP/1.1", Refusal::Target),
    ("GET a HTTP/1.1", Refusal::Target),
    ("GET ?a HTTP/1.1", Refusal::Target),
    ("GET * HTTP/1.1", Refusal::Target),
    ("OPTIONS ** HTTP/1.1", Refusal::Target),
    ("GET ftp://shop.test/ HTTP/1.1", Refusal::Target),
    ("GET http:/shop.test/ HTTP/1.1", Refusal::Target),
    ("GET shop.test:80 HTTP/1.1", Refusal::Target),
    ("GET http://other.test/ HTTP/1.1", Refusal::TwoHosts),
    ("GET http://shop.test:80/ HTTP/1.1", Refusal::TwoHosts),
    ("GET http://user@shop.test/ HTTP/1.1", Refusal::TwoHosts),
    ("GET http:/// HTTP/1.1", Refusal::TwoHosts),
    ("CONNECT shop.test:80 HTTP/1.1", Refusal::Method),
    ("CONNECT / HTTP/1.1", Refusal::Method),
];

/// Header lines behind `POST / HTTP/1.1` and one `Host`.
const FIELDS: &[(&str, Refusal)] = &[
    ("Content-Length: 4\r\nTransfer-Encoding: chunked", Refusal::Both),
    ("Transfer-Encoding: chunked\r\nContent-Length: 0", Refusal::Both),
    ("Content-Length: 4\r\nContent-Length: 4", Refusal::Length),
    ("Content-Length: 4\r\nContent-Length: 5", Refusal::Length),
    ("Content-Length: 4\r\ncontent-length: 4", Refusal::Length),
    ("Content-Length: +5", Refusal::Length),
    ("Content-Length: -5", Refusal::Length),
    ("Content-Length: 5,5", Refusal::Length),
    ("Content-Length: 5, 5", Refusal::Length),
    ("Content-Length: 5 5", Refusal::Length),
    ("Content-Length: 0x5", Refusal::Length),
    ("Content-Length: 5.0", Refusal::Length),
    ("Content-Length: 1e1", Refusal::Length),
    ("Content-Length: \"5\"", Refusal::Length),
    ("Content-Length:", Refusal::Length),
    ("Content-Length:  ", Refusal::Length),
    ("Content-Length: five", Refusal::Length),
    ("Content-Length: 1000000000000000000", Refusal::Length),
    ("Content-Length: 18446744073709551616", Refusal::Length),
    ("Content-Length: 99999999999999999999999999", Refusal::Length),
    ("Content-Length: \u{664}", Refusal::Length),
    ("Transfer-Encoding: xchunked", Refusal::Coding),
    ("Transfer-Encoding: chunkedx", Refusal::Coding),
    ("Transfer-Encoding: chunked, chunked", Refusal::Coding),
    ("Transfer-Encoding: gzip, chunked", Refusal::Coding),
    ("Transfer-Encoding: chunked, identity", Refusal::Coding),
    ("Transfer-Encoding: identity", Refusal::Coding),
    ("Transfer-Encoding: chunked;q=1", Refusal::Coding),
    ("Transfer-Encoding: \"chunked\"", Refusal::Coding),
    ("Transfer-Encoding: ,chunked", Refusal::Coding),
    ("Transfer-Encoding:", Refusal::Coding),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refusal::Coding),
    ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", Refusal::Coding),
    ("Transfer-Encoding: \u{b}chunked", Refusal::Field),
    ("Transfer-Encoding: chunked\u{0}", Refusal::Field),
    ("Transfer-Encoding : chunked", Refusal::Field),
    ("Transfer-Encoding\t: chunked", Refusal::Field),
    ("Transfer-Encoding\r\n: chunked", Refusal::Field),
    (" Transfer-Encoding: chunked", Refusal::Field),
    ("Content-Length : 5", Refusal::Field),
    ("A: b\r\n Content-Length: 5", Refusal::Field),
    ("A: b\r\n\tfolded", Refusal::Field),
    ("A: b\rc", Refusal::Field),
    ("A: b\r\r\nC: d", Refusal::Field),
    ("A: b\nC: d", Refusal::LineEnd),
    ("A: b\n\r\nC: d", Refusal::LineEnd),
    ("A: \u{0}", Refusal::Field),
    ("A: \u{1b}[0m", Refusal::Field),
    ("A: \u{7f}", Refusal::Field),
    ("A", Refusal::Field),
    (": b", Refusal::Field),
    ("A B: c", Refusal::Field),
    ("A\u{0}: b", Refusal::Field),
    ("\u{e4}: b", Refusal::Field),
    ("A(: b", Refusal::Field),
    ("Host: shop.test", Refusal::TwoHosts),
    ("host: other.test", Refusal::TwoHosts),
];

/// Whole values of the one `Host`.
const HOSTS: &[(&str, Refusal)] = &[
    ("", Refusal::NoHost),
    (" ", Refusal::NoHost),
    ("a b", Refusal::BadHost),
    ("a,b", Refusal::BadHost),
    ("a/b", Refusal::BadHost),
    ("http://a", Refusal::BadHost),
    ("user@a", Refusal::BadHost),
    ("a:b", Refusal::BadHost),
    ("a:80:80", Refusal::BadHost),
    ("a:-1", Refusal::BadHost),
    ("a:123456", Refusal::BadHost),
    ("[::1", Refusal::BadHost),
    ("[::1]x", Refusal::BadHost),
    ("a?b", Refusal::BadHost),
    ("a#b", Refusal::BadHost),
    ("a\\b", Refusal::BadHost),
    ("a\"b", Refusal::BadHost),
    ("a%00", Refusal::BadHost),
    ("\u{e4}", Refusal::BadHost),
    (".", Refusal::BadHost),
    (":80", Refusal::BadHost),
];

#[test]
fn malformed_requests_are_refused_for_the_right_reason() {
    let line = |(line, why): &(&str, Refusal)| (format!("{line}\r\nHost: shop.test\r\n\r\n"), *why);
    let field = |(lines, why): &(&str, Refusal)| {
        (format!("POST / HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\nX: y\r\n\r\n"), *why)
    };
    let host = |(value, why): &(&str, Refusal)| (format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n"), *why);
    let all = FIRST_LINES.iter().map(line).chain(FIELDS.iter().map(field)).chain(HOSTS.iter().map(host));
    let mut count = 0;
    for (text, why) in all {
        assert_eq!(request(text.as_bytes()), Err(why), "{text:?}");
        assert!((400..=505).contains(&why.status()));
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[test]
fn the_same_in_http_1_0_where_it_differs() {
    for (text, why) in [
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Coding),
        ("GET / HTTP/1.0\r\n\r\n", Refusal::NoHost),
        ("GET / HTTP/1.1\r\n\r\n", Refusal::NoHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", Refusal::NoHost),
        ("\r\n\r\n", Refusal::Line),
        ("\n", Refusal::LineEnd),
    ] {
        let refused = request(text.as_bytes()).expect_err(text);
        assert!(refused == why || text == "\r\n\r\n", "{text:?}: {refused:?}");
    }
    assert_eq!(request(b"GET http://a/ HTTP/1.0\r\n\r\n"), Ok(Some((Framing::None, "a".into()))));
}

#[test]
fn too_many_lines_are_counted() {
    let many = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert!(request(many(99).as_bytes()).is_ok());
    assert_eq!(request(many(100).as_bytes()), Err(Refusal::ManyLines));
    assert_eq!(request(many(MAX_LINES + 100).as_bytes()), Err(Refusal::ManyLines));
}

#[test]
fn well_formed_requests_have_one_end() {
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length: 007\r\n", Framing::Length(7)),
        ("content-length:5\r\n", Framing::Length(5)),
        ("Content-Length: \t5 \r\n", Framing::Length(5)),
        ("Content-Length: 999999999999999999\r\n", Framing::Length(999_999_999_999_999_999)),
        ("TRANSFER-ENCODING: Chunked\r\n", Framing::Chunked),
        ("Transfer-Encoding:chunked \r\n", Framing::Chunked),
    ] {
        let text = format!("POST /x HTTP/1.1\r\nHost: Shop.test:80\r\n{lines}\r\n");
        assert_eq!(request(text.as_bytes()), Ok(Some((framing, "shop.test".into()))), "{text:?}");
    }
}

#[test]
fn responses_are_read_as_strictly() {
    let status = "HTTP/1.1 200 OK";
    for (lines, why) in FIELDS.iter().filter(|(_, why)| *why != Refusal::TwoHosts) {
        let text = format!("{status}\r\n{lines}\r\nX: y\r\n\r\n");
        assert_eq!(response(text.as_bytes(), false), Err(*why), "{text:?}");
        assert_eq!(response(text.as_bytes(), true), Err(*why), "to HEAD as well: {text:?}");
    }
    for line in [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 099 No",
        "HTTP/2.0 200 OK",
        "HTTP/1.1 200\tOK",
        "http/1.1 200 OK",
        "HTTP/1.1 abc OK",
        " HTTP/1.1 200 OK",
        "200 OK",
        "HTTP/1.1 200 O\u{0}K",
        "HTTP/1.1 200 O\rK",
    ] {
        assert!(response(format!("{line}\r\n\r\n").as_bytes(), false).is_err(), "{line:?}");
    }
    assert!(response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false).is_err());
}

#[test]
fn responses_end_where_their_request_and_status_say() {
    let framing = |head: &str, is_head| response(head.as_bytes(), is_head).expect("legal");
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!((framing(sized, false), framing(sized, true)), (Framing::Length(5), Framing::None));
    assert_eq!(framing("HTTP/1.1 200\r\n\r\n", false), Framing::UntilClose);
    assert_eq!(framing("HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", false), Framing::None);
    assert_eq!(framing("HTTP/1.1 304 \r\nTransfer-Encoding: chunked\r\n\r\n", false), Framing::None);
    assert_eq!(framing("HTTP/1.1 103 Early\r\n\r\n", false), Framing::None);
    assert_eq!(framing("HTTP/1.0 200 OK\r\n\r\n", false), Framing::UntilClose);
}
