//! One peer at the control socket: greeted, then heard until it goes, breaks the protocol, or a newer one comes.
//!
//! A visitor says no hello: it asks for one thing and goes.

use crate::{
    error::in_full,
    frame::{self, Broken},
    keeper::Keeper,
};
use std::{io, time::Duration};
use teal_core::control::{MAX_FRAME, Reply, Request, decode};
use tokio::{
    net::UnixStream,
    sync::{Mutex, oneshot, watch},
    time::timeout,
};

/// A peer must say hello within this time.
const HELLO: Duration = Duration::from_secs(5);

/// A hello is no longer than this.
const MAX_HELLO: usize = 64 * 1024;

/// Which peer is the server: the newest.
#[derive(Debug, Default)]
pub(crate) struct Newest(watch::Sender<u64>);

impl Newest {
    /// All that came before are not heard any more.
    pub(crate) fn overtake(&self) -> watch::Receiver<u64> {
        self.0.send_modify(|number| *number += 1);
        self.0.subscribe()
    }
}

/// How a first word was taken.
enum Greeted {
    /// It is the server.
    Server,
    /// It has got what it wanted.
    Visitor,
}

/// Serves one peer to its end.
pub(crate) async fn serve(mut stream: UnixStream, keeper: &Mutex<Keeper>, newest: &Newest) -> Broken {
    let greeted = match timeout(HELLO, first_word(&mut stream)).await {
        Err(_) => return Broken::Stream(io::ErrorKind::TimedOut.into()),
        Ok(Err(broken)) => return broken,
        Ok(Ok(request)) => greet(&mut stream, request, keeper).await,
    };
    match greeted {
        Ok(Greeted::Server) => {
            let newer = newest.overtake();
            converse(&mut stream, keeper, Some(newer)).await
        }
        Ok(Greeted::Visitor) => Broken::Closed,
        Err(broken) => broken,
    }
}

/// Does what one peer asks, one request after another, as long as it is the newest.
pub(crate) async fn converse(
    stream: &mut UnixStream,
    keeper: &Mutex<Keeper>,
    mut newer: Option<watch::Receiver<u64>>,
) -> Broken {
    loop {
        let overtaken = async {
            match &mut newer {
                Some(newer) => drop(newer.changed().await),
                None => std::future::pending().await,
            }
        };
        let body = tokio::select! {
            body = frame::read(stream, MAX_FRAME as usize) => body,
            () = overtaken => return Broken::Closed,
        };
        let body = match body {
            Ok(body) => body,
            Err(broken) => return refuse(stream, broken).await,
        };
        // Not to be interrupted from here on: what is decided is answered, unless the peer is gone.
        let reply = match decode::<Request>(&body) {
            Ok(request) => {
                let mut keeper = keeper.lock().await;
                // A newer server may have come while an older one's request waited.
                if newer.as_ref().is_some_and(|newer| newer.has_changed().unwrap_or(true)) {
                    return Broken::Closed;
                }
                keeper.reply(request).await
            }
            Err(error) => Reply::Refused { reason: in_full(&error) },
        };
        if let Err(broken) = frame::write(stream, &reply).await {
            return broken;
        }
    }
}

/// Waits for a request that a stranger may make; everything else is refused.
async fn first_word(stream: &mut UnixStream) -> Result<Request, Broken> {
    loop {
        let body = match frame::read(stream, MAX_HELLO).await {
            Ok(body) => body,
            Err(broken) => return Err(refuse(stream, broken).await),
        };
        let reason = match decode(&body) {
            Ok(request @ (Request::Hello { .. } | Request::Upgrade)) => return Ok(request),
            Ok(_) => "say hello first".into(),
            Err(error) => in_full(&error),
        };
        frame::write(stream, &Reply::Refused { reason }).await?;
    }
}

async fn greet(
    stream: &mut UnixStream,
    mut request: Request,
    keeper: &Mutex<Keeper>,
) -> Result<Greeted, Broken> {
    loop {
        let reply = match request {
            Request::Upgrade => {
                let reply = upgrade(keeper).await;
                frame::write(stream, &reply).await?;
                return Ok(Greeted::Visitor);
            }
            request => keeper.lock().await.welcome(request),
        };
        // It gave its place away a moment ago: whoever connects again meets the one that has it.
        let Some(reply) = reply else { return Err(Broken::Closed) };
        frame::write(stream, &reply).await?;
        if matches!(reply, Reply::Hello { .. }) {
            return Ok(Greeted::Server);
        }
        request = timeout(HELLO, first_word(stream)).await.unwrap_or_else(|_| Err(slow()))?;
    }
}

fn slow() -> Broken {
    Broken::Stream(io::ErrorKind::TimedOut.into())
}

/// Asks the process for an upgrade, and waits for how it went.
async fn upgrade(keeper: &Mutex<Keeper>) -> Reply {
    let (ask, answer) = oneshot::channel();
    let (asks, generation) = {
        let keeper = keeper.lock().await;
        (keeper.ask.clone(), keeper.table.generation)
    };
    if asks.try_send(ask).is_err() {
        return Reply::Refused { reason: "another upgrade is asked for: ask again when it is done".into() };
    }
    match answer.await {
        Ok(Ok(())) => Reply::Acknowledged { generation },
        Ok(Err(reason)) => Reply::Refused { reason },
        Err(_) => Reply::Refused { reason: "the router stops".into() },
    }
}

/// Says why before the connection ends, where the peer can still hear it.
async fn refuse(stream: &mut UnixStream, broken: Broken) -> Broken {
    if let Broken::Frame(error) = &broken {
        let _ = frame::write(stream, &Reply::Refused { reason: in_full(error) }).await;
    }
    broken
}
