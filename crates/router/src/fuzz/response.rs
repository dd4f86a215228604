//! Bytes as an instance's answer, read by us and by hyper's client: what both take for an answer must be the same answer, and what a client gets
//! in its place must be read back as exactly that.

use super::{
    Found, asker,
    other::{self, Reply, sorted},
};
use crate::{
    asked::Asked,
    codec::{
        Body, Framing,
        head::{MAX_LINES, Request, Response, Space},
        scan::Scan,
    },
    headers::{self, Answer, Onward},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;

/// An answer as somebody understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    /// Nothing if it did not come whole.
    body: Option<Vec<u8>>,
}

/// Reads the bytes both ways, as the answer to a GET and to a HEAD.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let mut found = of("GET", bytes);
    found += of("HEAD", bytes);
    found
}

fn of(method: &str, bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let shown = String::from_utf8_lossy(bytes);
    let Some((ours, onward)) = ours(method, bytes) else { return found };
    if let Some(theirs) = other::wait(theirs(method, bytes)) {
        found.compared += 1;
        assert_eq!(ours.status, theirs.status, "{method}: {shown:?}");
        assert_eq!(sorted(ours.fields.clone()), sorted(theirs.fields), "{method}: {shown:?}");
        assert_eq!(ours.body, theirs.body, "{method}: {shown:?}");
    }
    if ours.body.is_some() {
        let text = String::from_utf8_lossy(&onward);
        let Some(back) = other::wait(theirs(method, &onward)) else {
            panic!("{method}: {shown:?} became {text:?}, which is no answer");
        };
        found.written += 1;
        assert_eq!((back.status, back.body), (ours.status, ours.body), "{method}: {shown:?} became {text:?}");
    }
    found
}

/// The request that is answered.
fn asked(method: &str) -> Option<Asked> {
    let head = format!("{method} / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    let mut space = Space::new();
    let request = Request::parse(head.as_bytes(), &mut space, MAX_LINES).ok()?;
    Asked::of(&request, &asker(), Vec::new()).ok()
}

/// The final answer as we take it, and what a client gets in its place.
fn ours(method: &str, mut bytes: &[u8]) -> Option<(Read, Vec<u8>)> {
    let asked = asked(method)?;
    loop {
        let length = Scan::default().head(bytes).ok()??;
        let mut space = Space::new();
        let response = Response::parse(&bytes[..length], &mut space).ok()?;
        let answer = Answer::of(&response, asked.is_head).ok()?;
        if answer.is_interim() {
            bytes = &bytes[length..];
            continue;
        }
        if answer.status == 101 {
            return None;
        }
        let onward = Onward::of(&answer, &asked, false);
        let mut text = Vec::new();
        headers::response(&mut text, &response, onward, &asked, None).ok()?;
        let body = body(answer.framing, &bytes[length..])?;
        let fields =
            response.fields.iter().map(|(_, name, value)| (name.to_ascii_lowercase(), value.to_vec()));
        let read = Read { status: answer.status, fields: fields.collect(), body };
        write(&mut text, onward.framing, read.body.as_deref().unwrap_or_default());
        return Some((read, text));
    }
}

/// The body, nothing in it if it did not come whole; nothing at all if it is none.
fn body(framing: Framing, bytes: &[u8]) -> Option<Option<Vec<u8>>> {
    let (mut bytes, mut body) = (bytes.to_vec(), Body::new(framing));
    let progress = body.decode(&mut bytes).ok()?;
    let whole = body.is_done() || body.close();
    Some(whole.then(|| bytes[progress.data].to_vec()))
}

fn write(text: &mut Vec<u8>, framing: Framing, body: &[u8]) {
    if framing == Framing::Chunked && !body.is_empty() {
        text.extend(format!("{:x}\r\n", body.len()).bytes());
        text.extend_from_slice(body);
        text.extend_from_slice(b"\r\n");
    }
    match framing {
        Framing::Chunked => text.extend_from_slice(b"0\r\n\r\n"),
        _ => text.extend_from_slice(body),
    }
}

/// The final answer as hyper's client takes it.
async fn theirs(method: &str, bytes: &[u8]) -> Option<Read> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(Reply::new(bytes))).await.ok()?;
    let request = hyper::Request::builder().method(method).uri("/").header("host", "shop.test");
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let asking = async move {
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let fields = fields.collect();
        let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
        Some(Read { status: head.status.as_u16(), fields, body })
    };
    let (read, _) = tokio::join!(asking, connection);
    read.filter(|read| read.status != 101)
}
