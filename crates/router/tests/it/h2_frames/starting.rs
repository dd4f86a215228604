//! How a connection begins, how frames are made, and header compression: RFC 9113 3.4, 4 and 5.5, and RFC 7541.

use super::{
    block::{get, integer, line, request},
    case::{COMPRESSION, Case, Expect, FRAME_SIZE, PROTOCOL, case, unknown_kind},
    frame::{
        END_HEADERS, END_STREAM, PING, PREFACE, SETTINGS, WHOLE, continuation, data, frame, headers,
        numbered, ping, priority, settings,
    },
};

const BROKEN: Expect = Expect::Connection(&[COMPRESSION]);

pub(crate) fn beginnings() -> Vec<Case> {
    let post = headers(1, END_HEADERS, &request("POST", "/"));
    vec![
        case("http2/3.5/1 preface and settings", [PREFACE.to_vec(), settings(&[])], Expect::Acks(1)).bare(),
        case(
            "http2/3.5/2 another preface",
            [b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec()],
            Expect::Connection(&[PROTOCOL]),
        )
        .bare(),
        case(
            "3.4 no settings behind the preface",
            [PREFACE.to_vec(), ping()],
            Expect::Connection(&[PROTOCOL]),
        )
        .bare(),
        case(
            "3.4 HTTP/1.1 where HTTP/2 was agreed on",
            [b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n".to_vec()],
            Expect::Connection(&[PROTOCOL]),
        )
        .bare(),
        case("http2/4.1/1 a frame of an unknown type", [unknown_kind(), ping()], Expect::Pong),
        case("http2/4.1/2 flags that are not defined", [frame(PING, 0xfe, 0, b"are you?")], Expect::Pong),
        case("http2/4.1/3 the reserved bit", [frame(PING, 0, 0x8000_0000, b"are you?")], Expect::Pong),
        case(
            "http2/4.2/1 DATA as long as allowed",
            [post.clone(), data(1, END_STREAM, &[b'x'; 16384])],
            Expect::Answer(1, 200),
        ),
        case(
            "http2/4.2/2 DATA longer than allowed",
            [post, data(1, END_STREAM, &[b'x'; 16385])],
            Expect::Stream(1, &[FRAME_SIZE]),
        ),
        case(
            "http2/4.2/3 HEADERS longer than allowed",
            [headers(1, WHOLE, &[get(), line("x-test", &"x".repeat(16385))].concat())],
            Expect::Connection(&[FRAME_SIZE]),
        ),
        case(
            "4.2 SETTINGS longer than allowed",
            [frame(SETTINGS, 0, 0, &[0; 16386])],
            Expect::Connection(&[FRAME_SIZE]),
        ),
        case(
            "http2/4.3/1 a block that is none",
            [headers(1, WHOLE, &[0x40, 0xff, 0xff, 0xff, 0xff, 0xff])],
            BROKEN,
        ),
        case(
            "http2/4.3/2 PRIORITY inside a block",
            [headers(1, END_STREAM, &get()), priority(1, 0, 255), continuation(1, END_HEADERS, &[])],
            Expect::Connection(&[PROTOCOL]),
        ),
        case(
            "http2/4.3/3 HEADERS of another stream inside a block",
            [headers(1, END_STREAM, &get()), headers(3, WHOLE, &get())],
            Expect::Connection(&[PROTOCOL]),
        ),
        case("http2/5.5/1 an extension's frame", [frame(0xff, 0x7f, 0, b"unknown"), ping()], Expect::Pong),
        case(
            "http2/5.5/2 an extension's frame inside a block",
            [headers(1, END_STREAM, &get()), unknown_kind(), continuation(1, END_HEADERS, &[])],
            Expect::Connection(&[PROTOCOL]),
        ),
    ]
}

pub(crate) fn compression() -> Vec<Case> {
    let behind = |rest: &[u8]| headers(1, WHOLE, &[get(), rest.to_vec()].concat());
    let coded = |value: &[u8]| [&[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff][..], value].concat();
    vec![
        case("hpack/2.3.3/1 an index that is not there", [behind(&[0xc6])], BROKEN),
        case("hpack/2.3.3/2 a name that is not there", [behind(b"\x7f\x07\x05empty")], BROKEN),
        case("hpack/4.2/1 a table's size behind a line", [behind(&[0x21])], BROKEN),
        case(
            "hpack/5.2/1 padding longer than seven bits",
            [behind(&coded(&[0x84, 0x49, 0x50, 0x9f, 0xff]))],
            BROKEN,
        ),
        case("hpack/5.2/2 padding of zeros", [behind(&coded(&[0x83, 0x49, 0x50, 0x90]))], BROKEN),
        case(
            "hpack/5.2/3 the end of a string inside it",
            [behind(&coded(&[0x84, 0xff, 0xff, 0xff, 0xff]))],
            BROKEN,
        ),
        case("hpack/6.1/1 index 0", [behind(&[0x80])], BROKEN),
        case(
            "hpack/6.3/1 a table larger than allowed",
            [headers(1, WHOLE, &[integer(0x20, 5, 4097), get()].concat())],
            BROKEN,
        ),
        case(
            "7541 5.1 a number without end",
            [behind(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])],
            BROKEN,
        ),
        case("7541 5.2 a string longer than its block", [behind(b"\x00\x7f\x07ab")], BROKEN),
        case("7541 a block that ends inside a line", [behind(&[0x00])], BROKEN),
        case(
            "7541 trailers whose block is none",
            [headers(1, END_HEADERS, &request("POST", "/")), headers(1, WHOLE, &[0x80])],
            BROKEN,
        ),
        case(
            "4.3 a block is read even if its stream is gone",
            [headers(1, END_HEADERS, &request("POST", "/")), numbered(3, 1, 8), headers(1, WHOLE, &[0x80])],
            BROKEN,
        ),
    ]
}
