//! Bytes as requests, read by us and by hyper: what both take for requests must be the same requests, and what we write in their place must be
//! read back as exactly that.

use super::{
    Found, asker,
    other::{self, Script, sorted},
};
use crate::{
    asked::Asked,
    codec::{
        Body, Framing,
        head::{MAX_LINES, Request, Space},
        scan::{self, Scan},
        target::Target,
    },
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, convert::Infallible, rc::Rc};

/// Reads the bytes both ways.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let shown = String::from_utf8_lossy(bytes);
    let (ours, theirs) = (ours(bytes), other::wait(theirs(bytes)));
    for (ours, theirs) in ours.iter().zip(theirs) {
        found.compared += 1;
        assert_eq!((&ours.read.method, &ours.read.target), (&theirs.method, &theirs.target), "{shown:?}");
        assert_eq!(sorted(ours.read.fields.clone()), sorted(theirs.fields), "{shown:?}");
        assert_eq!(ours.read.body, theirs.body, "{shown:?}");
    }
    for one in ours.iter().filter(|one| one.read.body.is_some()) {
        let back = other::wait(self::theirs(&one.onward));
        // A target that hyper does not take is none that it misreads.
        let Some(first) = back.first() else { continue };
        found.written += 1;
        let onward = String::from_utf8_lossy(&one.onward);
        assert_eq!(back.len(), 1, "{shown:?} became {onward:?}");
        assert_eq!((&first.target, &first.body), (&one.read.target, &one.read.body), "{onward:?}");
    }
    found
}

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
    let asked = Asked::of(&request, &asker(), Vec::new()).ok()?;
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
