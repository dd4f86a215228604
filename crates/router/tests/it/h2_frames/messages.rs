//! Requests that are malformed (RFC 9113, 8): nothing of them reaches an app, whose records are looked through afterwards.

use super::{
    block::{lines, with},
    case::{Case, Expect, PROTOCOL, case},
    frame::{END_HEADERS, END_STREAM, WHOLE, data, headers},
};

/// A path that no app may ever see.
pub(crate) const NEVER: &str = "/malformed";

const BAD: Expect = Expect::Malformed(1);

/// Ordinary header lines behind a proper beginning, none of which may go through.
const FIELDS: &[(&str, &[(&str, &str)])] = &[
    ("http2/8.1.2/1 a name in upper case", &[("X-TEST", "ok")]),
    ("http2/8.1.2.1/1 an unknown pseudo-header", &[(":test", "ok")]),
    ("http2/8.1.2.1/2 a response's pseudo-header", &[(":status", "200")]),
    ("http2/8.1.2.1/4 a pseudo-header behind a line", &[("x-test", "ok"), (":path", NEVER)]),
    ("http2/8.1.2.2/1 connection", &[("connection", "keep-alive")]),
    ("http2/8.1.2.2/2 te", &[("trailers", "test"), ("te", "trailers, deflate")]),
    ("8.2.2 te: gzip", &[("te", "gzip")]),
    ("8.2.2 keep-alive", &[("keep-alive", "timeout=5")]),
    ("8.2.2 proxy-connection", &[("proxy-connection", "keep-alive")]),
    ("8.2.2 transfer-encoding", &[("transfer-encoding", "chunked")]),
    ("8.2.2 upgrade", &[("upgrade", "websocket")]),
    ("http2/8.1.2.3/5 two methods", &[(":method", "GET")]),
    ("http2/8.1.2.3/6 two schemes", &[(":scheme", "https")]),
    ("http2/8.1.2.3/7 two paths", &[(":path", NEVER)]),
    ("8.3.1 two authorities", &[(":authority", "shop.test")]),
    ("8.3.1 another host", &[("host", "other.test")]),
    ("8.3.1 two hosts", &[("host", "shop.test"), ("host", "shop.test")]),
    ("8.2.1 a line feed in a value", &[("x-test", "a\nx: y")]),
    ("8.2.1 a carriage return in a value", &[("x-test", "a\rb")]),
    ("8.2.1 both, and a line behind them", &[("x-test", "a\r\nTransfer-Encoding: chunked")]),
    ("8.2.1 a zero in a value", &[("x-test", "a\0b")]),
    ("8.2.1 a colon in a name", &[("x:test", "1")]),
    ("8.2.1 a blank in a name", &[("x test", "1")]),
    ("8.2.1 a line end in a name", &[("x\r\ntransfer-encoding", "chunked")]),
    ("8.2.1 an empty name", &[("", "1")]),
    ("8.1.1 a length that is none", &[("content-length", "x")]),
    ("8.1.1 a length with a sign", &[("content-length", "+0")]),
    ("8.1.1 a length of two numbers", &[("content-length", "0, 0")]),
    ("8.1.1 a length that is not the body's", &[("content-length", "5")]),
    ("8.1.1 two lengths", &[("content-length", "0"), ("content-length", "5")]),
];

pub(crate) fn fields() -> Vec<Case> {
    let one = |(name, further): &(&'static str, &[(&str, &str)])| {
        case(name, [headers(1, WHOLE, &with("GET", NEVER, further))], BAD)
    };
    FIELDS.iter().map(one).collect()
}

