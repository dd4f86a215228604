//! The rig: an open-loop client that counts every single request while versions change under it. It is what "zero failed requests" means.
//!
//! Requests begin at a constant rate whatever the answers do. It never retries, counts an unannounced end of an idle kept-alive
//! connection, and judges every answer: its status, its version (nobody may see an old one after a new one), and for a POST whether the
//! app recorded it exactly once. It must know nothing of Teal: it sees what a user's browser sees.
//!
//! What it asks of the app under test: `GET /` and `POST /record` (the body is the id) answer with `x-version`; `/events` is a stream of
//! server-sent events that says `recorded BOOT SEQUENCE ID` for each id recorded since the process (BOOT) began, and something every few
//! seconds; `/ws` is a WebSocket that answers each text with itself, the version before it.

pub(crate) mod command;
mod keepalive;
mod ledger;
mod load;
mod report;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod websocket;

pub(crate) use ledger::Failure;
pub(crate) use report::Report;
pub(crate) use tls::Secure;

use crate::error::{Error, Result};
use ledger::Ledger;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What to load, and how much.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where to connect.
    pub(crate) target: SocketAddr,
    /// TLS: half of the requests go there, one part on connections of their own, the other over HTTP/2.
    pub(crate) secure: Option<Secure>,
    /// The `Host` to ask for.
    pub(crate) host: String,
    /// Requests per second.
    pub(crate) rate: u32,
    /// Percent of requests that are POSTs.
    pub(crate) posts: u32,
    /// WebSockets that are held open.
    pub(crate) websockets: usize,
    /// Streams of server-sent events that are held open; at least one, or POSTs cannot be audited.
    pub(crate) streams: usize,
    /// Streams to a version that is no longer current stay until the server ends them, instead of leaving after some seconds as people do.
    pub(crate) hold: bool,
}

/// What every task of a run shares.
struct Shared {
    options: Options,
    began: Instant,
    ledger: Mutex<Ledger>,
    /// Nothing new began since `halt`, and all that was under way has ended.
    rested: tokio::sync::watch::Sender<bool>,
    stopping: AtomicBool,
    stop: tokio::sync::watch::Sender<bool>,
}

/// How far a run has been told to come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// It goes on.
    Not,
    /// No more arrivals; the app may still tell what it recorded.
    Halt,
    /// The report is wanted.
    Close,
}

impl Shared {
    fn new(options: Options) -> Self {
        let ledger = Mutex::new(Ledger::new(jiff::Timestamp::now()));
        let (rested, stop) = (tokio::sync::watch::Sender::new(false), tokio::sync::watch::Sender::new(false));
        Self { options, began: Instant::now(), ledger, rested, stopping: AtomicBool::new(false), stop }
    }

    /// Microseconds since the run began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Resolves when the run ends.
    async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        let _ = stop.wait_for(|stopped| *stopped).await;
    }
}

/// A run under way.
pub(crate) struct Rig {
    shared: Arc<Shared>,
    end: tokio::sync::watch::Sender<End>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// How a run stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Standing {
    /// Requests that have their answer or failed.
    pub(crate) requests: u64,
    /// Everything that went wrong.
    pub(crate) failed: u64,
    /// The version that answers.
    pub(crate) version: Option<String>,
    /// When that version was first seen, in milliseconds since the run began.
    pub(crate) since_ms: f64,
    /// Acknowledged POSTs that the app has not told of yet.
    pub(crate) untold: u64,
}

impl Rig {
    /// Begins a run on a thread of its own.
    pub(crate) fn start(options: Options) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|e| Error::because("the load client cannot start", e))?;
        let shared = Arc::new(Shared::new(options));
        let end = tokio::sync::watch::Sender::new(End::Not);
        let (mine, over) = (Arc::clone(&shared), end.subscribe());
        let thread = std::thread::Builder::new().name("rig".into()).spawn(move || {
            runtime.block_on(load::run(mine, over));
            runtime.shutdown_timeout(Duration::from_secs(1));
            Ok(())
        });
        let thread = thread.map_err(|e| Error::because("the load client cannot start", e))?;
        Ok(Self { shared, end, thread: Some(thread) })
    }

    /// How it stands now.
    pub(crate) fn standing(&self) -> Standing {
        self.shared.ledger().standing()
    }

    /// Milliseconds since the run began.
    pub(crate) fn elapsed_ms(&self) -> f64 {
        self.shared.now() as f64 / 1000.0
    }

    /// Announces that production is about to go back to a version that was seen before. A return without this is a violation.
    pub(crate) fn expect_back(&self) {
        let now = self.shared.now();
        self.shared.ledger().expect_back(now);
    }

    /// Says which version is current after all: withdraws what [`Rig::expect_back`] announced, if production has not gone back.
    pub(crate) fn stays(&self, version: &str) {
        self.shared.ledger().stays(version);
    }

    /// Begins nothing new, and waits until what is under way has its answer: from here on the app records nothing more.
    pub(crate) fn halt(&self) {
        self.end.send_replace(End::Halt);
        let mut rested = self.shared.rested.subscribe();
        while !*rested.borrow_and_update() && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the app recorded, told by somebody who reads it elsewhere than in the app's event streams: `BOOT SEQUENCE ID`.
    pub(crate) fn recorded(&self, words: &str) -> bool {
        stream::record(&mut self.shared.ledger(), &mut words.split_whitespace())
    }

    /// Ends the run: nothing new begins, what is under way has its answer, POSTs are audited, then the report is made.
    pub(crate) fn stop(mut self) -> Report {
        self.finish();
        report::make(&self.shared.ledger(), &self.shared.options)
    }

    fn finish(&mut self) {
        self.end.send_replace(End::Close);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !matches!(ended, Ok(Ok(()))) {
                let now = self.shared.now();
                self.shared.ledger().fail(
                    now,
                    ledger::Lane::Rig,
                    "the load client itself broke",
                    String::new(),
                );
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.finish();
    }
}
