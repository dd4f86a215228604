//! Each type of frame, malformed and at its limits (RFC 9113, 6 and 7).

use super::{
    block::{get, line, request},
    case::{CANCEL, Case, Expect, FLOW_CONTROL, FRAME_SIZE, PROTOCOL, STREAM_CLOSED, case},
    frame::{
        ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
        RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, continuation, data, frame, headers, ping, priority,
        reset, settings, window,
    },
};

const WRONG: Expect = Expect::Connection(&[PROTOCOL]);
const SIZE: Expect = Expect::Connection(&[FRAME_SIZE]);

fn post() -> Vec<u8> {
    headers(1, END_HEADERS, &request("POST", "/"))
}

fn whole() -> Vec<u8> {
    headers(1, WHOLE, &get())
}

/// 6.1 to 6.4.
pub(crate) fn of_streams() -> Vec<Case> {
    let padding = |kind, flags, content: &[u8]| frame(kind, flags | PADDED, 1, content);
    vec![
        case("http2/6.1/1 DATA on stream 0", [data(0, END_STREAM, b"test")], WRONG),
        case(
            "http2/6.1/2 DATA on a stream that is not open",
            [headers(1, WHOLE, &request("GET", "/wait")), data(1, END_STREAM, b"test")],
            Expect::Stream(1, &[STREAM_CLOSED]),
        ),
        case(
            "http2/6.1/3 DATA with more padding than there is",
            [post(), padding(DATA, END_STREAM, b"\x06test")],
            WRONG,
        ),
        case(
            "6.1 DATA with a pad length and nothing else is empty",
            [post(), padding(DATA, END_STREAM, b"\x00")],
            Expect::Answer(1, 200),
        ),
        case(
            "6.1 padded DATA without a pad length",
            [post(), padding(DATA, END_STREAM, b"")],
            Expect::Connection(&[PROTOCOL, FRAME_SIZE]),
        ),
        case(
            "http2/6.2/1 HEADERS without an end, and PRIORITY",
            [headers(1, END_STREAM, &get()), priority(1, 0, 255)],
            WRONG,
        ),
        case(
            "http2/6.2/2 HEADERS without an end, and another stream",
            [headers(1, END_STREAM, &get()), headers(3, WHOLE, &get())],
            WRONG,
        ),
        case("http2/6.2/3 HEADERS on stream 0", [headers(0, WHOLE, &get())], WRONG),
        case(
            "http2/6.2/4 HEADERS with more padding than there is",
            [padding(HEADERS, WHOLE, &[vec![255], get()].concat())],
            WRONG,
        ),
        case("http2/6.3/1 PRIORITY on stream 0", [priority(0, 1, 255)], WRONG),
        case(
            "http2/6.3/2 PRIORITY of four bytes",
            [frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1])],
            Expect::Stream(1, &[FRAME_SIZE]),
        ),
        case("http2/6.4/1 RST_STREAM on stream 0", [reset(0, CANCEL)], WRONG),
        case("http2/6.4/2 RST_STREAM on an idle stream", [reset(1, CANCEL)], WRONG),
        case("http2/6.4/3 RST_STREAM of three bytes", [post(), frame(RST_STREAM, 0, 1, &[0; 3])], SIZE),
        case(
            "http2/7/1 GOAWAY with an unknown code",
            [frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]), ping()],
            Expect::Connection(&[0, 0xff]),
        ),
        case("http2/7/2 RST_STREAM with an unknown code", [post(), reset(1, 0xff), ping()], Expect::Pong),
        case(
            "http2/8.2/1 PUSH_PROMISE from a client",
            [post(), frame(PUSH_PROMISE, END_HEADERS, 1, &[vec![0, 0, 0, 2], get()].concat())],
            WRONG,
        ),
    ]
}