/// Beginnings of requests, each of which lacks something or has it wrong.
pub(crate) fn beginnings() -> Vec<Case> {
    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "https");
    const PATH: (&str, &str) = (":path", NEVER);
    const HOST: (&str, &str) = (":authority", "shop.test");
    let one = |name, all: &[(&str, &str)]| case(name, [headers(1, WHOLE, &lines(all))], BAD);
    vec![
        one("http2/8.1.2.3/1 an empty path", &[METHOD, SCHEME, (":path", ""), HOST]),
        one("http2/8.1.2.3/2 no method", &[SCHEME, PATH, HOST]),
        one("http2/8.1.2.3/3 no scheme", &[METHOD, PATH, HOST]),
        one("http2/8.1.2.3/4 no path", &[METHOD, SCHEME, HOST]),
        one("8.3.1 no host at all", &[METHOD, SCHEME, PATH]),
        one("8.3.1 a user in the authority", &[METHOD, SCHEME, PATH, (":authority", "me@shop.test")]),
        one("8.3.1 an empty authority", &[METHOD, SCHEME, PATH, (":authority", "")]),
        one("8.3.1 a path in the authority", &[METHOD, SCHEME, PATH, (":authority", "shop.test/x")]),
        one("8.3.1 a path that does not begin with a slash", &[METHOD, SCHEME, (":path", "malformed"), HOST]),
        one("8.3.1 a blank in the path", &[METHOD, SCHEME, (":path", "/malformed x"), HOST]),
        one(
            "8.3.1 a line end in the path",
            &[METHOD, SCHEME, (":path", "/malformed HTTP/1.1\r\nx: y"), HOST],
        ),
        one("8.3.1 a fragment in the path", &[METHOD, SCHEME, (":path", "/cut#off"), HOST]),
        one("8.3.1 an asterisk without OPTIONS", &[METHOD, SCHEME, (":path", "*"), HOST, ("x", NEVER)]),
        one("8.3.1 a blank in the method", &[(":method", "GET /malformed"), SCHEME, PATH, HOST]),
        one("8.3.1 an empty method", &[(":method", ""), SCHEME, PATH, HOST]),
        one(
            "8441 4 CONNECT with a protocol that was not offered",
            &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, HOST],
        ),
        one("8.5 CONNECT with a path", &[(":method", "CONNECT"), SCHEME, PATH, HOST]),
        case(
            "8.5 CONNECT",
            [headers(1, WHOLE, &lines(&[(":method", "CONNECT"), (":authority", "shop.test:443")]))],
            Expect::Answer(1, 405),
        ),
    ]
}

/// Bodies and trailers.
pub(crate) fn bodies() -> Vec<Case> {
    let post = |further: &[(&str, &str)]| headers(1, END_HEADERS, &with("POST", "/", further));
    let bad = Expect::Stream(1, &[PROTOCOL]);
    let part = [("content-length", "10")];
    vec![
        case(
            "8.1 an interim answer of the app's goes through",
            [headers(1, WHOLE, &with("GET", "/hints", &[]))],
            Expect::Heads(1, &[103, 200]),
        ),
        case(
            "8.1 who waits to be told to go on is told so",
            [post(&[("expect", "100-continue"), ("content-length", "4")])],
            Expect::Heads(1, &[100, 200]),
        )
        .then(Expect::Heads(1, &[100]), [data(1, END_STREAM, b"test")]),
        case(
            "http2/8.1/1 a second head without an end",
            [post(&[]), headers(1, END_HEADERS, &lines(&[("x-test", "ok")]))],
            bad.clone(),
        ),
        case(
            "http2/8.1.2.1/3 a pseudo-header in trailers",
            [post(&[]), data(1, 0, b"test"), headers(1, WHOLE, &lines(&[(":method", "GET")]))],
            bad.clone(),
        ),
        case(
            "http2/8.1.2.6/1 less than was announced",
            [post(&part), data(1, END_STREAM, b"test")],
            bad.clone(),
        ),
        case(
            "http2/8.1.2.6/2 less than was announced, in parts",
            [post(&part), data(1, 0, b"test"), data(1, END_STREAM, b"test")],
            bad.clone(),
        ),
        case(
            "8.1.1 more than was announced",
            [post(&[("content-length", "3")]), data(1, END_STREAM, b"test")],
            bad.clone(),
        ),
        case(
            "8.1.1 less than was announced, and trailers",
            [post(&part), data(1, 0, b"test"), headers(1, WHOLE, &lines(&[("x-test", "ok")]))],
            bad.clone(),
        ),
        case(
            "8.1 a line end in trailers",
            [
                post(&[]),
                data(1, 0, b"test"),
                headers(1, WHOLE, &lines(&[("x-test", "ok\r\n\r\nGET /malformed HTTP/1.1")])),
            ],
            bad,
        ),
        case(
            "8.1.1 exactly what was announced",
            [post(&[("content-length", "4")]), data(1, END_STREAM, b"test")],
            Expect::Answer(1, 200),
        ),
    ]
}
