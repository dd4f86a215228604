//! The server's end of the control socket: keeps the table that the router ought to use, and says so until it is acknowledged.
//!
//! It must never invent a route: what it is given was computed from rows. A router that restarted, or never had our table, gets the whole one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use teal_core::{
    certificate::{Certificate, Proof},
    control::{self, PortTrouble, Reply, Request, Traffic},
    id::{AppId, EnvironmentId},
    metrics::{self, Metrics},
    route::{AppRoute, Table},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::Mutex,
    time::timeout,
};

/// What a router can do that takes certificates.
const CERTIFICATES: &str = "certificates";

/// How long one exchange may take: a table's fsync on a busy disk, with room.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the router did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers on the socket.
    #[error("the router does not answer on {path}: start it with `teal router` ({why})")]
    Unreachable {
        /// The control socket.
        path: String,
        /// What the system said.
        why: String,
    },
    /// It said no.
    #[error("the router refuses: {0}")]
    Refused(String),
    /// It said something else than what was asked.
    #[error("the router's answer does not fit the question")]
    Confused,
}

/// What the router says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterFacts {
    /// Where it listens for plain HTTP.
    pub http: Vec<std::net::SocketAddr>,
    /// Where it listens for TLS.
    pub https: Vec<std::net::SocketAddr>,
    /// Its process.
    pub pid: u32,
}

/// The link. One exchange at a time.
pub struct RouterLink {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    wanted: Table,
    /// The certificates and proofs that it ought to have, once somebody said so.
    certificates: Option<Request>,
    connection: Option<Connection>,
}

struct Connection {
    stream: UnixStream,
    generation: u64,
    facts: RouterFacts,
    takes_certificates: bool,
    counts: bool,
}

impl RouterLink {
    /// A link to the router behind this socket, which ought to use these routes. Connects when first needed.
    #[must_use]
    pub fn new(path: PathBuf, apps: BTreeMap<AppId, AppRoute>) -> Self {
        let wanted = Table { generation: 0, apps };
        Self { path, state: Mutex::new(State { wanted, certificates: None, connection: None }) }
    }

