//! One request's way: looked up, given to an instance, tried elsewhere only if nothing of it was sent, answered.
//!
//! Between the look-up and the ticket there is no await: a worker that has confirmed a new table (see [`crate::worker`]) can have no
//! request that chose by the old one and is not counted yet.

use crate::{
    asked::{self, Asked},
    busy::Busy,
    codec::{Framing, Refusal},
    crowd::Full,
    exchange::{Exchange, Fault},
    pages::Page,
    pool::Connection,
    serve::{After, Client},
    table::{App, Peer},
    traffic::Ticket,
    worker::Worker,
};
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

/// Instances that one request is offered to, at most.
pub(crate) const MAX_TRIED: usize = 8;

/// An instance that let us wait for a connection in vain is tried last for this long.
pub(crate) const AVOIDED: Duration = Duration::from_secs(2);

/// Answers one request. Every failure before the answer has begun is a page.
pub(crate) async fn answer(worker: &Worker, client: &mut Client, mut asked: Asked) -> After {
    let head = std::mem::take(&mut asked.head);
    client.up.start(head, asked.framing, asked.framing == Framing::Chunked, true);
    // What came of the body with the head leaves with it, or, if it is none, keeps the head from leaving.
    let ended = match client.up.stage() {
        Ok(_) if let Some(proof) = proof(worker, &asked) => Err(proof),
        Ok(_) => Journey::new(worker, client, &asked).run().await,
        Err(refusal) => Err(Page::Refused(refusal)),
    };
    let after = match ended {
        Ok(after) => after,
        Err(page) => {
            let unread = !client.up.is_read();
            let close = page.closes() || !asked.keep || asked.is_old || unread || worker.is_leaving();
            Box::pin(client.say(&page, asked.form, close, asked.is_head)).await
        }
    };
    client.up.clear();
    after
}

/// What a certificate authority gets that looks for a proof of ours. Whoever else asks there is the app's.
fn proof(worker: &Worker, asked: &Asked) -> Option<Page> {
    let answer = worker.certificates.proof(&asked.domain, asked.challenge.as_deref()?);
    answer.map(Page::Proof)
}

struct Journey<'a> {
    worker: &'a Worker,
    client: &'a mut Client,
    asked: &'a Asked,
    /// Instances that refused.
    tried: Vec<Arc<Peer>>,
    /// A pooled connection turned out to be closed: no more of them.
    fresh: bool,
    /// When the present attempt began: the first one does not ask the clock again.
    since: Instant,
}

/// How an attempt ended that gave no answer.
enum Miss {
    /// The instance refused, nothing was sent: another one.
    Elsewhere,
    /// The instance had closed this connection: a new one.
    Again,
    /// The client must be told.
    Over(Page),
}

impl<'a> Journey<'a> {
    fn new(worker: &'a Worker, client: &'a mut Client, asked: &'a Asked) -> Self {
        Self { worker, client, asked, tried: Vec::new(), fresh: false, since: asked.at }
    }

    async fn run(mut self) -> Result<After, Page> {
        loop {
            // Looked up again for each attempt: the route may have changed while an instance kept us waiting.
            let target = asked::target(self.client.up.head());
            let found = self.worker.directory.find(&self.asked.domain, target);
            let app = found.map_err(Page::Refused)?;
            let app = app.ok_or_else(|| Page::Unknown(self.asked.domain.clone()))?;
            if app.held {
                Box::pin(self.worker.directory.released_host(&self.asked.domain, target)).await;
                self.since = Instant::now();
                continue;
            }
            self.client.visit.routed(&app.name);
            if app.passes && !self.asked.is_clear {
                return Err(Page::Refused(Refusal::Misdirected));
            }
            if (app.force_https || app.passes) && self.asked.is_clear {
                return Err(Page::Secure(self.asked.by_tls(self.client.up.head())));
            }
            let now = || self.worker.directory.now();
            let chosen =
                app.choose(Some(&self.asked.pins), &self.tried, now).filter(|_| self.tried.len() < MAX_TRIED);
            let Some((target, peer)) = chosen else { return Err(nobody(&app)) };
            self.client.visit.given(&target.counters);
            let place = app.enter(self.asked.client).map_err(|full| too_much(&app, full))?;
            let ticket = Ticket::new(Arc::clone(&target.counters));
            let busy = Busy::new(Arc::clone(&peer), place);
            match self.attempt(&app, &peer, ticket, busy).await {
                Ok(after) => return Ok(after),
                Err(Miss::Elsewhere) => self.tried.push(peer),
                Err(Miss::Again) => self.fresh = true,
                Err(Miss::Over(page)) => return Err(page),
            }
            self.since = Instant::now();
        }
    }

