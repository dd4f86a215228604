//! Streams of server-sent events, held open: they must not be cut by a switch, and they tell what the app recorded.

use super::{
    Shared,
    ledger::{Lane, Ledger},
    request::{TIME, describe, id},
};
use bytes::{Bytes, BytesMut};
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// A stream that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a stream stays with a version that is no longer current, as somebody who has the page open does.
pub(super) const LINGER_US: u64 = 1_500_000;
/// The longest line.
const MAX_LINE: usize = 64 * 1024;

/// Holds one stream open until the run ends, opening it again whenever it ended.
pub(super) async fn hold(shared: Arc<Shared>, number: usize) {
    tokio::time::sleep(Duration::from_millis(number as u64 * 37 % 1000)).await;
    while !shared.is_stopping() {
        tokio::select! {
            outcome = once(&shared, number) => if let Err((kind, detail)) = outcome {
                let now = shared.now();
                shared.ledger().stream_failed(now, Lane::Stream, kind, detail);
                // Not a retry of anything that is counted: the failure is entered, and another stream begins.
                tokio::time::sleep(Duration::from_millis(500)).await;
            },
            () = shared.stopped() => {}
        }
    }
}

async fn once(shared: &Shared, number: usize) -> Result<(), (&'static str, String)> {
    let began = shared.now();
    let response = tokio::time::timeout(TIME, open(shared)).await;
    let (mut body, version) = response
        .map_err(|_| ("stream not opened", "timed out".into()))?
        .map_err(|e| ("stream not opened", e))?;
    shared.ledger().streams.opened += 1;
    let mut lines = BytesMut::new();
    let mut first = true;
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame())
            .await
            .map_err(|_| ("stream silent", String::new()))?;
        let Some(frame) = frame else { return Err(("stream cut", "ended by the server".into())) };
        let frame = frame.map_err(|e| ("stream cut", describe(&e)))?;
        if let Some(data) = frame.data_ref() {
            if std::mem::take(&mut first) {
                let waited = (shared.now() - began) as f64 / 1000.0;
                let streams = &mut shared.ledger().streams;
                streams.slowest_first_ms = streams.slowest_first_ms.max(waited);
            }
            lines.extend_from_slice(data);
            read(shared, &mut lines);
        }
        if is_time_to_leave(shared, version.as_deref(), number) {
            return Ok(());
        }
    }
}

/// Whether the version of a stream is so long no longer current that its user has left.
pub(super) fn is_time_to_leave(shared: &Shared, version: Option<&str>, number: usize) -> bool {
    if shared.options.hold {
        return false;
    }
    let linger = LINGER_US + (number as u64 % 20) * 100_000;
    let since = version.and_then(|version| shared.ledger().replaced(version));
    since.is_some_and(|since| shared.now() > since + linger)
}

async fn open(shared: &Shared) -> Result<(Incoming, Option<String>), String> {
    let stream = TcpStream::connect(shared.options.target).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(|e| describe(&e))?;
    tokio::spawn(async move {
        // Its end is seen by whoever reads the body.
        let _ = connection.await;
    });
    let request = Request::builder()
        .uri("/events")
        .header(header::HOST, &shared.options.host)
        .header(header::ACCEPT, "text/event-stream")
        .body(Empty::new())
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| describe(&e))?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()));
    }
    let version = response.headers().get("x-version").and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok((response.into_body(), version))
}

/// Takes whole lines from the buffer.
fn read(shared: &Shared, lines: &mut BytesMut) {
    while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
        let line = lines.split_to(end + 1);
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        let Some(data) = text.trim_end().strip_prefix("data:") else { continue };
        let mut ledger = shared.ledger();
        ledger.streams.messages += 1;
        let mut words = data.split_whitespace();
        if words.next() == Some("recorded") {
            record(&mut ledger, &mut words);
        }
    }
    if lines.len() > MAX_LINE {
        lines.clear();
    }
}

/// Enters `BOOT SEQUENCE ID`; whether it was that.
pub(super) fn record<'a>(ledger: &mut Ledger, words: &mut impl Iterator<Item = &'a str>) -> bool {
    let (Some(boot), Some(sequence), Some(name)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let (Ok(sequence), Some(id)) = (sequence.parse(), id(name)) else { return false };
    ledger.recorded(boot, sequence, id);
    true
}
