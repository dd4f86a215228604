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
    table::{App, Peer, Target},
    traffic::{Counters, Ticket},
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
pub(crate) async fn answer(worker: &Worker, client: &mut Client, mut asked: Box<Asked>) -> After {
    let head = std::mem::take(&mut asked.head);
    client.up.start(head, asked.framing, asked.framing == Framing::Chunked, true);
    // What came of the body with the head leaves with it, or, if it is none, keeps the head from leaving.
    let ended = match client.up.stage() {
        Ok(_) if let Some(proof) = proof(worker, &asked) => Err(proof),
        Ok(_) => Journey::new(worker, client, &asked).run().await,
        Err(refusal) => Err(Page::Refused(refusal)),
    };
    // Boxed: seldom needed, and every request would have the room for it.
    let after = match ended.map_err(|page| Box::pin(instead(worker, client, &asked, page))) {
        Ok(after) => after,
        Err(saying) => saying.await,
    };
    client.up.clear();
    after
}

/// Says a page of ours in place of an app's answer.
async fn instead(worker: &Worker, client: &mut Client, asked: &Asked, page: Page) -> After {
    let unread = !client.up.is_read();
    let close = page.closes() || !asked.keep || asked.is_old || unread || worker.is_leaving();
    client.say(&page, asked.form, close, asked.is_head).await
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

    async fn run(&mut self) -> Result<After, Page> {
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
            match self.attempt(&app, target, &peer).await {
                Ok(after) => return Ok(after),
                Err(Miss::Elsewhere) => self.tried.push(peer),
                Err(Miss::Again) => self.fresh = true,
                Err(Miss::Over(page)) => return Err(page),
            }
            self.since = Instant::now();
        }
    }

    /// Counted before anything is waited for. What it holds is made in here: whatever an argument is made of would take its room twice.
    async fn attempt(&mut self, app: &App, target: &Target, peer: &Arc<Peer>) -> Result<After, Miss> {
        let place = app.enter(self.asked.client).map_err(|full| Miss::Over(too_much(app, full)))?;
        let counted = (Ticket::new(Arc::clone(&target.counters)), Busy::new(Arc::clone(peer), place));
        let mut order = pin!(target.counters.listen().ordered());
        let pooled = self.pooled(peer);
        let mut exchange = Exchange::new(self.worker, self.client, self.asked, pooled, counted, self.since);
        if !exchange.is_connected() {
            // Boxed: seldom needed, and larger than all else that a request holds.
            let connecting = Box::pin(connection(self.worker, app, peer, &target.counters, order.as_mut()));
            exchange.connect(connecting.await?, Instant::now());
        }
        exchange.pin = app.pin(&self.asked.pins, peer, !self.asked.is_clear);
        match poll_fn(|cx| exchange.poll_begun(cx, order.as_mut())).await {
            Ok(true) => return Ok(Box::pin(exchange.switch()).await),
            Ok(false) => (),
            Err(fault) => return Err(miss(&exchange, fault, app)),
        }
        let ended = poll_fn(|cx| exchange.poll_relay(cx, order.as_mut())).await;
        match exchange.after(ended) {
            Some(after) => Ok(after),
            None => Ok(Box::pin(exchange.end_in_good_order()).await),
        }
    }

    /// A connection that has answered a request before.
    fn pooled(&self, peer: &Arc<Peer>) -> Option<Connection> {
        let pool = &self.worker.pool;
        if self.fresh { None } else { pool.take(peer, !self.asked.is_repeatable(), self.since) }
    }
}

/// A new connection.
async fn connection(
    worker: &Worker,
    app: &App,
    peer: &Arc<Peer>,
    counters: &Counters,
    order: Pin<&mut impl Future<Output = ()>>,
) -> Result<Connection, Miss> {
    match until(worker.pool.connect(peer), order).await {
        None => Err(Miss::Over(Page::Closed(app.name.clone()))),
        Some(Ok(connection)) => Ok(connection),
        Some(Err(error)) => {
            tracing::info!(app = app.name, address = %peer.address(), %error, "an instance refused a connection");
            counters.refused();
            if error.kind() != io::ErrorKind::ConnectionRefused {
                worker.directory.avoid(peer, AVOIDED);
            }
            Err(Miss::Elsewhere)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the allocator gives at once, without looking for room.
    const AT_ONCE: usize = 1024;

    fn answering<'a>(
        worker: &'a Worker,
        client: &'a mut Client,
        asked: Box<Asked>,
    ) -> impl Future<Output = After> + use<'a> {
        answer(worker, client, asked)
    }

    fn size<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_takes_no_more_room_than_is_given_at_once() {
        let size = size::<&'static Worker, &'static mut Client, _, _>(answering);
        assert!(size <= AT_ONCE, "{size}");
    }
}