    /// Sets (or removes) one app's route; `Ok` when it is durable and every worker uses it.
    ///
    /// # Errors
    /// If the router cannot be reached or refuses. What is wanted is remembered all the same.
    pub async fn set(&self, app: &AppId, route: Option<AppRoute>) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        match &route {
            Some(route) => state.wanted.apps.insert(app.clone(), route.clone()),
            None => state.wanted.apps.remove(app),
        };
        let fresh = state.connection.is_none();
        let connection = state.connect(&self.path).await?;
        if fresh {
            return Ok(());
        }
        let change = Request::Change {
            base_generation: connection.generation,
            generation: connection.generation + 1,
            apps: BTreeMap::from([(app.clone(), route)]),
        };
        match exchange(&mut state.connection, &change).await {
            // The router may have restarted since it was last asked: a new connection brings the whole table, with this route.
            Err(Error::Unreachable { .. }) => state.connect(&self.path).await.map(drop),
            Err(error) => Err(error),
            Ok(Reply::Acknowledged { generation }) => note(&mut state.connection, generation),
            Ok(Reply::NeedTable { generation }) => {
                note(&mut state.connection, generation)?;
                replace(&state.wanted, &mut state.connection).await
            }
            Ok(other) => unexpected(&mut state.connection, other),
        }
    }

    /// Sets all certificates and proofs; `Ok` when they are durable and every worker uses them.
    ///
    /// # Errors
    /// If the router cannot be reached, or takes none. What is wanted is remembered all the same, and said on every new connection.
    pub async fn certify(&self, certificates: Vec<Certificate>, proofs: Vec<Proof>) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let request = Request::Certificates { certificates, proofs };
        state.certificates = Some(request.clone());
        if state.connection.as_ref().is_some_and(|connection| !connection.takes_certificates) {
            // It may have given its place to one that can more, which a silent connection does not tell.
            drop(hello(&mut state.connection).await);
        }
        state.connect(&self.path).await?;
        match give(&request, &mut state.connection).await {
            // The router may have restarted since it was last asked.
            Err(Error::Unreachable { .. }) => {
                state.connect(&self.path).await?;
                give(&request, &mut state.connection).await
            }
            given => given,
        }
    }

    /// What is in flight, by environment.
    ///
    /// # Errors
    /// If the router cannot be reached.
    pub async fn traffic(&self) -> Result<BTreeMap<EnvironmentId, Traffic>, Error> {
        match self.ask(&Request::Traffic).await? {
            Reply::Traffic { environments, .. } => Ok(environments),
            _ => Err(Error::Confused),
        }
    }

    /// Everything that the router counts, and the generation of its table.
    ///
    /// # Errors
    /// If the router cannot be reached, or is one that does not tell.
    pub async fn metrics(&self) -> Result<(Metrics, u64), Error> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        if !state.connect(&self.path).await?.counts {
            // It may have given its place to one that counts, which a silent connection does not tell.
            drop(hello(&mut state.connection).await);
            if !state.connect(&self.path).await?.counts {
                return Err(Error::Refused("it does not tell what it counts: upgrade it".into()));
            }
        }
        let reply = match exchange(&mut state.connection, &Request::Metrics).await {
            // As in `ask`: the router may have restarted, and asking once more is harmless.
            Err(Error::Unreachable { .. }) if state.connect(&self.path).await?.counts => {
                exchange(&mut state.connection, &Request::Metrics).await?
            }
            reply => reply?,
        };
        let generation = state.connection.as_ref().map_or(0, |connection| connection.generation);
        match reply {
            Reply::Metrics { metrics } => Ok((*metrics, generation)),
            other => unexpected(&mut state.connection, other).and(Err(Error::Confused)),
        }
    }

    /// TCP ports that the router cannot open.
    ///
    /// # Errors
    /// If the router cannot be reached.
    pub async fn troubles(&self) -> Result<Vec<PortTrouble>, Error> {
        match self.ask(&Request::Traffic).await? {
            Reply::Traffic { troubles, .. } => Ok(troubles),
            _ => Err(Error::Confused),
        }
    }

    /// Closes what is left of an environment's connections, spread over a span.
    ///
    /// # Errors
    /// If the router cannot be reached or refuses.
    pub async fn cut(&self, environment: EnvironmentId, spread: Duration) -> Result<(), Error> {
        let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        match self.ask(&Request::Cut { environment, spread_ms }).await? {
            Reply::Acknowledged { .. } => Ok(()),
            Reply::Refused { reason } => Err(Error::Refused(reason)),
            _ => Err(Error::Confused),
        }
    }

    /// Who answers there.
    ///
    /// # Errors
    /// If nobody does.
    pub async fn facts(&self) -> Result<RouterFacts, Error> {
        Ok(self.state.lock().await.connect(&self.path).await?.facts.clone())
    }

    async fn ask(&self, request: &Request) -> Result<Reply, Error> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        state.connect(&self.path).await?;
        match exchange(&mut state.connection, request).await {
            // The router may have restarted since the last question; asking once more on a new connection is harmless.
            Err(Error::Unreachable { .. }) => {
                state.connect(&self.path).await?;
                exchange(&mut state.connection, request).await
            }
            answer => answer,
        }
    }
}

impl State {
    /// The connection; a new one is greeted and given the whole table first, then the certificates.
    async fn connect(&mut self, path: &Path) -> Result<&mut Connection, Error> {
        if self.connection.is_none() {
            greet(path, &mut self.connection).await?;
            replace(&self.wanted, &mut self.connection).await?;
            if let Some(request) = &self.certificates {
                match give(request, &mut self.connection).await {
                    // Whoever sets certificates hears it too; routes must not suffer from it.
                    Err(Error::Refused(why)) => tracing::debug!(why, "the router takes no certificates"),
                    given => given?,
                }
            }
        }
        self.connection.as_mut().ok_or(Error::Confused)
    }
}

