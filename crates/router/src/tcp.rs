//! Streams that are an app's from their first byte on: by a TCP port of its own, or by the name in a TLS handshake that it makes itself.
//!
//! Nothing of them is read here, nothing is added, and nothing is sent twice: another instance is tried only as long as none has taken the connection.

use crate::{
    busy::Busy,
    forward::{AVOIDED, MAX_TRIED},
    metrics::{Own, Visit},
    serve::{Client, Origin},
    table::{App, Peer},
    traffic::Ticket,
    upgrade::{self, Tunnel},
    wire::Wire,
    worker::Worker,
};
use std::{io, rc::Rc, sync::Arc};
use tokio::net::TcpStream;

/// What says whose a stream is.
#[derive(Debug)]
pub(crate) enum Door {
    /// The port that it came to.
    Port(u16),
    /// The host that its handshake is for.
    Name(Box<str>),
}

impl Door {
    fn app(&self, worker: &Worker) -> Option<Arc<App>> {
        match self {
            Self::Port(port) => worker.directory.at_port(*port),
            Self::Name(name) => worker.directory.passed(name),
        }
    }

    fn begin(&self, visit: &mut Visit, node: &str) {
        match self {
            Self::Port(port) => visit.stream(node, None, Some(*port)),
            Self::Name(name) => visit.stream(node, Some(name), None),
        }
    }
}

/// Gives the stream to an instance, and carries it to its end.
pub(crate) async fn carry(worker: Rc<Worker>, stream: TcpStream, origin: Origin, door: Door) {
    let node = origin.node().to_owned();
    let mut client = Client::new(&worker, Wire::new(stream), origin);
    door.begin(&mut client.visit, &node);
    match give(&worker, &door, &mut client.visit).await {
        Ok(tunnel) => upgrade::carry(&worker.limits, client, tunnel).await,
        Err(why) => {
            tracing::debug!(client = node, ?door, ?why, "nobody takes a stream: it is closed");
            client.visit.untaken(why);
            client.visit.end(0, 0);
        }
    }
}

/// A connection to an instance, counted from before it is made: between the look-up and the ticket there is no await, as in [`crate::forward`].
async fn give(worker: &Worker, door: &Door, visit: &mut Visit) -> Result<Tunnel, Own> {
    let mut tried = Vec::new();
    loop {
        let app = door.app(worker).ok_or(Own::Unknown)?;
        visit.routed(&app.name);
        if app.held {
            worker.directory.released(|| door.app(worker)).await;
            continue;
        }
        let chosen = app.choose(None, &tried, || worker.directory.now()).filter(|_| tried.len() < MAX_TRIED);
        let Some((target, peer)) = chosen else {
            app.live().ok_or(Own::Absent)?.counters.failed();
            return Err(Own::Unreachable);
        };
        // Its bytes are counted; there is no request that could be.
        visit.given(&target.counters);
        let mut ticket = Ticket::new(Arc::clone(&target.counters));
        // It has no end of its own.
        ticket.upgrade();
        let counted = (ticket, Busy::new(Arc::clone(&peer), None));
        match attempt(worker, &app, &peer, counted).await {
            Some(tunnel) => return Ok(tunnel),
            None => tried.push(peer),
        }
    }
}

/// Nothing if the instance refuses.
async fn attempt(worker: &Worker, app: &App, peer: &Arc<Peer>, counted: (Ticket, Busy)) -> Option<Tunnel> {
    let counters = counted.0.counters();
    // From now on: one that is cut while it is being made is closed as soon as it is there.
    let cuts = counters.listen();
    match worker.pool.stream(peer).await {
        Ok(app) => {
            counters.given();
            Some(Tunnel { app, early: None, websocket: false, cuts, counted })
        }
        Err(error) => {
            tracing::info!(app = app.name, address = %peer.streams(), %error, "an instance refused a stream");
            counters.refused();
            if error.kind() != io::ErrorKind::ConnectionRefused {
                worker.directory.avoid(peer, AVOIDED);
            }
            None
        }
    }
}
