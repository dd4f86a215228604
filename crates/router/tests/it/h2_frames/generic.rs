//! What every server must take: h2spec's "generic" cases.

use super::{
    block::{self, get, integer, line, lines, literal, request, string},
    case::{Case, Expect, PROTOCOL, case},
    frame::{
        ACK, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, PADDED, PING, PREFACE, PRIORITISED, WHOLE,
        continuation, data, dependency, frame, headers, ping, priority, reset, settings, window,
    },
};

const ANSWER: Expect = Expect::Answer(1, 200);

/// Streams, `DATA` and `HEADERS`.
pub(crate) fn frames() -> Vec<Case> {
    let padded = |kind: Vec<u8>| [vec![6], kind, vec![0; 6]].concat();
    vec![
        case("generic/1/1 the preface", [PREFACE.to_vec(), settings(&[]), headers(1, WHOLE, &get())], ANSWER)
            .bare(),
        case(
            "generic/2/1 PRIORITY on an idle stream",
            [priority(1, 0, 15), headers(1, WHOLE, &get())],
            ANSWER,
        ),
        case(
            "generic/2/2 WINDOW_UPDATE on a half-closed stream",
            [headers(1, WHOLE, &get()), window(1, 1)],
            ANSWER,
        ),
        case(
            "generic/2/3 PRIORITY on a half-closed stream",
            [headers(1, WHOLE, &get()), priority(1, 0, 15)],
            ANSWER,
        ),
        case(
            "generic/2/4 RST_STREAM on a half-closed stream",
            [headers(1, WHOLE, &get()), reset(1, 8), ping()],
            Expect::Pong,
        ),
        case("generic/2/5 PRIORITY on a closed stream", [headers(1, WHOLE, &get())], Expect::Pong)
            .then(ANSWER, [priority(1, 0, 15), ping()]),
        case(
            "generic/3.1/1 DATA",
            [headers(1, END_HEADERS, &request("POST", "/")), data(1, END_STREAM, b"test")],
            ANSWER,
        ),
        case(
            "generic/3.1/2 several DATA frames",
            [
                headers(1, END_HEADERS, &request("POST", "/")),
                data(1, 0, b"test"),
                data(1, END_STREAM, b"test"),
            ],
            ANSWER,
        ),
        case(
            "generic/3.1/3 padded DATA",
            [
                headers(1, END_HEADERS, &request("POST", "/")),
                data(1, END_STREAM | PADDED, &padded(b"test".to_vec())),
            ],
            ANSWER,
        ),
        case("generic/3.2/1 HEADERS", [headers(1, WHOLE, &get())], ANSWER),
        case("generic/3.2/2 padded HEADERS", [headers(1, WHOLE | PADDED, &padded(get()))], ANSWER),
        case(
            "generic/3.2/3 HEADERS with a priority",
            [headers(1, WHOLE | PRIORITISED, &[dependency(0, 255), get()].concat())],
            ANSWER,
        ),
    ]
}

/// The other types of frames.
pub(crate) fn control() -> Vec<Case> {
    vec![
        case("generic/3.3/1 PRIORITY of 1", [priority(1, 0, 0), headers(1, WHOLE, &get())], ANSWER),
        case("generic/3.3/2 PRIORITY of 256", [priority(1, 0, 255), headers(1, WHOLE, &get())], ANSWER),
        case("generic/3.3/3 PRIORITY that depends", [priority(1, 2, 255), headers(1, WHOLE, &get())], ANSWER),
        case(
            "generic/3.3/4 PRIORITY that excludes",
            [priority(1, 0x8000_0002, 255), headers(1, WHOLE, &get())],
            ANSWER,
        ),
        case(
            "generic/3.3/5 PRIORITY on a later stream",
            [priority(7, 0, 255), headers(1, WHOLE, &get())],
            ANSWER,
        ),
        case(
            "generic/3.4/1 RST_STREAM",
            [headers(1, END_HEADERS, &get()), reset(1, 8), ping()],
            Expect::Pong,
        ),
        case("generic/3.5/1 SETTINGS", [settings(&[(3, 100)])], Expect::Acks(1)),
        case("generic/3.7/1 PING", [ping()], Expect::Pong),
        case("generic/3.8/1 GOAWAY", [frame(GOAWAY, 0, 0, &[0; 8]), ping()], Expect::Connection(&[0])),
        case(
            "generic/3.9/1 WINDOW_UPDATE of the connection",
            [window(0, 1), headers(1, WHOLE, &get())],
            ANSWER,
        ),
        case(
            "generic/3.9/2 WINDOW_UPDATE of a stream",
            [headers(1, END_HEADERS, &request("POST", "/")), window(1, 1), data(1, END_STREAM, b"")],
            ANSWER,
        ),
        case(
            "generic/3.10/1 CONTINUATION",
            [headers(1, END_STREAM, &get()), continuation(1, END_HEADERS, &line("x-test", "1"))],
            ANSWER,
        ),
        case(
            "generic/3.10/2 several CONTINUATION frames",
            [
                headers(1, END_STREAM, &get()),
                continuation(1, 0, &line("x-test", "1")),
                continuation(1, END_HEADERS, &line("x-other", "1")),
            ],
            ANSWER,
        ),
    ]
}

