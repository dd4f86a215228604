//! The control socket: takes tables from the server, makes them durable, has every worker confirm, and only then acknowledges.
//!
//! Whatever comes in is bounded and may be garbage. The newest connection that said hello is the server's; an older one is closed, so that a server that
//! was restarted never competes with its own past.

use crate::{
    error::Error,
    frame::{self, Broken},
    state::{Given, Saved},
    table::{self, Directory},
    tls::Certificates,
    worker::Order,
};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use teal_core::{
    control::{MAX_FRAME, Reply, Request, VERSION, decode},
    id::AppId,
    route::{AppRoute, Table},
    time::Time,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Mutex, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

/// What this router can do beyond the first version of the protocol.
const CAPABILITIES: [&str; 3] = ["certificates", "cut", "standby"];

/// A peer must say hello within this time.
const HELLO: Duration = Duration::from_secs(5);

/// A hello is no longer than this.
const MAX_HELLO: usize = 64 * 1024;

/// Connections at a time.
const MAX_PEERS: usize = 16;

/// How long all workers may take to confirm a table: less than the server waits, so that it hears why.
const CONFIRM: Duration = Duration::from_secs(5);

/// The table and what hangs on it: changed by one request at a time.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) saved: Saved,
    pub(crate) table: Table,
    pub(crate) directory: Arc<Directory>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) workers: Vec<mpsc::Sender<Order>>,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) https: Vec<SocketAddr>,
}

impl Keeper {
    async fn replace(&mut self, table: Table) -> Result<(), Error> {
        table.apps.iter().try_for_each(|(id, route)| table::check(id, route)).map_err(Error::Table)?;
        self.saved.save(&table)?;
        self.table = table;
        self.directory.replace(&self.table);
        self.settle().await
    }

    /// Every handshake looks them up anew, so every worker uses them at once.
    fn certify(&self, given: &Given) -> Result<(), Error> {
        self.saved.save_certificates(given)?;
        self.certificates.replace(given);
        Ok(())
    }

    async fn change(
        &mut self,
        generation: u64,
        apps: BTreeMap<AppId, Option<AppRoute>>,
    ) -> Result<(), Error> {
        if generation <= self.table.generation {
            let now = self.table.generation;
            return Err(Error::Table(format!("generation {generation} does not follow {now}")));
        }
        let routes = apps.iter().filter_map(|(id, route)| Some((id, route.as_ref()?)));
        for (id, route) in routes {
            table::check(id, route).map_err(Error::Table)?;
        }
        let before = std::mem::replace(&mut self.table.generation, generation);
        let ids: Vec<AppId> = apps.keys().cloned().collect();
        let old = self.put(apps);
        if let Err(error) = self.saved.save(&self.table) {
            self.put(old);
            self.table.generation = before;
            return Err(error);
        }
        self.directory.change(ids.iter().map(|id| (id, self.table.apps.get(id))));
        self.settle().await
    }

    /// Changes the value and says how to change it back.
    fn put(&mut self, apps: BTreeMap<AppId, Option<AppRoute>>) -> BTreeMap<AppId, Option<AppRoute>> {
        let mut swap = |(id, route): (AppId, Option<AppRoute>)| {
            let old = match route {
                Some(route) => self.table.apps.insert(id.clone(), route),
                None => self.table.apps.remove(&id),
            };
            (id, old)
        };
        apps.into_iter().map(&mut swap).collect()
    }

    /// Waits until every worker has confirmed.
    async fn settle(&self) -> Result<(), Error> {
        let all = async {
            let mut waiting = Vec::with_capacity(self.workers.len());
            for worker in &self.workers {
                let (done, confirmed) = oneshot::channel();
                worker.send(Order::Settle(done)).await.ok()?;
                waiting.push(confirmed);
            }
            for confirmed in waiting {
                confirmed.await.ok()?;
            }
            Some(())
        };
        let settled = timeout(CONFIRM, all).await.ok().flatten();
        settled.ok_or(Error::Worker { seconds: CONFIRM.as_secs() })
    }

