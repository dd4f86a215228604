//! Random and mutated bytes, read by us and by hyper: what both take for requests must be the same requests, and what we write in their
//! place must be read back as exactly that.
//!
//! Deterministic: a seed fails always or never, and is printed.

use super::{
    Body, Framing,
    head::{MAX_LINES, Request, Space},
    scan::{self, Scan},
    target::Target,
};
use crate::asked::{Asked, Asker};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// One request as somebody understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    /// Nothing if it did not come whole.
    body: Option<Vec<u8>>,
}

/// What we write in place of a request, and what we understood.
struct Ours {
    read: Read,
    onward: Vec<u8>,
}

/// All requests that we would forward, in order.
fn ours(bytes: &[u8]) -> Vec<Ours> {
    let (mut rest, mut all) = (bytes.to_vec(), Vec::new());
    while let Some((one, taken)) = first(&rest) {
        let whole = one.read.body.is_some();
        all.push(one);
        rest.drain(..taken);
        if !whole {
            break;
        }
    }
    all
}

fn first(bytes: &[u8]) -> Option<(Ours, usize)> {
    let blank = scan::blank(bytes);
    let bytes = &bytes[blank..];
    let length = Scan::default().head(bytes).ok()??;
    let mut space = Space::new();
    let request = Request::parse(&bytes[..length], &mut space, MAX_LINES).ok()?;
    let framing = Framing::of_request(&request).ok()?;
    let target = Target::of(&request).ok()?;
    let address = IpAddr::from([192, 0, 2, 1]);
    let asker = Asker { node: "192.0.2.1", trusted: false, address, proxies: &[], scheme: "http" };
    let asked = Asked::of(&request, &asker, Vec::new()).ok()?;
    let mut body = bytes[length..].to_vec();
    let mut decoder = Body::new(framing);
    let progress = decoder.decode(&mut body).ok()?;
    let content = decoder.is_done().then(|| body[progress.data].to_vec());
    let fields = request.fields.iter().map(|(_, name, value)| (name.to_ascii_lowercase(), value.to_vec()));
    let root = if target.rootless { "/" } else { "" };
    let read = Read {
        method: request.method.into(),
        target: format!("{root}{}", target.path),
        fields: fields.collect(),
        body: content,
    };
    let mut onward = asked.head;
    match (&read.body, framing) {
        (Some(body), Framing::Chunked) if !body.is_empty() => {
            onward.extend(format!("{:x}\r\n", body.len()).bytes());
            onward.extend_from_slice(body);
            onward.extend_from_slice(b"\r\n0\r\n\r\n");
        }
        (_, Framing::Chunked) => onward.extend_from_slice(b"0\r\n\r\n"),
        (Some(body), _) => onward.extend_from_slice(body),
        (None, _) => (),
    }
    Some((Ours { read, onward }, blank + length + progress.taken))
}

/// Bytes to read, and nobody who listens.
struct Script<'a>(&'a [u8]);

impl AsyncRead for Script<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.0.len().min(room.remaining());
        room.put_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// All requests that hyper sees.
async fn theirs(bytes: &[u8]) -> Vec<Read> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let record = Rc::clone(&seen);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let record = Rc::clone(&record);
        async move {
            let (head, body) = request.into_parts();
            let target = head.uri.path_and_query().map_or("*", |path| path.as_str()).to_owned();
            // Its path is `/` then, but it is not shown.
            let target = if target.starts_with('?') { format!("/{target}") } else { target };
            let fields =
                head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            let fields = fields.collect();
            let method = head.method.to_string();
            let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
            record.borrow_mut().push(Read { method, target, fields, body });
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let _ = http1::Builder::new()
        .half_close(true)
        .max_headers(MAX_LINES)
        .serve_connection(TokioIo::new(Script(bytes)), service)
        .await;
    seen.take()
}

/// Hyper groups lines of one name.
fn sorted(mut fields: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    fields.sort();
    fields
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).expect("small")
    }
}

fn mutated(seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed);
    let mut bytes = SEEDS[chance.below(SEEDS.len())].as_bytes().to_vec();
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

#[test]
fn what_both_take_for_requests_are_the_same_requests() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (mut compared, mut whole) = (0, 0);
    for seed in 0..ROUNDS {
        let bytes = mutated(seed);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let (ours, theirs) = (ours(&bytes), runtime.block_on(theirs(&bytes)));
        for (ours, theirs) in ours.iter().zip(theirs) {
            compared += 1;
            assert_eq!(
                (&ours.read.method, &ours.read.target),
                (&theirs.method, &theirs.target),
                "seed {seed}: {shown:?}"
            );
            assert_eq!(sorted(ours.read.fields.clone()), sorted(theirs.fields), "seed {seed}: {shown:?}");
            assert_eq!(ours.read.body, theirs.body, "seed {seed}: {shown:?}");
        }
        for one in ours.iter().filter(|one| one.read.body.is_some()) {
            let back = runtime.block_on(self::theirs(&one.onward));
            // A target that hyper does not take is none that it misreads.
            let Some(first) = back.first() else { continue };
            whole += 1;
            let onward = String::from_utf8_lossy(&one.onward);
            assert_eq!(back.len(), 1, "seed {seed}: {shown:?} became {onward:?}");
            assert_eq!(
                (&first.target, &first.body),
                (&one.read.target, &one.read.body),
                "seed {seed}: {onward:?}"
            );
        }
    }
    assert!(compared > ROUNDS / 4 && whole > ROUNDS / 4, "{compared} compared, {whole} written");
}

#[test]
fn random_bytes_are_never_more_than_refused() {
    for seed in 0..ROUNDS {
        let mut chance = Chance(seed ^ 0xdead_beef);
        let length = chance.below(300);
        let mut bytes: Vec<u8> =
            (0..length).map(|_| b"GET /:\r\n HTP1.0aChunked;59\0\xff"[chance.below(28)]).collect();
        let _ = ours(&bytes);
        for framing in [Framing::Chunked, Framing::Length(seed % 400), Framing::UntilClose] {
            let mut body = Body::new(framing);
            if let Ok(progress) = body.decode(&mut bytes) {
                assert!(progress.taken <= length && progress.data.end <= length, "seed {seed}");
                assert!(progress.data.len() <= progress.taken, "seed {seed}");
            }
        }
    }
}
