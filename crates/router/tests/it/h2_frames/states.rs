//! Streams: their states, their numbers and how many there may be (RFC 9113, 5).

use super::{
    block::{get, line, request},
    case::{CANCEL, Case, Expect, NO_ERROR, PROTOCOL, REFUSED_STREAM, STREAM_CLOSED, case},
    frame::{
        END_HEADERS, END_STREAM, PING, PRIORITISED, WHOLE, continuation, data, dependency, frame, headers,
        ping, priority, reset, window,
    },
};

const WRONG: Expect = Expect::Connection(&[PROTOCOL]);
const CLOSED: Expect = Expect::Stream(1, &[STREAM_CLOSED]);

pub(crate) fn states() -> Vec<Case> {
    let whole = headers(1, WHOLE, &get());
    let open = headers(1, END_HEADERS, &request("POST", "/"));
    let answered = Expect::Answer(1, 200);
    vec![
        case("http2/5.1/1 DATA on an idle stream", [data(1, END_STREAM, b"test")], WRONG),
        case("http2/5.1/2 RST_STREAM on an idle stream", [reset(1, CANCEL)], WRONG),
        case("http2/5.1/3 WINDOW_UPDATE on an idle stream", [window(1, 100)], WRONG),
        case("http2/5.1/4 CONTINUATION on an idle stream", [continuation(1, END_HEADERS, &get())], WRONG),
        case(
            "http2/5.1/5 DATA on a half-closed stream",
            [headers(1, WHOLE, &request("GET", "/wait")), data(1, END_STREAM, b"test")],
            CLOSED,
        ),
        case(
            "http2/5.1/6 HEADERS on a half-closed stream",
            [headers(1, WHOLE, &request("GET", "/wait")), headers(1, WHOLE, &get())],
            CLOSED,
        ),
        case(
            "http2/5.1/7 CONTINUATION on a half-closed stream",
            [headers(1, WHOLE, &request("GET", "/wait")), continuation(1, END_HEADERS, &get())],
            Expect::Connection(&[STREAM_CLOSED, PROTOCOL]),
        ),
        case(
            "http2/5.1/8 DATA behind RST_STREAM",
            [open.clone(), reset(1, CANCEL), data(1, END_STREAM, b"test")],
            CLOSED,
        ),
        case(
            "http2/5.1/9 HEADERS behind RST_STREAM",
            [open.clone(), reset(1, CANCEL), headers(1, WHOLE, &get())],
            CLOSED,
        ),
        case(
            "http2/5.1/10 CONTINUATION behind RST_STREAM",
            [open, reset(1, CANCEL), continuation(1, END_HEADERS, &get())],
            Expect::Connection(&[STREAM_CLOSED, PROTOCOL]),
        ),
        case("http2/5.1/11 DATA on a closed stream", [whole.clone()], CLOSED)
            .then(answered.clone(), [data(1, END_STREAM, b"test"), ping()]),
        case(
            "http2/5.1/12 HEADERS on a closed stream",
            [whole.clone()],
            Expect::Connection(&[STREAM_CLOSED]),
        )
        .then(answered.clone(), [headers(1, WHOLE, &get())]),
        case(
            "http2/5.1/13 CONTINUATION on a closed stream",
            [whole],
            Expect::Connection(&[STREAM_CLOSED, PROTOCOL]),
        )
        .then(answered, [continuation(1, END_HEADERS, &line("x", "y"))]),
    ]
}

pub(crate) fn numbers() -> Vec<Case> {
    let many =
        (0..200).flat_map(|number| headers(2 * number + 1, END_HEADERS, &request("POST", "/wait"))).collect();
    let on_itself = [dependency(1, 255), get()].concat();
    vec![
        case("http2/5.1.1/1 a stream with an even number", [headers(2, WHOLE, &get())], WRONG),
        case(
            "http2/5.1.1/2 a number smaller than the last",
            [headers(5, WHOLE, &get()), headers(3, WHOLE, &get())],
            Expect::Connection(&[PROTOCOL, STREAM_CLOSED]),
        ),
        case(
            "http2/5.1.2/1 more streams than allowed",
            [many],
            Expect::Stream(399, &[PROTOCOL, REFUSED_STREAM]),
        ),
        case(
            "http2/5.3.1/1 HEADERS that depend on themselves",
            [headers(1, WHOLE | PRIORITISED, &on_itself)],
            Expect::Stream(1, &[PROTOCOL]),
        ),
        case(
            "http2/5.3.1/2 PRIORITY that depends on itself",
            [priority(1, 1, 255)],
            Expect::Stream(1, &[PROTOCOL]),
        ),
        case("http2/5.4.1/1 an error of the connection ends it", [frame(PING, 0, 3, &[0; 8])], WRONG),
        case(
            "http2/5.4.1/2 and is said first",
            [headers(1, WHOLE, &get()), frame(PING, 0, 3, &[0; 8])],
            WRONG,
        ),
        case("5.1.1 stream 0 is nobody's request", [headers(0, WHOLE, &get())], WRONG),
        case(
            "6.8 nothing begins behind our GOAWAY",
            [frame(7, 0, 0, &[0; 8])],
            Expect::Connection(&[NO_ERROR]),
        ),
    ]
}