    async fn reply(&mut self, request: Request) -> Reply {
        let done = match request {
            Request::Hello { version, requires } => return self.hello(version, &requires),
            Request::Traffic => {
                return Reply::Traffic {
                    at: now(),
                    environments: self.directory.traffic.report(Instant::now()),
                };
            }
            Request::Cut { environment, spread_ms } => {
                self.directory.traffic.cut(&environment, Duration::from_millis(spread_ms));
                Ok(())
            }
            Request::Certificates { certificates, proofs } => self.certify(&Given { certificates, proofs }),
            Request::Replace { table } => self.replace(table).await,
            Request::Change { base_generation, .. } if base_generation != self.table.generation => {
                return Reply::NeedTable { generation: self.table.generation };
            }
            Request::Change { generation, apps, .. } => self.change(generation, apps).await,
        };
        match done {
            Ok(()) => Reply::Acknowledged { generation: self.table.generation },
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a request of the server is refused"
                );
                Reply::Refused { reason: in_full(&error) }
            }
        }
    }

    fn hello(&self, version: u32, requires: &[String]) -> Reply {
        if version != VERSION {
            let reason =
                format!("this router speaks version {VERSION}, not {version}: upgrade the older one");
            return Reply::Refused { reason };
        }
        let unknown: Vec<&str> =
            requires.iter().map(String::as_str).filter(|name| !CAPABILITIES.contains(name)).collect();
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            return Reply::Refused { reason: format!("this router does not know: {names}. Upgrade it") };
        }
        Reply::Hello {
            version: VERSION,
            capabilities: CAPABILITIES.map(String::from).to_vec(),
            generation: self.table.generation,
            http: self.http.clone(),
            https: self.https.clone(),
            pid: std::process::id(),
        }
    }
}

/// The error with its causes, for a peer that sees only text.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Makes the control socket: under another name first, so that it is never there without its mode, and replaces one that is left over.
pub(crate) fn bind(path: &Path) -> Result<std::os::unix::net::UnixListener, Error> {
    let failed = |source| Error::Control { path: path.to_owned(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match fs::remove_file(new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => (),
    }
    let listener = std::os::unix::net::UnixListener::bind(new).map_err(failed)?;
    fs::set_permissions(new, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    fs::rename(new, path).map_err(failed)?;
    Ok(listener)
}

/// Serves the control socket for ever.
pub(crate) async fn serve(listener: UnixListener, keeper: Keeper) {
    let keeper = Rc::new(Mutex::new(keeper));
    let newest = Rc::new(watch::Sender::new(0_u64));
    let room = Arc::new(Semaphore::new(MAX_PEERS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (keeper, newest) = (Rc::clone(&keeper), Rc::clone(&newest));
                tokio::task::spawn_local(async move {
                    let ended = peer(stream, &keeper, &newest).await;
                    tracing::debug!(why = %ended, "a control connection ended");
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one peer until it goes, breaks the protocol, or a newer one comes.
async fn peer(mut stream: UnixStream, keeper: &Mutex<Keeper>, newest: &watch::Sender<u64>) -> Broken {
    let greeted = timeout(HELLO, greet(&mut stream, keeper)).await;
    match greeted {
        Err(_) => return Broken::Stream(std::io::ErrorKind::TimedOut.into()),
        Ok(Err(broken)) => return broken,
        Ok(Ok(())) => (),
    }
    newest.send_modify(|number| *number += 1);
    let mut newer = newest.subscribe();
    loop {
        let body = tokio::select! {
            body = frame::read(&mut stream, MAX_FRAME as usize) => body,
            _ = newer.changed() => return Broken::Closed,
        };
        let body = match body {
            Ok(body) => body,
            Err(broken) => return refuse(&mut stream, broken).await,
        };
        // Not to be interrupted from here on: what is decided is answered, unless the peer is gone.
        let reply = match decode::<Request>(&body) {
            Ok(request) => {
                let mut keeper = keeper.lock().await;
                // A newer server may have come while an older one's request waited.
                if newer.has_changed().unwrap_or(true) {
                    return Broken::Closed;
                }
                keeper.reply(request).await
            }
            Err(error) => Reply::Refused { reason: in_full(&error) },
        };
        if let Err(broken) = frame::write(&mut stream, &reply).await {
            return broken;
        }
    }
}

/// Says why before the connection ends, where the peer can still hear it.
async fn refuse(stream: &mut UnixStream, broken: Broken) -> Broken {
    if let Broken::Frame(error) = &broken {
        let _ = frame::write(stream, &Reply::Refused { reason: in_full(error) }).await;
    }
    broken
}

/// Waits for a hello that this router can accept; everything else is refused.
async fn greet(stream: &mut UnixStream, keeper: &Mutex<Keeper>) -> Result<(), Broken> {
    loop {
        let body = match frame::read(stream, MAX_HELLO).await {
            Ok(body) => body,
            Err(broken) => return Err(refuse(stream, broken).await),
        };
        let reply = match decode::<Request>(&body) {
            Ok(Request::Hello { version, requires }) => keeper.lock().await.hello(version, &requires),
            Ok(_) => Reply::Refused { reason: "say hello first".into() },
            Err(error) => Reply::Refused { reason: in_full(&error) },
        };
        frame::write(stream, &reply).await?;
        if matches!(reply, Reply::Hello { .. }) {
            return Ok(());
        }
    }
}
