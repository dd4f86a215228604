//! A running router: workers, the control socket, and the way they start and stop.
//!
//! Start: state, sockets, workers with the saved table, control, ready. Stop: accept nobody, finish what is in flight, cut what has no end, go.

use crate::{
    control::{self, Keeper},
    error::Error,
    listeners::{self, Sockets},
    options::{Limits, Options, Ready},
    state::Saved,
    table::Directory,
    tls::{self, Certificates},
    worker::{self, Order, Plan},
};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt as _,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::LocalSet,
};

/// While draining: how often the counts are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A router that serves until it is stopped.
#[derive(Debug)]
pub struct Router {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    directory: Arc<Directory>,
    certificates: Arc<Certificates>,
    workers: Vec<worker::Handle>,
    control: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    limits: Limits,
}

impl Router {
    /// Starts a router; it serves the saved table when this returns.
    ///
    /// # Errors
    /// If a socket, the state directory or a thread cannot be had.
    pub fn start(options: Options) -> Result<Self, Error> {
        let sockets = if options.inherited {
            listeners::inherited().and_then(|channel| Sockets::take(&channel)).map_err(Error::Inherit)?
        } else {
            Sockets::bind(&options.http, &options.https)?
        };
        Self::serve(options, sockets)
    }

    fn serve(options: Options, sockets: Sockets) -> Result<Self, Error> {
        let (http, https) = (listeners::addresses(&sockets.http)?, listeners::addresses(&sockets.https)?);
        let saved = Saved::open(&options.state)?;
        let table = saved.load()?;
        let directory = Arc::new(Directory::new());
        directory.replace(&table);
        let certificates = Arc::new(Certificates::default());
        certificates.replace(&saved.certificates()?);
        tracing::info!(
            generation = table.generation,
            apps = table.apps.len(),
            ?http,
            ?https,
            "the router serves"
        );
        let limits = options.limits.clone();
        let mut router =
            Self { http, https, directory, certificates, workers: Vec::new(), control: None, limits };
        // If something does not start from here on, dropping the router ends what has started.
        router.start_workers(&options, &sockets)?;
        let keeper = Keeper {
            saved,
            table,
            directory: Arc::clone(&router.directory),
            certificates: Arc::clone(&router.certificates),
            workers: router.workers.iter().map(|worker| worker.orders.clone()).collect(),
            http: router.http.clone(),
            https: router.https.clone(),
        };
        router.control = Some(start_control(&options.control, keeper)?);
        announce(options.ready, &router.http, &router.https)?;
        Ok(router)
    }

    fn start_workers(&mut self, options: &Options, sockets: &Sockets) -> Result<(), Error> {
        let count = options.worker_count();
        let plan = Plan {
            directory: Arc::clone(&self.directory),
            certificates: Arc::clone(&self.certificates),
            tls: tls::config(Arc::clone(&self.certificates))?,
            limits: options.limits.clone(),
            trusted: options.trusted.clone(),
            workers: count,
        };
        for number in 0..count {
            let own =
                sockets.try_clone().map_err(|source| Error::Start { part: "a listening socket", source })?;
            self.workers.push(worker::start(plan.clone(), own, number)?);
        }
        Ok(())
    }

    /// Where it listens for HTTP.
    #[must_use]
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where it listens for TLS.
    #[must_use]
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Stops: accepts nobody, lets requests in flight end until the drain deadline, closes what has no end, and returns when all is gone.
    pub fn stop(mut self) {
        self.end(self.limits.drain);
    }

    /// Waits until a thread has ended that should not have.
    async fn broken(&self) {
        let mut ends: FuturesUnordered<_> =
            self.workers.iter().map(|worker| worker.orders.closed()).collect();
        tokio::select! {
            Some(()) = ends.next() => (),
            // The control thread has the other end for as long as it serves.
            () = async {
                match &self.control {
                    Some((stop, _)) => stop.closed().await,
                    None => std::future::pending().await,
                }
            } => (),
        }
    }

