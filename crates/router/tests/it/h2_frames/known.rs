//! Where the router does something else than the standard or h2spec wants, each with its reason; a change of it is seen.

use super::case::{Expect, PROTOCOL};

pub(crate) struct Known {
    /// The case's name.
    pub(crate) case: &'static str,
    /// What comes instead.
    pub(crate) instead: Expect,
    /// Why it stays so.
    pub(crate) reason: &'static str,
}

/// The connection ends as it must, and the code is the most general one. The `h2` crate has no other for what its reader refuses.
const CODE: &str =
    "the connection ends, with PROTOCOL_ERROR as the code of every frame that the h2 crate cannot read";

const CODES: &[&str] = &[
    "http2/4.3/1 a block that is none",
    "hpack/2.3.3/1 an index that is not there",
    "hpack/2.3.3/2 a name that is not there",
    "hpack/4.2/1 a table's size behind a line",
    "hpack/5.2/1 padding longer than seven bits",
    "hpack/5.2/2 padding of zeros",
    "hpack/5.2/3 the end of a string inside it",
    "hpack/6.1/1 index 0",
    "hpack/6.3/1 a table larger than allowed",
    "7541 5.1 a number without end",
    "7541 5.2 a string longer than its block",
    "7541 a block that ends inside a line",
    "7541 trailers whose block is none",
    "4.3 a block is read even if its stream is gone",
    "http2/6.3/2 PRIORITY of four bytes",
    "http2/6.4/3 RST_STREAM of three bytes",
    "http2/6.5/1 an acknowledgement that says more",
    "http2/6.5/3 SETTINGS of three bytes",
    "http2/6.5.2/2 INITIAL_WINDOW_SIZE beyond all bounds",
    "http2/6.7/4 PING of six bytes",
    "6.8 GOAWAY of four bytes",
    "http2/6.9/3 WINDOW_UPDATE of three bytes",
];

/// An error of a stream may be treated as one of its connection (RFC 9113, 5.4.2), which the `h2` crate does here.
const STRICTER: &str =
    "the connection ends with PROTOCOL_ERROR where the stream's end with STREAM_CLOSED would do";

const STRICTER_ONES: &[&str] = &[
    "http2/5.1/5 DATA on a half-closed stream",
    "http2/5.1/6 HEADERS on a half-closed stream",
    "http2/5.1/9 HEADERS behind RST_STREAM",
    "http2/5.1/12 HEADERS on a closed stream",
    "http2/6.1/2 DATA on a stream that is not open",
];

pub(crate) fn differences() -> Vec<Known> {
    let over =
        |reason| move |case: &&'static str| Known { case, instead: Expect::Connection(&[PROTOCOL]), reason };
    let mut all: Vec<Known> = CODES.iter().map(over(CODE)).collect();
    all.extend(STRICTER_ONES.iter().map(over(STRICTER)));
    all.extend([
        Known {
            case: "3.4 no settings behind the preface",
            instead: Expect::Pong,
            reason: "the h2 crate takes a client's settings whenever they come; until then the standard's first values count",
        },
        Known {
            case: "http2/5.1/11 DATA on a closed stream",
            instead: Expect::Pong,
            reason: "the h2 crate ignores DATA for a stream that has just ended, and counts it against the connection's window",
        },
        Known {
            case: "8.3.1 a fragment in the path",
            instead: Expect::Answer(1, 200),
            reason: "the http crate cuts a fragment off, so that none goes on; over HTTP/1.1 it is refused",
        },
        Known {
            case: "http2/8.1.2.1/3 a pseudo-header in trailers",
            instead: Expect::Answer(1, 200),
            reason: "the h2 crate drops pseudo-headers of trailers, so that none goes on",
        },
    ]);
    all
}