    async fn attempt(
        &mut self,
        app: &App,
        peer: &Arc<Peer>,
        ticket: Ticket,
        busy: Busy,
    ) -> Result<After, Miss> {
        let mut order = pin!(ticket.counters().listen().ordered());
        let connection = self.connection(app, peer, &ticket, order.as_mut()).await?;
        if !connection.reused {
            self.since = Instant::now();
        }
        let mut exchange =
            Exchange::new(self.worker, self.client, self.asked, connection, (ticket, busy), self.since);
        exchange.pin = app.pin(&self.asked.pins, peer, !self.asked.is_clear);
        let fault = match poll_fn(|cx| exchange.poll_answer(cx, order.as_mut())).await {
            Ok(answer) if answer.status == 101 => return Ok(Box::pin(exchange.switch()).await),
            Ok(answer) => match exchange.begin(&answer) {
                Ok(()) => return Ok(exchange.relay(order).await),
                Err(fault) => fault,
            },
            Err(fault) => fault,
        };
        Err(miss(&exchange, fault, app))
    }

    async fn connection(
        &self,
        app: &App,
        peer: &Arc<Peer>,
        ticket: &Ticket,
        order: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Connection, Miss> {
        let pool = &self.worker.pool;
        if !self.fresh
            && let Some(connection) = pool.take(peer, !self.asked.is_repeatable(), self.since)
        {
            return Ok(connection);
        }
        // Boxed: seldom needed, and larger than all else that a request holds.
        match until(Box::pin(pool.connect(peer)), order).await {
            None => Err(Miss::Over(Page::Closed(app.name.clone()))),
            Some(Ok(connection)) => Ok(connection),
            Some(Err(error)) => {
                tracing::info!(app = app.name, address = %peer.address(), %error, "an instance refused a connection");
                ticket.counters().refused();
                if error.kind() != io::ErrorKind::ConnectionRefused {
                    self.worker.directory.avoid(peer, AVOIDED);
                }
                Err(Miss::Elsewhere)
            }
        }
    }
}

/// There is no place for the request.
fn too_much(app: &App, full: Full) -> Page {
    match full {
        Full::All => Page::Crowded(app.name.clone()),
        Full::Each => Page::Greedy(app.name.clone()),
    }
}

/// Nobody is left to ask.
fn nobody(app: &App) -> Page {
    let Some(live) = app.live() else { return Page::Absent(app.name.clone(), app.absent) };
    live.counters.failed();
    Page::Unreachable(app.name.clone())
}

/// The future's value, or nothing if the order comes first.
async fn until<F: Future>(future: F, mut order: Pin<&mut impl Future<Output = ()>>) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => order.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// What a failed attempt means.
fn miss(exchange: &Exchange<'_>, fault: Fault, app: &App) -> Miss {
    let name = || app.name.clone();
    let page = match fault {
        Fault::App if exchange.is_stale() => return Miss::Again,
        Fault::App if exchange.is_unsent() => {
            exchange.counters(|counters| counters.refused());
            return Miss::Elsewhere;
        }
        Fault::Refused(refusal) => return Miss::Over(Page::Refused(refusal)),
        Fault::Client => return Miss::Over(Page::Abandoned),
        Fault::Cut => Page::Closed(name()),
        Fault::Slow => Page::Slow(name()),
        Fault::Garbled => Page::Garbled(name()),
        Fault::App => Page::Broken(name()),
    };
    if matches!(fault, Fault::App | Fault::Garbled) {
        tracing::info!(app = app.name, ?fault, "an instance gave no answer");
    }
    exchange.counters(|counters| {
        counters.given();
        counters.failed();
    });
    Miss::Over(page)
}