async fn greet(path: &Path, slot: &mut Option<Connection>) -> Result<(), Error> {
    let unreachable = |why: String| Error::Unreachable { path: path.display().to_string(), why };
    let stream = timeout(PATIENCE, UnixStream::connect(path)).await;
    let stream =
        stream.map_err(|_| unreachable("time-out".into()))?.map_err(|e| unreachable(e.to_string()))?;
    let facts = RouterFacts { http: Vec::new(), https: Vec::new(), pid: 0 };
    *slot = Some(Connection { stream, generation: 0, facts, takes_certificates: false, counts: false });
    hello(slot).await
}

async fn hello(slot: &mut Option<Connection>) -> Result<(), Error> {
    let hello = Request::Hello { version: control::VERSION, requires: Vec::new() };
    match exchange(slot, &hello).await? {
        Reply::Hello { generation, http, https, pid, capabilities, .. } => {
            let connection = slot.as_mut().ok_or(Error::Confused)?;
            (connection.generation, connection.facts) = (generation, RouterFacts { http, https, pid });
            let can = |capability: &str| capabilities.iter().any(|name| name == capability);
            (connection.takes_certificates, connection.counts) =
                (can(CERTIFICATES), can(metrics::CAPABILITY));
            Ok(())
        }
        other => unexpected(slot, other),
    }
}

/// Gives certificates and proofs to a router that takes them. A refusal leaves the connection as it is.
async fn give(request: &Request, slot: &mut Option<Connection>) -> Result<(), Error> {
    if !slot.as_ref().is_some_and(|connection| connection.takes_certificates) {
        return Err(Error::Refused("it does not serve TLS: upgrade it".into()));
    }
    match exchange(slot, request).await? {
        Reply::Acknowledged { .. } => Ok(()),
        Reply::Refused { reason } => Err(Error::Refused(reason)),
        other => unexpected(slot, other),
    }
}

async fn replace(wanted: &Table, slot: &mut Option<Connection>) -> Result<(), Error> {
    let generation = slot.as_ref().map_or(0, |c| c.generation) + 1;
    let table = Table { generation, apps: wanted.apps.clone() };
    match exchange(slot, &Request::Replace { table }).await? {
        Reply::Acknowledged { generation } => note(slot, generation),
        other => unexpected(slot, other),
    }
}

fn note(slot: &mut Option<Connection>, generation: u64) -> Result<(), Error> {
    slot.as_mut().ok_or(Error::Confused)?.generation = generation;
    Ok(())
}

fn unexpected(slot: &mut Option<Connection>, reply: Reply) -> Result<(), Error> {
    *slot = None;
    match reply {
        Reply::Refused { reason } => Err(Error::Refused(reason)),
        _ => Err(Error::Confused),
    }
}

/// One question and its answer; any trouble closes the connection, so that answers never get out of step.
async fn exchange(slot: &mut Option<Connection>, request: &Request) -> Result<Reply, Error> {
    let mut connection = slot.take().ok_or(Error::Confused)?;
    let lost = |why: String| Error::Unreachable { path: "its control socket".into(), why };
    let reply = timeout(PATIENCE, talk(&mut connection.stream, request)).await;
    let reply = reply.map_err(|_| lost("time-out".into()))?.map_err(|e| lost(e.to_string()))?;
    *slot = Some(connection);
    Ok(reply)
}

async fn talk(stream: &mut UnixStream, request: &Request) -> std::io::Result<Reply> {
    let mut frame = Vec::new();
    control::encode(request, &mut frame).map_err(std::io::Error::other)?;
    stream.write_all(&frame).await?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; control::frame_length(prefix).map_err(std::io::Error::other)?];
    stream.read_exact(&mut body).await?;
    control::decode(&body).map_err(std::io::Error::other)
}
