//! One worker: a thread with its own runtime, its own upstream connections, and a share of the listening sockets.
//!
//! Every worker reads the same compiled table, so there is no copy that could be stale. What a worker confirms is more: all its requests that chose
//! by the old table are counted, and its idle connections to withdrawn instances are closed.

use crate::{
    access::Log,
    announced,
    crowd::Crowd,
    error::Error,
    listeners::Sockets,
    metrics::Observer,
    options::Limits,
    pool::Pool,
    serve::{self, Entry, Origin},
    table::Directory,
    tls::Certificates,
};
use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    net::{IpAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::LocalSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often idle connections are looked over.
const SWEEP: Duration = Duration::from_millis(500);

/// When the system has no descriptor or memory left for a client: how long to wait for some.
const SHORT_OF_RESOURCES: Duration = Duration::from_millis(50);

/// What was cut may take this long to end before the thread goes.
const LAST_TASKS: Duration = Duration::from_secs(8);

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// The table changed: confirm.
    Settle(oneshot::Sender<()>),
    /// Accept on this TCP port of an app's, too.
    Open {
        /// The port.
        port: u16,
        /// One of its sockets.
        listener: TcpListener,
    },
    /// Accept nobody on this TCP port any more.
    Close {
        /// The port.
        port: u16,
    },
    /// Accept nobody any more, and ask each client to come back on another connection; those that are silent may stay so for as long as always. The
    /// thread ends by itself when nobody is left.
    Retire,
    /// Accept nobody any more, let go of clients that have nothing in flight.
    Rest,
    /// End; connections that are still there have a last moment.
    End,
}

/// What every worker is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The table.
    pub(crate) directory: Arc<Directory>,
    /// The certificates.
    pub(crate) certificates: Arc<Certificates>,
    /// How handshakes are made.
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// Time-outs and sizes.
    pub(crate) limits: Limits,
    /// Proxies in front of us.
    pub(crate) trusted: Vec<IpAddr>,
    /// They say first for whom they speak.
    pub(crate) proxy_protocol: bool,
    /// Clients' connections, over all workers.
    pub(crate) crowd: Arc<Crowd>,
    /// How many workers share the limits.
    pub(crate) workers: usize,
    /// The access log, if there is one.
    pub(crate) log: Option<Log>,
}

/// What the tasks of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The table.
    pub(crate) directory: Arc<Directory>,
    /// The certificates and proofs.
    pub(crate) certificates: Arc<Certificates>,
    /// How handshakes are made.
    pub(crate) tls: Arc<rustls::ServerConfig>,
    /// This worker's connections to instances.
    pub(crate) pool: Pool,
    /// Time-outs and sizes.
    pub(crate) limits: Limits,
    /// Proxies in front of us.
    pub(crate) trusted: Vec<IpAddr>,
    /// They say first for whom they speak.
    pub(crate) proxy_protocol: bool,
    /// Clients' connections, over all workers.
    pub(crate) crowd: Arc<Crowd>,
    /// Cancelled when the worker takes no new connections, and answers each request as its connection's last.
    pub(crate) leaving: CancellationToken,
    /// What it counts and logs with.
    pub(crate) observer: Rc<Observer>,
    /// Cancelled when the worker takes no new requests.
    pub(crate) stopping: CancellationToken,
    /// Both once more, for whoever looks at every request: a token's lock costs more than all that is behind it.
    leaves: Cell<bool>,
    rests: Cell<bool>,
    /// Connections and upgraded streams.
    pub(crate) tasks: TaskTracker,
}

impl Worker {
    /// Accepts nobody any more.
    fn leave(&self) {
        self.leaves.set(true);
        self.leaving.cancel();
        self.tasks.close();
    }

    /// And has no use for silent clients, either.
    fn rest(&self) {
        self.leave();
        self.rests.set(true);
        self.stopping.cancel();
    }

    /// Each answer is the last one on its connection.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaves.get()
    }

    /// It takes no new requests.
    pub(crate) fn is_resting(&self) -> bool {
        self.rests.get()
    }
}

/// The handle of a worker's thread.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Where it takes orders.
    pub(crate) orders: mpsc::Sender<Order>,
    /// Its thread.
    pub(crate) thread: JoinHandle<()>,
}

