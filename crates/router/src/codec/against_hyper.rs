//! Mutated and random messages, read by us and by hyper: see [`crate::fuzz`] for what is compared.
//!
//! Deterministic: a seed fails always or never, and is printed.

use super::{Body, Framing};
use crate::{
    chance::Chance,
    fuzz::{Found, request, response},
};

/// Enough for every rule to be hit often; more belongs in a fuzzer's hours.
const ROUNDS: u64 = 40_000;

const SEEDS: &[&str] = &[
    "GET /a?b=c HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: b.test\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nSum: 1\r\n\r\n",
    "GET http://shop.test/a HTTP/1.1\r\nHost: shop.test\r\nConnection: close, x\r\nX: 1\r\n\r\n",
    "PUT /x HTTP/1.0\r\nHost: shop.test\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabcGET / HTTP/1.0\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nOPTIONS * HTTP/1.1\r\nHost: a:80\r\n\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
];

const PIECES: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "0",
    "5",
    "\u{0}",
    "\u{b}",
    "\u{7f}",
    "\u{e4}",
    "chunked",
    "x",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
    " HTTP/1.1",
    "#",
    "+",
    "0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: c\r\n\r\n",
    "5\r\nhello\r\n",
    "Connection: close\r\n",
    "-",
    "\"",
    "//",
    "@",
    "%0a",
];

/// What an app may send.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nSum: 1\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    "HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nto the end",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 500 \r\nConnection: close, x\r\nX: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n",
];

fn mutated(seeds: &[&str], seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed);
    let mut bytes = seeds[chance.below(seeds.len())].as_bytes().to_vec();
    for _ in 0..chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(4)).min(bytes.len());
        let piece = PIECES[chance.below(PIECES.len())].as_bytes();
        match chance.below(4) {
            0 => drop(bytes.splice(at..at, piece.iter().copied())),
            1 => drop(bytes.splice(at..end, piece.iter().copied())),
            2 => drop(bytes.drain(at..end)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << chance.below(8)),
        }
    }
    bytes
}

/// All of them; the seed of one that fails is printed.
fn sweep(seeds: &[&str], check: impl Fn(&[u8]) -> Found) {
    let mut found = Found::default();
    for seed in 0..ROUNDS {
        let named = Seed(seed);
        found += check(&mutated(seeds, seed));
        std::mem::forget(named);
    }
    assert!(found.compared > ROUNDS / 4 && found.written > ROUNDS / 4, "{found:?}");
}

/// Says its number when it is dropped, which it is when a check fails.
struct Seed(u64);

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the number is what a failure is repeated with")]
    fn drop(&mut self) {
        eprintln!("seed {}", self.0);
    }
}

#[test]
fn what_both_take_for_requests_are_the_same_requests() {
    sweep(SEEDS, request::check);
}

#[test]
fn what_both_take_for_answers_are_the_same_answers() {
    sweep(ANSWERS, response::check);
}

#[test]
fn random_bytes_are_never_more_than_refused() {
    for seed in 0..ROUNDS {
        let mut chance = Chance(seed ^ 0xdead_beef);
        let length = chance.below(300);
        let mut bytes: Vec<u8> =
            (0..length).map(|_| b"GET /:\r\n HTP1.0aChunked;59\0\xff"[chance.below(28)]).collect();
        request::check(&bytes);
        response::check(&bytes);
        for framing in [Framing::Chunked, Framing::Length(seed % 400), Framing::UntilClose] {
            let mut body = Body::new(framing);
            if let Ok(progress) = body.decode(&mut bytes) {
                assert!(progress.taken <= length && progress.data.end <= length, "seed {seed}");
                assert!(progress.data.len() <= progress.taken, "seed {seed}");
            }
        }
    }
}
