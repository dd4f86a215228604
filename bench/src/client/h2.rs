//! HTTP/2: four requests at a time on each connection.

use super::{Aim, Tally, Watched, dial, http1};
use crate::monotony::HEADER;
use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Instant;

/// Requests at a time.
const STREAMS: usize = 4;

/// One connection.
pub(super) async fn run(aim: &Aim, number: usize, tally: &mut Tally) -> Result<()> {
    let host = aim.host(number);
    let stream = aim.trust.shake(dial(aim).await?, host.clone(), true).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move { connection.await.is_ok() });
    let watched = aim.watch();
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| one_after_another(sender.clone(), aim.clone(), host.clone(), watched.clone()))
        .map(tokio::task::spawn_local)
        .collect();
    for stream in streams {
        tally.add(stream.await??);
    }
    Ok(())
}

type Sender = http2::SendRequest<Empty<Bytes>>;

async fn one_after_another(mut sender: Sender, aim: Aim, host: String, watched: Watched) -> Result<Tally> {
    let mut tally = Tally::default();
    while !aim.is_over() {
        let since = Instant::now();
        sender.ready().await?;
        let floor = watched.ask();
        let response = sender.send_request(request(&host)?).await?;
        ensure!(response.status() == 200, "{}", response.status());
        let version = response.headers().get(HEADER).cloned();
        response.into_body().collect().await?;
        tally.note(since);
        watched
            .answered(floor, || Ok(version.context("an answer without a version")?.to_str()?.parse()?))?;
    }
    Ok(tally)
}

/// The same lines as by HTTP/1.1.
fn request(host: &str) -> Result<Request<Empty<Bytes>>> {
    let text = http1::request(host, false);
    let lines = std::str::from_utf8(&text)?.lines().skip(2).filter_map(|line| line.split_once(": "));
    let builder = Request::builder().uri(format!("https://{host}/"));
    let builder = lines.fold(builder, |builder, (name, value)| builder.header(name, value));
    Ok(builder.body(Empty::new())?)
}