/// Starts one worker on its own handles of the listening sockets.
pub(crate) fn start(plan: Plan, sockets: Sockets, number: usize) -> Result<Handle, Error> {
    let failed = |part| move |source| Error::Start { part, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("a worker's runtime"))?;
    let (orders, received) = mpsc::channel(64);
    let name = format!("worker-{number}");
    let body = move || LocalSet::new().block_on(&runtime, run(plan, sockets, received, number));
    let thread = Builder::new().name(name).spawn(body).map_err(failed("a worker's thread"))?;
    Ok(Handle { orders, thread })
}

async fn run(plan: Plan, sockets: Sockets, mut orders: mpsc::Receiver<Order>, number: usize) {
    let limits = plan.limits;
    let edge = Arc::clone(&plan.directory.traffic.edge);
    let observer = Observer::new(number, edge, plan.trusted.clone(), plan.log);
    let worker = Rc::new(Worker {
        directory: plan.directory,
        certificates: plan.certificates,
        tls: plan.tls,
        pool: Pool::new(limits.connect, limits.pooled),
        trusted: plan.trusted,
        proxy_protocol: plan.proxy_protocol,
        crowd: plan.crowd,
        leaving: CancellationToken::new(),
        observer: Rc::new(observer),
        stopping: CancellationToken::new(),
        leaves: Cell::new(false),
        rests: Cell::new(false),
        tasks: TaskTracker::new(),
        limits,
    });
    let room = Arc::new(Semaphore::new((worker.limits.connections / plan.workers).max(1)));
    let open = |listener, entry, until: &CancellationToken| {
        let accepting = accept(Rc::clone(&worker), listener, entry, Arc::clone(&room), until.child_token());
        worker.tasks.spawn_local(accepting);
    };
    let plain = sockets.http.into_iter().map(|listener| (listener, Entry::Clear));
    for (listener, entry) in plain.chain(sockets.https.into_iter().map(|listener| (listener, Entry::Secure)))
    {
        open(listener, entry, &worker.leaving);
    }
    let mut ports: BTreeMap<u16, CancellationToken> = BTreeMap::new();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Settle(done)) => {
                    worker.pool.sweep();
                    // Nobody waits for it any more: then nobody needs it.
                    let _ = done.send(());
                }
                Some(Order::Open { port, listener }) => {
                    let until = ports.entry(port).or_insert_with(|| worker.leaving.child_token());
                    open(listener, Entry::Port(port), until);
                }
                Some(Order::Close { port }) => if let Some(until) = ports.remove(&port) {
                    until.cancel();
                },
                Some(Order::Retire) => worker.leave(),
                Some(Order::Rest) => worker.rest(),
                Some(Order::End) | None => break,
            },
            // Not before it was closed, that is, when nobody can come any more.
            () = worker.tasks.wait() => return,
            _ = sweep.tick() => {
                worker.pool.sweep();
                worker.observer.tick();
            }
        }
    }
    worker.rest();
    let _ = timeout(LAST_TASKS, worker.tasks.wait()).await;
}

async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    entry: Entry,
    room: Arc<Semaphore>,
    until: CancellationToken,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a worker cannot use its listening socket"),
    };
    let accepting = async {
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, address)) => {
                    let Some(origin) = Origin::new(&worker, address, entry, place) else { continue };
                    if announced::is_expected(&worker, address.ip()) {
                        let reading = announced::connection(Rc::clone(&worker), stream, origin);
                        // Boxed: a header's room is for those who have one.
                        worker.tasks.spawn_local(Box::pin(reading));
                    } else {
                        serve::begin(&worker, stream, origin);
                    }
                }
                Err(error) => recover(&error).await,
            }
        }
    };
    // An accepted connection is never dropped here: accepting yields only while it has none.
    until.run_until_cancelled(accepting).await;
}

async fn recover(error: &io::Error) {
    // The client went away before it was accepted: nothing is wrong here.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::warn!(%error, "a client cannot be accepted: raise the limit of open files if this goes on");
        tokio::time::sleep(SHORT_OF_RESOURCES).await;
    }
}
