//! What is measured.

use crate::{
    client::{Clients, Kind},
    load::{Load, Outcome},
    peers::{Peer, domain},
};
use anyhow::Result;

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
}

/// Who makes the load.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// `wrk`.
    Wrk(Load),
    /// The bench itself.
    Own(Clients),
}

impl Work {
    /// Whether this program can be loaded with it. The upstream itself is asked one request at a time only: what a proxy adds to it is a proxy's share
    /// of the waiting.
    pub(crate) fn fits(&self, peer: &Peer) -> bool {
        match self {
            Self::Own(clients) => !peer.is_direct() && (!clients.are_secure() || peer.tls.is_some()),
            Self::Wrk(load) => !peer.is_direct() || load.connections == 1,
        }
    }

    /// Loads one program for so many seconds; the first host is that of this app.
    pub(crate) fn run(&self, peer: &Peer, app: usize, seconds: u64) -> Result<Outcome> {
        match self {
            Self::Wrk(load) => load.run(peer.address, &domain(app), seconds),
            Self::Own(clients) => clients.run(peer, app, seconds),
        }
    }
}

/// All rows of requests.
pub(crate) fn all() -> Vec<Row> {
    let row =
        |name, path, connections, close| Row { name, work: Work::Wrk(Load { path, connections, close }) };
    let own =
        |name, kind, connections| Row { name, work: Work::Own(Clients { kind, connections, hosts: 1 }) };
    vec![
        row("1 KiB keep-alive, 64 connections", "/", 64, false),
        row("1 KiB keep-alive, 1 connection", "/", 1, false),
        row("1 KiB, a new connection each, 64 at once", "/", 64, true),
        row("100 KiB keep-alive, 64 connections", "/100k", 64, false),
        own("TLS, 1 KiB keep-alive, 64 connections", Kind::Tls, 64),
        own("TLS, a new connection each, 16 at once", Kind::TlsNew, 16),
        own("HTTP/2, 1 KiB, 16 connections with 4 streams", Kind::H2, 16),
        own("WebSocket, echo of 1 KiB, 64 connections", Kind::WebSocket, 64),
    ]
}

/// Every app in turn: the whole table is used.
pub(crate) fn everywhere(apps: usize) -> Row {
    let clients = Clients { kind: Kind::Plain, connections: 64, hosts: apps };
    Row { name: "every app in turn, 1 KiB keep-alive, 64 connections", work: Work::Own(clients) }
}

/// A constant rate.
pub(crate) fn paced(rate: f64) -> Row {
    let clients = Clients { kind: Kind::Paced(rate), connections: 64, hosts: 1 };
    Row { name: "constant rate, 1 KiB keep-alive, 64 connections", work: Work::Own(clients) }
}
