//! One worker's connections to instances: kept for the next request, checked before they are used, closed when their instance leaves the table.
//!
//! A connection belongs to one peer (instance and address) for ever, so that a reused address never receives another app's traffic.

use crate::{table::Peer, wire::Wire};
use foldhash::fast::RandomState;
use rustix::net::sockopt;
use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// Idle connections per peer and worker; more are closed instead of kept.
const MAX_IDLE: usize = 256;

/// Then the kernel asks whether the peer is still there.
const SILENT: Duration = Duration::from_secs(3);
/// Between two such questions. A machine that stands still for a while (its memory is being written, its host is overloaded) is not dead.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// So many without an answer end the connection.
const ASK_TIMES: u32 = 6;

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its socket.
    pub(crate) wire: Wire,
    /// It has answered a request before: the peer may be closing it at this very moment.
    pub(crate) reused: bool,
    /// Its last answer was a large one: the next one is expected to be, too, and read in large pieces from the beginning.
    pub(crate) large: bool,
    /// How long the peer keeps it when idle, as far as we know.
    pub(crate) keep: Duration,
    peer: Arc<Peer>,
    /// When the peer last began to answer on it: what follows is not looked at, so it counts as idle rather too long than too short.
    pub(crate) used: Instant,
}

impl Connection {
    /// Nothing says that the peer would not take another request on it.
    fn is_fit(&self, certain: bool, now: Instant) -> bool {
        let silent = || if certain { self.wire.is_silent() } else { self.wire.seems_silent() };
        now.saturating_duration_since(self.used) < self.keep && silent()
    }

    /// Kept no longer, without asking the kernel.
    fn is_old(&self) -> bool {
        self.peer.is_withdrawn() || self.used.elapsed() >= self.keep
    }
}

/// Idle connections.
#[derive(Debug)]
pub(crate) struct Pool {
    /// By the peer's place in memory, which is its own as long as a connection holds it.
    idle: RefCell<HashMap<*const Peer, Vec<Connection>, RandomState>>,
    connect: Duration,
    keep: Duration,
}

impl Pool {
    /// An empty pool: connecting may take `connect`, idle connections are kept for `keep` unless the peer says more.
    pub(crate) fn new(connect: Duration, keep: Duration) -> Self {
        Self { idle: RefCell::default(), connect, keep }
    }

    /// An idle connection to the peer that is fit for use, the one used last first. `certain`: the kernel is asked, because the request could not
    /// be sent a second time.
    pub(crate) fn take(&self, peer: &Arc<Peer>, certain: bool, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&Arc::as_ptr(peer))?;
        while let Some(connection) = connections.pop() {
            if connection.is_fit(certain, now) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps the connection for the next request, if there may be one.
    pub(crate) fn put(&self, mut connection: Connection) {
        connection.reused = true;
        connection.wire.rest();
        if connection.peer.is_withdrawn() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(Arc::as_ptr(&connection.peer)).or_default();
        if connections.len() < MAX_IDLE {
            connections.push(connection);
        }
    }

    /// Closes what is old, closed by the peer, or whose peer left the table.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        for connections in idle.values_mut() {
            connections.retain(|connection| !connection.is_old() && connection.wire.is_silent());
        }
        idle.retain(|_, connections| !connections.is_empty());
    }

    /// A new connection to the peer.
    ///
    /// # Errors
    /// If the peer refuses, or does not answer in time (`TimedOut`). Nothing was sent then.
    pub(crate) async fn connect(&self, peer: &Arc<Peer>) -> io::Result<Connection> {
        let wire = self.dial(peer.address()).await?;
        let (peer, used) = (Arc::clone(peer), Instant::now());
        Ok(Connection { wire, reused: false, large: false, keep: self.keep, peer, used })
    }

    /// A connection for a stream that is not looked into, where the peer wants them; it is nobody's afterwards.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(crate) async fn stream(&self, peer: &Peer) -> io::Result<Wire> {
        self.dial(peer.streams()).await
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<Wire> {
        let stream = tokio::time::timeout(self.connect, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        ask_when_silent(&stream)?;
        Ok(Wire::new(stream))
    }
}

/// A machine that died cannot say so. Its host does, to whoever asks: what waits for an answer of it learns so within seconds.
fn ask_when_silent(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENT)?;
    sockopt::set_tcp_keepintvl(stream, ASK_AGAIN)?;
    Ok(sockopt::set_tcp_keepcnt(stream, ASK_TIMES)?)
}
