//! The bench's own clients, for what `wrk` cannot do: TLS by name, a handshake for each request, HTTP/2, WebSockets, many hosts, a constant rate.
//!
//! All of them share the upstream's core; what they cost themselves is in no figure of CPU.

mod h2;
mod http1;
mod paced;
mod trust;
mod websocket;

pub(crate) use trust::{NAMES, Trust};

use crate::{
    load::Outcome,
    monotony::{Floor, Monotony, Watch},
    peers::{Peer, domain},
};
use anyhow::{Context as _, Result};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::LocalSet,
};

/// How requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// HTTP/1.1 in clear text.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// The same with a whole handshake for each request: no session is resumed.
    TlsNew,
    /// HTTP/2 over TLS, four streams on each connection.
    H2,
    /// Echoes of 1 KiB over WebSockets; an echo counts as a request.
    WebSocket,
    /// HTTP/1.1 in clear text, so many requests a second, whether or not the ones before are answered.
    Paced(f64),
}

/// Clients.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) kind: Kind,
    /// Requests at a time.
    pub(crate) connections: usize,
    /// Hosts that are asked for in turn, from the first of the run on.
    pub(crate) hosts: usize,
}

/// Where the clients of one run go.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    address: SocketAddr,
    trust: Trust,
    /// The first host, and how many there are.
    first: usize,
    hosts: usize,
    until: Instant,
    /// Where answers say their version.
    monotony: Option<Monotony>,
}

impl Aim {
    /// What a new connection sees, where answers say their version.
    fn watch(&self) -> Watched {
        Watched(self.monotony.as_ref().map(Monotony::connection))
    }

    fn host(&self, turn: usize) -> String {
        domain(self.first + turn % self.hosts)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// A connection whose versions are watched, where answers say them.
#[derive(Debug, Clone)]
struct Watched(Option<Watch>);

impl Watched {
    /// A request begins.
    fn ask(&self) -> Option<Floor> {
        self.0.as_ref().map(Watch::ask)
    }

    /// An answer came; its version is looked for only where one is needed.
    fn answered(&self, floor: Option<Floor>, version: impl FnOnce() -> Result<u64>) -> Result<()> {
        if let (Some(watch), Some(floor)) = (&self.0, floor) {
            watch.answered(floor, version()?);
        }
        Ok(())
    }
}

/// Anything that bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// What one client saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    micros: Vec<f64>,
    errors: f64,
}

impl Tally {
    fn note(&mut self, since: Instant) {
        self.micros.push(since.elapsed().as_secs_f64() * 1e6);
    }

    fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.errors += other.errors;
    }

    fn outcome(mut self, seconds: f64) -> Outcome {
        self.micros.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (self.micros.len() as f64 * share) as usize;
            self.micros.get(index.min(self.micros.len().saturating_sub(1))).copied().unwrap_or(0.0)
        };
        Outcome {
            requests: self.micros.len() as f64,
            errors: self.errors,
            seconds,
            p50_us: at(0.5),
            p99_us: at(0.99),
        }
    }
}

impl Clients {
    /// Whether the clients come by TLS.
    pub(crate) fn are_secure(&self) -> bool {
        matches!(self.kind, Kind::Tls | Kind::TlsNew | Kind::H2)
    }

    /// Loads one program for so many seconds.
    pub(crate) fn run(&self, peer: &Peer, first: usize, seconds: u64) -> Result<Outcome> {
        self.watched(peer, first, seconds, None)
    }

    /// The same, where answers say their version, which must never go back.
    pub(crate) fn watched(
        &self,
        peer: &Peer,
        first: usize,
        seconds: u64,
        monotony: Option<Monotony>,
    ) -> Result<Outcome> {
        let address = if self.are_secure() { peer.tls.context("no TLS there")? } else { peer.address };
        let (begin, span) = (Instant::now(), Duration::from_secs(seconds));
        let trust = peer.trust.clone();
        let first = if self.hosts > 1 { 0 } else { first };
        let aim = Aim { address, trust, first, hosts: self.hosts, until: begin + span, monotony };
        let tally = match self.kind {
            Kind::Paced(rate) => paced::run(&aim, self.connections, rate)?,
            _ => self.closed_loop(&aim)?,
        };
        Ok(tally.outcome(begin.elapsed().as_secs_f64()))
    }

    fn closed_loop(&self, aim: &Aim) -> Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let clients: Vec<_> = (0..self.connections)
                .map(|number| tokio::task::spawn_local(client(self.kind, aim.clone(), number)))
                .collect();
            let mut all = Tally::default();
            for client in clients {
                all.add(client.await?);
            }
            Ok(all)
        })
    }
}

/// One client until the run is over; it begins anew behind an error.
async fn client(kind: Kind, aim: Aim, number: usize) -> Tally {
    let mut tally = Tally::default();
    while !aim.is_over() {
        let ended = match kind {
            Kind::Plain | Kind::Paced(_) => http1::plain(&aim, number, &mut tally).await,
            Kind::Tls => http1::tls(&aim, number, &mut tally, false).await,
            Kind::TlsNew => http1::tls(&aim, number, &mut tally, true).await,
            Kind::H2 => h2::run(&aim, number, &mut tally).await,
            Kind::WebSocket => websocket::run(&aim, number, &mut tally).await,
        };
        if ended.is_err() {
            tally.errors += 1.0;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    tally
}

async fn dial(aim: &Aim) -> Result<TcpStream> {
    let stream = TcpStream::connect(aim.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
