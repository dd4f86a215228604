//! How a router is started: addresses, places and limits. Plain values; reading files or variables is the caller's business.

use crate::access::AccessLog;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Everything that a router is told when it starts.
#[derive(Debug)]
pub struct Options {
    /// Addresses for plain HTTP; port 0 takes a free one. Ignored by a worker that inherits its sockets.
    pub http: Vec<SocketAddr>,
    /// Addresses for TLS (HTTP/1.1 and HTTP/2); none is none.
    pub https: Vec<SocketAddr>,
    /// The control socket, made with mode 0600.
    pub control: PathBuf,
    /// The directory of the saved table; made if missing, used by one router at a time.
    pub state: PathBuf,
    /// Worker threads; 0 is as many as there are cores.
    pub workers: usize,
    /// Who is told the bound addresses once requests and the control socket are served.
    pub ready: Ready,
    /// Take the listening sockets from the supervisor (see [`crate::supervise`]) instead of binding `http` and `https`.
    pub inherited: bool,
    /// Proxies in front of this router: only their `X-Forwarded-*` and `Forwarded` headers are kept and added to.
    pub trusted: Vec<IpAddr>,
    /// Connections from the trusted proxies begin with a header of the PROXY protocol (version 1 or 2), and none are served without it. From
    /// others no header is read at all.
    pub proxy_protocol: bool,
    /// Time-outs and sizes.
    pub limits: Limits,
    /// The log of requests; off unless told otherwise.
    pub access_log: AccessLog,
}

impl Options {
    /// Options with the given places, port 0 on loopback, and the usual limits.
    #[must_use]
    pub fn new(control: PathBuf, state: PathBuf) -> Self {
        Self {
            http: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            https: Vec::new(),
            control,
            state,
            workers: 0,
            ready: Ready::Nobody,
            inherited: false,
            trusted: Vec::new(),
            proxy_protocol: false,
            limits: Limits::default(),
            access_log: AccessLog::default(),
        }
    }

    /// How many worker threads to start; at least one.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            some => some,
        }
    }
}

/// What is called with the bound addresses.
pub type Announce = Box<dyn FnOnce(&[SocketAddr]) + Send>;

/// Who is told that the router serves.
#[derive(Default)]
pub enum Ready {
    /// Nobody.
    #[default]
    Nobody,
    /// This file gets one bound address per line, those for TLS after `https `; it appears whole or not at all.
    File(PathBuf),
    /// This is called with the bound addresses for plain HTTP.
    Call(Announce),
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

/// Time-outs and sizes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A client's connection may be silent for this long between requests or inside a request's head.
    pub idle: Duration,
    /// How long a proxy may take to say for whom it speaks (see [`Options::proxy_protocol`]).
    pub announce: Duration,
    /// From a head's first byte to its last.
    pub head: Duration,
    /// A client may let a body stand still for this long, in either direction.
    pub stalled: Duration,
    /// What a client must send of a body per second, on average from its tenth second on; 0 is no minimum.
    pub body_rate: u64,
    /// What a client must take of an answer per second, on average over each `stalled` in which something waited for it all the time; 0 is no
    /// minimum. What the app has not sent yet is not waited for. WebSockets are judged in the same way, other streams are not.
    pub answer_rate: u64,
    /// One attempt to connect to an instance.
    pub connect: Duration,
    /// From the request's head being sent to the response's head; then the client gets a 504. A response that has an end may not stand
    /// still for longer, either.
    pub answer: Duration,
    /// A pooled connection to an instance that announced no time of its own is closed after this.
    pub pooled: Duration,
    /// When told to stop: how long requests in flight may take.
    pub drain: Duration,
    /// After an upgrade: how long the old worker may keep the clients that it has; those that are left then are treated as by a stop.
    pub retirement: Duration,
    /// A request's first line, in bytes.
    pub line_bytes: usize,
    /// A request's head, in bytes; at most 64 KiB count.
    pub head_bytes: usize,
    /// A request's header lines; at most 256 count.
    pub header_lines: usize,
    /// Clients' connections at a time, upgraded ones among them, over all workers; more wait in the listening socket's queue.
    pub connections: usize,
    /// The same for one client's address (IPv6: 64 bits of it), trusted proxies excepted; more are closed at once. 0 is no limit.
    pub connections_per_client: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(75),
            announce: Duration::from_secs(5),
            head: Duration::from_secs(30),
            stalled: Duration::from_secs(300),
            body_rate: 0,
            answer_rate: 240,
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(600),
            pooled: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            retirement: Duration::from_secs(3600),
            line_bytes: 16 * 1024,
            head_bytes: 64 * 1024,
            header_lines: 128,
            connections: 20_000,
            connections_per_client: 0,
        }
    }
}