/// 6.5 to 6.8.
pub(crate) fn of_connections() -> Vec<Case> {
    let windows = settings(&[(4, 100), (4, 1)]);
    vec![
        case("http2/6.5/1 an acknowledgement that says more", [frame(SETTINGS, ACK, 0, &[0])], SIZE),
        case("http2/6.5/2 SETTINGS of a stream", [frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])], WRONG),
        case("http2/6.5/3 SETTINGS of three bytes", [frame(SETTINGS, 0, 0, &[0; 3])], SIZE),
        case("http2/6.5.2/1 ENABLE_PUSH of 2", [settings(&[(2, 2)])], WRONG),
        case(
            "http2/6.5.2/2 INITIAL_WINDOW_SIZE beyond all bounds",
            [settings(&[(4, 0x8000_0000)])],
            Expect::Connection(&[FLOW_CONTROL]),
        ),
        case("http2/6.5.2/3 MAX_FRAME_SIZE too small", [settings(&[(5, 16383)])], WRONG),
        case("http2/6.5.2/4 MAX_FRAME_SIZE too large", [settings(&[(5, 16_777_216)])], WRONG),
        case("http2/6.5.2/5 a setting that nobody knows", [settings(&[(0xff, 1)]), ping()], Expect::Pong),
        case("8441 3 ENABLE_CONNECT_PROTOCOL of 2", [settings(&[(8, 2)])], WRONG),
        case("http2/6.5.3/1 the last of two values counts", [windows, whole()], Expect::Data(1, &[1])),
        case("http2/6.5.3/2 SETTINGS are acknowledged", [settings(&[(3, 100)])], Expect::Acks(1)),
        case("http2/6.7/1 PING", [ping()], Expect::Pong),
        case("http2/6.7/2 PING as an answer", [frame(PING, ACK, 0, b"whatever"), ping()], Expect::Pong),
        case("http2/6.7/3 PING of a stream", [frame(PING, 0, 1, &[0; 8])], WRONG),
        case("http2/6.7/4 PING of six bytes", [frame(PING, 0, 0, &[0; 6])], SIZE),
        case("http2/6.8/1 GOAWAY of a stream", [frame(GOAWAY, 0, 1, &[0; 8])], WRONG),
        case("6.8 GOAWAY of four bytes", [frame(GOAWAY, 0, 0, &[0; 4])], SIZE),
    ]
}

/// 6.9.
pub(crate) fn windows() -> Vec<Case> {
    const MOST: u32 = 0x7fff_ffff;
    vec![
        case("http2/6.9/1 a window larger by nothing", [window(0, 0)], WRONG),
        case(
            "http2/6.9/2 a stream's window larger by nothing",
            [post(), window(1, 0)],
            Expect::Stream(1, &[PROTOCOL]),
        ),
        case("http2/6.9/3 WINDOW_UPDATE of three bytes", [frame(WINDOW_UPDATE, 0, 0, &[0; 3])], SIZE),
        case("http2/6.9.1/1 a window of one byte", [settings(&[(4, 1)]), whole()], Expect::Data(1, &[1])),
        case(
            "http2/6.9.1/2 the connection's window beyond all bounds",
            [window(0, MOST), window(0, MOST)],
            Expect::Connection(&[FLOW_CONTROL]),
        ),
        case(
            "http2/6.9.1/3 a stream's window beyond all bounds",
            [post(), window(1, MOST), window(1, MOST)],
            Expect::Stream(1, &[FLOW_CONTROL]),
        ),
        case("http2/6.9.2/1 a window that opens later", [whole()], Expect::Data(1, &[1]))
            .settings(&[(4, 0)])
            .then(Expect::Head(1), [settings(&[(4, 1)])]),
        case("http2/6.9.2/2 a window below nothing", [whole()], Expect::Data(1, &[3, 1]))
            .settings(&[(4, 3)])
            .then(Expect::Data(1, &[3]), [settings(&[(4, 2)]), window(1, 2)]),
        case(
            "http2/6.9.2/3 a window that settings make too large",
            [post(), window(1, MOST - 65_535), settings(&[(4, 65_536)])],
            Expect::Connection(&[FLOW_CONTROL]),
        ),
    ]
}

/// 6.10.
pub(crate) fn continuations() -> Vec<Case> {
    let part = |flags| continuation(1, flags, &line("x-test", "1"));
    let begin = headers(1, END_STREAM, &get());
    vec![
        case("http2/6.10/1 several", [begin.clone(), part(0), part(END_HEADERS)], Expect::Answer(1, 200)),
        case(
            "http2/6.10/2 DATA inside a block",
            [begin.clone(), part(0), data(1, END_STREAM, b"test")],
            WRONG,
        ),
        case(
            "http2/6.10/3 CONTINUATION on stream 0",
            [begin.clone(), continuation(0, END_HEADERS, &line("x-test", "1"))],
            WRONG,
        ),
        case(
            "http2/6.10/4 CONTINUATION behind an end",
            [headers(1, END_HEADERS, &request("POST", "/")), part(END_HEADERS)],
            WRONG,
        ),
        case(
            "http2/6.10/5 CONTINUATION behind its end",
            [headers(1, 0, &request("POST", "/")), part(END_HEADERS), part(END_HEADERS)],
            WRONG,
        ),
        case(
            "http2/6.10/6 CONTINUATION behind DATA",
            [post(), data(1, 0, b"test"), part(END_HEADERS)],
            WRONG,
        ),
        case("6.10 CONTINUATION of another stream", [begin, continuation(3, END_HEADERS, &[])], WRONG),
    ]
}