    fn tell(&self, order: fn() -> Order) {
        for worker in &self.workers {
            // A worker that is gone needs no order.
            let _ = worker.orders.try_send(order());
        }
    }

    fn end(&mut self, drain: Duration) {
        self.tell(|| Order::Rest);
        let deadline = Instant::now() + drain;
        while self.directory.traffic.is_busy() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        self.directory.traffic.cut_all();
        self.tell(|| Order::End);
        for worker in self.workers.drain(..) {
            if worker.thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
        if let Some((stop, thread)) = self.control.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

fn start_control(path: &Path, keeper: Keeper) -> Result<(mpsc::Sender<()>, JoinHandle<()>), Error> {
    let failed = |part| move |source| Error::Start { part, source };
    let listener = control::bind(path)?;
    let runtime = runtime()?;
    let (stop, mut stopped) = mpsc::channel::<()>(1);
    let listener = {
        let _context = runtime.enter();
        tokio::net::UnixListener::from_std(listener).map_err(failed("the control socket"))?
    };
    let body = move || {
        LocalSet::new().block_on(&runtime, async {
            tokio::select! {
                () = control::serve(listener, keeper) => (),
                _ = stopped.recv() => (),
            }
        });
    };
    let thread = Builder::new().name("control".into()).spawn(body).map_err(failed("the control thread"))?;
    Ok((stop, thread))
}

pub(crate) fn runtime() -> Result<Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| Error::Start { part: "a runtime", source })
}

fn announce(ready: Ready, http: &[SocketAddr], https: &[SocketAddr]) -> Result<(), Error> {
    match ready {
        Ready::Nobody => (),
        Ready::Call(call) => call(http),
        Ready::File(path) => {
            let failed = |source| Error::State {
                path: path.clone(),
                doing: "the addresses cannot be written",
                source,
            };
            let new = path.with_extension("new");
            let plain = http.iter().map(|address| format!("{address}\n"));
            let lines: String =
                plain.chain(https.iter().map(|address| format!("https {address}\n"))).collect();
            fs::write(&new, lines).and_then(|()| fs::rename(&new, &path)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Runs a router until SIGTERM or SIGINT, or, for a worker, until its supervisor is gone.
///
/// # Errors
/// If it cannot start, or if one of its threads ends by itself.
pub fn run(mut options: Options) -> Result<(), Error> {
    raise_open_files(&mut options.limits);
    let runtime = runtime()?;
    let signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    let channel = options.inherited.then(listeners::inherited).transpose().map_err(Error::Inherit)?;
    let router = Router::start(options)?;
    let ended = runtime.block_on(async {
        tokio::select! {
            why = signals.next() => tracing::info!(why, "the router stops"),
            () = orphaned(channel) => tracing::warn!("the supervisor is gone: the router stops"),
            () = router.broken() => return Err(Error::Broken),
        }
        Ok(())
    });
    router.stop();
    ended
}

/// The signals that stop a process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals do not kill.
    pub(crate) fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|source| Error::Start { part: "a signal handler", source });
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(crate) async fn next(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for the end of the supervisor's channel; for ever without one.
async fn orphaned(channel: Option<UnixStream>) {
    let Some(channel) = channel else { return std::future::pending().await };
    let stream = channel.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(channel));
    match stream {
        Ok(mut stream) => {
            let _ = stream.read(&mut [0]).await;
        }
        Err(error) => {
            tracing::warn!(%error, "the supervisor's channel cannot be watched");
            std::future::pending().await
        }
    }
}

/// As many open files as allowed; clients get less than half, because each may need a connection to an instance.
fn raise_open_files(limits: &mut Limits) {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let share = usize::try_from(soft.saturating_sub(64) / 2).unwrap_or(usize::MAX).max(64);
    limits.connections = limits.connections.min(share);
}