/// Requests and answers.
pub(crate) fn exchanges() -> Vec<Case> {
    vec![
        case("generic/4/1 GET", [headers(1, WHOLE, &get())], ANSWER),
        case("generic/4/2 HEAD", [headers(1, WHOLE, &request("HEAD", "/"))], ANSWER),
        case(
            "generic/4/3 POST",
            [headers(1, END_HEADERS, &request("POST", "/")), data(1, END_STREAM, b"test")],
            ANSWER,
        ),
        case(
            "generic/4/4 POST with trailers",
            [
                headers(1, END_HEADERS, &block::with("POST", "/", &[("trailer", "x-test")])),
                data(1, 0, b"test"),
                headers(1, WHOLE, &line("x-test", "ok")),
            ],
            ANSWER,
        ),
        case(
            "an answer to our own answer is no question",
            [frame(PING, ACK, 0, b"whoknows"), ping()],
            Expect::Pong,
        ),
        case(
            "CONTINUATION out of nowhere",
            [frame(CONTINUATION, END_HEADERS, 1, &get())],
            Expect::Connection(&[PROTOCOL]),
        ),
    ]
}

/// Each form of a header line (h2spec's generic 5).
pub(crate) fn forms() -> Vec<Case> {
    let start = lines(&[(":path", "/"), (":authority", "shop.test")]);
    let block = |rest: Vec<u8>| [vec![0x82, 0x87], start.clone(), rest].concat();
    // `user-agent` is 58th in the static table.
    let named = |kind, bits| [integer(kind, bits, 58), string(b"test")].concat();
    // `x-test: test` in Huffman's code.
    let coded = [0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff, 0x83, 0x49, 0x50, 0x9f];
    let one = |name, block: Vec<u8>| case(name, [headers(1, WHOLE, &block)], ANSWER);
    vec![
        one("generic/5/1 indexed", [vec![0x82, 0x87, 0x84], line(":authority", "shop.test")].concat()),
        one("generic/5/2 remembered, known name", block(named(0x40, 6))),
        one("generic/5/3 remembered, new name", block(literal(0x40, "x-test", "test"))),
        one("generic/5/4 forgotten, known name", block(named(0x00, 4))),
        one("generic/5/5 forgotten, new name", block(line("x-test", "test"))),
        one("generic/5/6 never to be remembered, known name", block(named(0x10, 4))),
        one("generic/5/7 never to be remembered, new name", block(literal(0x10, "x-test", "test"))),
        one("generic/5/8 smaller table first", [integer(0x20, 5, 128), block(vec![])].concat()),
        one(
            "generic/5/9 two sizes first",
            [integer(0x20, 5, 128), integer(0x20, 5, 4096), block(vec![])].concat(),
        ),
        one("generic/5/10 Huffman", block(coded.to_vec())),
        one(
            "generic/5/11 remembered and used",
            [block(literal(0x40, "x-test", "test")), vec![0xbe]].concat(),
        ),
    ]
}
