//! One request and its whole answer over a connection that exists already, judged by status and completeness.

use super::{
    Shared,
    ledger::{Answer, Lane, Sample},
};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use std::time::Duration;

/// How long a request may take, from its connection on.
pub(super) const TIME: Duration = Duration::from_secs(10);
/// The longest answer.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// What to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// When it was due.
    pub(super) scheduled: u64,
    /// The id of a POST.
    pub(super) post: Option<u64>,
}

/// Whoever asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) client: usize,
    pub(super) lane: Lane,
}

/// Why there was no good answer: fixed words, and the rest.
pub(super) type Lost = (&'static str, String);

/// Of a request over HTTP/2 that never left, because the connection's end had been announced: clients ask again elsewhere (RFC 9113, 6.8).
const UNSENT: &str = "unsent";

/// What becomes of a connection behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It may be used again.
    Keep,
    /// It may not.
    Close,
    /// It took nothing of the request, which is to be asked by another one; nothing is entered.
    Elsewhere,
}

/// A connection that takes requests.
pub(super) enum Sender {
    /// One at a time.
    H1(http1::SendRequest<Full<Bytes>>),
    /// Many at once.
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Lost> {
        let failed = |what: &'static str| move |error: hyper::Error| (what, describe(&error));
        match self {
            Self::H1(sender) => {
                sender.ready().await.map_err(failed("connection"))?;
                sender.send_request(request).await.map_err(failed("no answer"))
            }
            Self::H2(sender) => {
                sender.ready().await.map_err(|error| (h2_kind(&error, "connection"), describe(&error)))?;
                let answer = sender.send_request(request).await;
                answer.map_err(|error| (h2_kind(&error, "no answer"), describe(&error)))
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::H1(sender) => sender.is_closed(),
            Self::H2(sender) => sender.is_closed(),
        }
    }
}

/// hyper's words for what it never wrote; whatever was written and got no answer has others.
fn h2_kind(error: &hyper::Error, other: &'static str) -> &'static str {
    if error.is_canceled() || error.is_closed() { UNSENT } else { other }
}

/// Sends the request and enters what became of it.
pub(super) async fn ask(shared: &Shared, sender: &mut Sender, asker: Asker, job: Job) -> Then {
    let (floor, began) = {
        let mut ledger = shared.ledger();
        if let Some(id) = job.post {
            ledger.post(id);
        }
        (ledger.floor(asker.client), shared.now())
    };
    let exchange = tokio::time::timeout(TIME, exchange(shared, sender, asker.lane, job.post));
    let outcome = exchange
        .await
        .unwrap_or_else(|_| Err(("timeout", format!("no whole answer within {} s", TIME.as_secs()))));
    let ended = shared.now();
    let mut ledger = shared.ledger();
    match outcome {
        Ok((answer, reusable)) => {
            if let Some(id) = job.post {
                ledger.acknowledged(id);
            }
            let Asker { client, lane } = asker;
            ledger.answered(Sample { client, floor, scheduled: job.scheduled, began, ended, lane, answer });
            if reusable { Then::Keep } else { Then::Close }
        }
        Err((UNSENT, _)) => Then::Elsewhere,
        Err((kind, detail)) => {
            ledger.lost(ended, Some(job.scheduled), asker.lane, kind, detail);
            Then::Close
        }
    }
}

async fn exchange(
    shared: &Shared,
    sender: &mut Sender,
    lane: Lane,
    post: Option<u64>,
) -> Result<(Answer, bool), Lost> {
    let request = build(shared, lane, post).map_err(|e| ("request", e.to_string()))?;
    let response = sender.send(request).await?;
    let status = response.status();
    let mut answer = read_answer(&response);
    let close = response
        .headers()
        .get(header::CONNECTION)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"close"));
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|e| ("answer broke off", e.to_string()))?.to_bytes();
    if status.is_success() {
        answer.version = answer.version.or_else(|| version_in(&body));
        return Ok((answer, !close));
    }
    let start: String = String::from_utf8_lossy(&body).chars().take(200).collect();
    Err(("status", format!("{status}: {start}")))
}

fn build(shared: &Shared, lane: Lane, post: Option<u64>) -> http::Result<Request<Full<Bytes>>> {
    let host = &shared.options.host;
    let mut request = Request::builder().header(header::USER_AGENT, "teal-rig");
    // HTTP/2 names the host in the address.
    let mut place = format!("https://{host}");
    if lane != Lane::H2 {
        request = request.header(header::HOST, host);
        place.clear();
    }
    if lane == Lane::Fresh {
        request = request.header(header::CONNECTION, "close");
    }
    match post {
        Some(id) => request.method("POST").uri(place + "/record").body(Full::new(Bytes::from(name(id)))),
        None => request.uri(place + "/").body(Full::new(Bytes::new())),
    }
}

/// A POST's id as the app sees it: no other run on this machine uses the same.
pub(super) fn name(id: u64) -> String {
    format!("rig-{}-{id}", std::process::id())
}

/// The id behind such a name, if it is ours.
pub(super) fn id(name: &str) -> Option<u64> {
    name.strip_prefix("rig-")?.strip_prefix(&std::process::id().to_string())?.strip_prefix('-')?.parse().ok()
}

fn read_answer(response: &Response<Incoming>) -> Answer {
    let text = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Answer { version: text("x-version"), colour: text("x-colour") }
}

/// The version that a page names in `data-version="…"`, for sites that cannot set a header.
fn version_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("data-version=\"")?;
    rest.split_once('"').map(|(version, _)| version.chars().take(100).collect())
}

/// An error with its sources: hyper's own words say little.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
