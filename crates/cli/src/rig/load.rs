//! The arrivals: every request has its instant, and begins then whatever became of those before it. 25 in 100 come on connections of
//! their own (by TLS, if there is TLS), then 25 over HTTP/2, the rest on kept ones in clear text; as many as asked for are POSTs.

use super::{
    End, Shared,
    keepalive::{self, Pool},
    request::Job,
    stream,
    tls::{self, Streams},
    websocket,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// Clients that come on connections of their own.
const FRESH_CLIENTS: usize = 8;
/// How long answers may take to come once nothing new begins.
const REST: Duration = Duration::from_secs(15);
/// How long the app may take to tell what it recorded.
const AUDIT: Duration = Duration::from_secs(5);
/// Requests under way at most: past it an arrival is an overrun.
const MAX_UNDER_WAY: usize = 2_000;

/// Connections that outlive a request.
#[derive(Default)]
struct Pools {
    kept: Pool,
    shared: Streams,
}

/// The whole run, until `end` says so.
pub(super) async fn run(shared: Arc<Shared>, mut end: watch::Receiver<End>) {
    let pool = Arc::new(Pools::default());
    pool.kept.warm(&shared, (shared.options.rate as usize / 10).clamp(4, 32)).await;
    let mut streams = JoinSet::new();
    for number in 0..shared.options.streams {
        streams.spawn(stream::hold(Arc::clone(&shared), number));
    }
    for number in 0..shared.options.websockets {
        streams.spawn(websocket::hold(Arc::clone(&shared), number));
    }
    let mut requests = JoinSet::new();
    tokio::select! {
        () = arrivals(&shared, &pool, &mut requests) => {}
        _ = end.wait_for(|end| *end >= End::Halt) => {}
    }
    let rest = tokio::time::timeout(REST, async { while requests.join_next().await.is_some() {} }).await;
    if rest.is_err() {
        let now = shared.now();
        shared.ledger().fail(
            now,
            super::ledger::Lane::Rig,
            "requests never ended",
            format!("{} of them", requests.len()),
        );
    }
    shared.rested.send_replace(true);
    let _ = end.wait_for(|end| *end == End::Close).await;
    audit(&shared).await;
    shared.stopping.store(true, Ordering::Release);
    shared.stop.send_replace(true);
    pool.kept.close();
    let _ =
        tokio::time::timeout(Duration::from_secs(3), async { while streams.join_next().await.is_some() {} })
            .await;
}

async fn arrivals(shared: &Arc<Shared>, pool: &Arc<Pools>, requests: &mut JoinSet<()>) {
    let clients: Vec<usize> = (0..FRESH_CLIENTS).map(|_| shared.ledger().client()).collect();
    let interval = 1_000_000.0 / f64::from(shared.options.rate.max(1));
    let origin = shared.now();
    let mut number: u64 = 0;
    loop {
        let scheduled = origin + (number as f64 * interval) as u64;
        let now = shared.now();
        if scheduled > now {
            tokio::time::sleep(Duration::from_micros(scheduled - now)).await;
        }
        while requests.try_join_next().is_some() {}
        if requests.len() >= MAX_UNDER_WAY {
            shared.ledger().overrun += 1;
        } else {
            begin(shared, pool, requests, &clients, number, scheduled);
        }
        number += 1;
    }
}

fn begin(
    shared: &Arc<Shared>,
    pool: &Arc<Pools>,
    requests: &mut JoinSet<()>,
    clients: &[usize],
    number: u64,
    scheduled: u64,
) {
    // Strides of 7 and 13 keep both choices independent of each other and evenly spread.
    let is_post = (number * 7) % 100 < u64::from(shared.options.posts);
    let job = Job { scheduled, post: is_post.then_some(number) };
    let shared = Arc::clone(shared);
    let (pools, client) = (Arc::clone(pool), clients[number as usize % clients.len()]);
    match ((number * 13 + number / 100) % 4, shared.options.secure.clone()) {
        (3, None) => requests.spawn(async move { keepalive::fresh(&shared, client, job).await }),
        (3, Some(secure)) => requests.spawn(async move { tls::fresh(&shared, &secure, client, job).await }),
        (1, Some(secure)) => {
            requests.spawn(async move { pools.shared.ask(&shared, &secure, number / 4, job).await })
        }
        _ => requests.spawn(async move { pools.kept.ask(&shared, job).await }),
    };
}

/// Waits until the app has told of every acknowledged POST, or long enough.
async fn audit(shared: &Shared) {
    if shared.options.streams == 0 {
        return;
    }
    let began = shared.now();
    while !shared.ledger().is_audited() && shared.now() - began < AUDIT.as_micros() as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
