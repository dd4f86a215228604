//! A running router: workers, the control socket, and the way they start and stop.
//!
//! Start: state, sockets, workers with the saved table, control, ready. Stop: accept nobody, finish what is in flight, cut what has no end, go.

use crate::{
    access::Writer,
    control,
    crowd::Crowd,
    elder::Elder,
    error::Error,
    keeper::Keeper,
    listeners::{self, Sockets},
    options::{Limits, Options, Ready},
    pins::Key,
    place::Place,
    ports::{self, News, Ports},
    state::{self, Saved},
    table::Directory,
    tls::{self, Certificates},
    worker::{Order, Plan},
    workers::Workers,
};
use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

/// While draining: how often the counts are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Somebody at the control socket who wants the router upgraded, and waits for how it went.
pub(crate) type Ask = oneshot::Sender<Result<(), String>>;

/// A router that serves until it is stopped.
#[derive(Debug)]
pub struct Router {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    directory: Arc<Directory>,
    certificates: Arc<Certificates>,
    workers: Workers,
    control: Option<control::Handle>,
    asks: mpsc::Receiver<Ask>,
    news: mpsc::Receiver<News>,
    log: Option<Writer>,
    limits: Limits,
}

/// What a process watches.
pub(crate) struct Parts<'a> {
    pub(crate) workers: &'a Workers,
    pub(crate) control: Option<&'a control::Handle>,
    pub(crate) asks: &'a mut mpsc::Receiver<Ask>,
    /// TCP ports that the supervisor is to be told of.
    pub(crate) news: &'a mut mpsc::Receiver<News>,
}

impl Router {
    /// Starts a router on sockets of its own; it serves the saved table when this returns.
    ///
    /// # Errors
    /// If a socket, the state directory or a thread cannot be had.
    pub fn start(options: Options) -> Result<Self, Error> {
        let sockets = Sockets::bind(&options.http, &options.https, options.worker_count())?;
        Self::serve(options, sockets, None, false)
    }

    /// Does what can be done of a start while another router serves: reads what that one has saved.
    pub(crate) fn rehearse(options: &Options) -> Result<(), Error> {
        let (table, given) = state::read(&options.state)?;
        Directory::new(Key::new(&[])).replace(&table);
        let certificates = Arc::new(Certificates::default());
        certificates.replace(&given);
        tls::config(certificates).map(drop)
    }

    /// Starts a router on these sockets; `link` leads to the one that served before; `keeps`: a supervisor wants to know of TCP ports.
    pub(crate) fn serve(
        options: Options,
        sockets: Sockets,
        link: Option<UnixStream>,
        keeps: bool,
    ) -> Result<Self, Error> {
        let (http, https) = (listeners::addresses(&sockets.http)?, listeners::addresses(&sockets.https)?);
        let mut saved = Saved::open(&options.state)?;
        let table = saved.load()?;
        let directory = Arc::new(Directory::new(Key::new(&saved.secret()?)));
        directory.replace(&table);
        let certificates = Arc::new(Certificates::default());
        certificates.replace(&saved.certificates()?);
        let (generation, apps) = (table.generation, table.apps.len());
        tracing::info!(generation, apps, ?http, ?https, "the router serves");
        let limits = options.limits.clone();
        let (ask, asks) = mpsc::channel(1);
        let (tell, news) = ports::news();
        let (workers, control, log) = (Workers::default(), None, None);
        let mut router =
            Self { http, https, directory, certificates, workers, control, asks, news, log, limits };
        // If something does not start from here on, dropping the router ends what has started.
        let plan = router.plan(&options)?;
        router.workers.start(&plan, &sockets)?;
        // The log ends with its last writer.
        drop(plan);
        let keeper = Keeper {
            place: Place::new(saved, options.state),
            elder: Elder::default(),
            table,
            directory: Arc::clone(&router.directory),
            certificates: Arc::clone(&router.certificates),
            ports: Ports::new(&router.http, sockets.tcp, router.workers.orders(), keeps.then_some(tell)),
            workers: router.workers.orders(),
            http: router.http.clone(),
            https: router.https.clone(),
            ask,
        };
        router.control = Some(control::start(options.control, keeper, link)?);
        announce(options.ready, &router.http, &router.https)?;
        Ok(router)
    }

    fn plan(&mut self, options: &Options) -> Result<Plan, Error> {
        let edge = Arc::clone(&self.directory.traffic.edge);
        let (log, writer) = Writer::start(&options.access_log, edge)?.unzip();
        self.log = writer;
        Ok(Plan {
            directory: Arc::clone(&self.directory),
            certificates: Arc::clone(&self.certificates),
            tls: tls::config(Arc::clone(&self.certificates))?,
            limits: options.limits.clone(),
            trusted: options.trusted.clone(),
            proxy_protocol: options.proxy_protocol,
            crowd: Crowd::new(),
            workers: options.worker_count(),
            log,
        })
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

    pub(crate) fn parts(&mut self) -> Parts<'_> {
        Parts {
            workers: &self.workers,
            control: self.control.as_ref(),
            asks: &mut self.asks,
            news: &mut self.news,
        }
    }

    /// Gives table and control socket away; follows whoever is at the other end of `link`.
    pub(crate) fn give_way(&self, link: UnixStream) -> Result<(), String> {
        self.turn(|done| control::Turn::Yield(link, done))
    }

    /// Has them again.
    pub(crate) fn keep(&self) -> Result<(), String> {
        self.turn(control::Turn::Keep)
    }

    fn turn(&self, turn: impl FnOnce(control::Done) -> control::Turn) -> Result<(), String> {
        let control = self.control.as_ref().ok_or("it has no control socket")?;
        control.turn(turn)
    }

    /// Accepts nobody any more. Its threads end when nobody is left.
    pub(crate) fn retire(&self) {
        self.workers.tell(|| Order::Retire);
    }

    fn end(&mut self, drain: Duration) {
        self.workers.tell(|| Order::Rest);
        let deadline = Instant::now() + drain;
        while self.directory.traffic.is_busy() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        self.directory.traffic.cut_all();
        self.workers.tell(|| Order::End);
        self.workers.join();
        // Its thread ends with its handle.
        self.control = None;
        if let Some(log) = self.log.take() {
            log.end();
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
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
