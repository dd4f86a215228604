//! Connections: one for a single request, or kept and used in turn. A kept one that ends while it is idle, unannounced, is a failure.

use super::{
    Shared,
    ledger::Lane,
    request::{self, Asker, Job, Sender, TIME, Then},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::net::TcpStream;

/// The most kept connections: past it an arrival is an overrun, and the run is not valid.
const MAX_KEPT: usize = 512;

/// What the task that drives a connection needs to know to judge its end.
#[derive(Default)]
struct Use {
    busy: AtomicBool,
    finished: AtomicBool,
}

struct Kept {
    client: usize,
    sender: Sender,
    uses: Arc<Use>,
}

/// The kept connections, the longest idle one first: so each is used every few seconds, and none is ever idle for long.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<VecDeque<Kept>>,
    open: AtomicUsize,
}

impl Pool {
    /// Opens connections ahead, so that some are older than any switch.
    pub(super) async fn warm(&self, shared: &Arc<Shared>, count: usize) {
        for _ in 0..count {
            if let Some(kept) = self.open(shared).await {
                self.give(kept);
            }
        }
    }

    /// One request on a kept connection; opens one more if all are busy.
    pub(super) async fn ask(&self, shared: &Arc<Shared>, job: Job) {
        let kept = match self.take() {
            Some(kept) => Some(kept),
            None if self.open.load(Ordering::Relaxed) >= MAX_KEPT => {
                shared.ledger().overrun += 1;
                return;
            }
            None => self.open(shared).await,
        };
        // An attempt to connect that failed is entered already: it is the request's failure.
        let Some(mut kept) = kept else { return };
        let asker = Asker { client: kept.client, lane: Lane::Kept };
        if request::ask(shared, &mut kept.sender, asker, job).await == Then::Keep {
            self.give(kept);
        } else {
            kept.uses.finished.store(true, Ordering::Release);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Closes them all.
    pub(super) fn close(&self) {
        for kept in self.lock().drain(..) {
            kept.uses.finished.store(true, Ordering::Release);
        }
    }

    fn take(&self) -> Option<Kept> {
        let mut idle = self.lock();
        while let Some(kept) = idle.pop_front() {
            // Taken before it is looked at: an end from now on is this request's failure and not the idle connection's.
            kept.uses.busy.store(true, Ordering::Release);
            if !kept.sender.is_closed() {
                return Some(kept);
            }
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        None
    }

    fn give(&self, kept: Kept) {
        kept.uses.busy.store(false, Ordering::Release);
        self.lock().push_back(kept);
    }

    async fn open(&self, shared: &Arc<Shared>) -> Option<Kept> {
        let uses = Arc::new(Use { busy: AtomicBool::new(true), finished: AtomicBool::new(false) });
        match connect(shared, Some(Arc::clone(&uses))).await {
            Ok(sender) => {
                self.open.fetch_add(1, Ordering::Relaxed);
                Some(Kept { client: shared.ledger().client(), sender, uses })
            }
            Err(detail) => {
                let now = shared.now();
                shared.ledger().lost(now, None, Lane::Kept, "connect", detail);
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Kept>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request on a connection of its own.
pub(super) async fn fresh(shared: &Arc<Shared>, client: usize, job: Job) {
    match connect(shared, None).await {
        Ok(mut sender) => {
            request::ask(shared, &mut sender, Asker { client, lane: Lane::Fresh }, job).await;
        }
        Err(detail) => {
            let now = shared.now();
            shared.ledger().lost(now, None, Lane::Fresh, "connect", detail);
        }
    }
}

async fn connect(shared: &Arc<Shared>, uses: Option<Arc<Use>>) -> Result<Sender, String> {
    let connecting = tokio::time::timeout(TIME, TcpStream::connect(shared.options.target)).await;
    let stream = connecting.map_err(|_| "timed out".to_owned())?.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let (sender, connection) =
        http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(|e| request::describe(&e))?;
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let ended = connection.await;
        let Some(uses) = uses else { return };
        let expected = uses.busy.load(Ordering::Acquire) || uses.finished.load(Ordering::Acquire);
        if !expected && !shared.is_stopping() {
            let detail = ended.err().map_or_else(|| "closed".into(), |e| request::describe(&e));
            let now = shared.now();
            shared.ledger().fail(now, Lane::Kept, "idle connection ended", detail);
        }
    });
    Ok(Sender::H1(sender))
}
