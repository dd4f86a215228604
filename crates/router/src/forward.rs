//! One request's way: looked up, given to an instance, tried elsewhere only if nothing of it was sent, answered.
//!
//! Between the look-up and the ticket there is no await: a worker that has confirmed a new table (see [`crate::worker`]) can have no
//! request that chose by the old one and is not counted yet.

use crate::{
    body::{Answer, Download, Upload},
    headers::{self, Asker},
    pages::{Form, Page},
    pool::Connection,
    serve::Client,
    table::{App, Busy, Peer},
    traffic::Ticket,
    upgrade,
    worker::Worker,
};
use http::{HeaderValue, Request, Response, StatusCode, Version, request::Parts};
use hyper::{
    body::{Body as _, Incoming},
    client::conn::TrySendError,
    upgrade::OnUpgrade,
};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// Instances that one request is offered to, at most.
const MAX_TRIED: usize = 8;

/// An instance that let us wait for a connection in vain is tried last for this long.
const AVOIDED: Duration = Duration::from_secs(2);

/// Idle connections are given up this long before the instance would close them.
const CLOSING: Duration = Duration::from_secs(1);

/// Idle connections are kept no longer than this, whatever the instance says.
const MAX_KEEP: Duration = Duration::from_secs(60);

/// Answers one request. Every failure is a page.
pub(crate) async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let form = Form::asked(request.headers());
    client.sends.set(!request.body().is_end_stream());
    let answer = match Journey::begin(worker, Rc::clone(&client), request) {
        Ok(journey) => journey.run().await,
        Err(page) => Err(page),
    };
    Ok(answer.unwrap_or_else(|page| {
        client.rest();
        page.answer(form)
    }))
}

struct Journey {
    worker: Rc<Worker>,
    client: Rc<Client>,
    domain: String,
    head: Parts,
    upload: Upload,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
    /// Instances that refused.
    tried: Vec<Arc<Peer>>,
    /// A pooled connection turned out to be closed: no more of them.
    fresh: bool,
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

impl Journey {
    fn begin(worker: Rc<Worker>, client: Rc<Client>, mut request: Request<Incoming>) -> Result<Self, Page> {
        let authority = headers::authority(&request).map_err(Page::Refused)?;
        let domain = headers::domain(&authority).map_err(Page::Refused)?;
        let protocol = headers::upgrade(request.headers());
        let upgrade = protocol.map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
        let (mut head, body) = request.into_parts();
        let asker = Asker {
            client: client.address,
            authority: &authority,
            upgrade: upgrade.as_ref().map(|(protocol, _)| protocol),
            trusted: worker.trusted.contains(&client.address.ip().to_canonical()),
        };
        headers::request(&mut head, &asker);
        let upload = Upload::new(body);
        Ok(Self { worker, client, domain, head, upload, upgrade, tried: Vec::new(), fresh: false })
    }

    async fn run(mut self) -> Result<Response<Answer>, Page> {
        loop {
            // Looked up again for each attempt: the route may have changed while an instance kept us waiting.
            let app = self.worker.directory.find(&self.domain);
            let app = app.ok_or_else(|| Page::Unknown(self.domain.clone()))?;
            let now = self.worker.directory.now();
            let chosen = app.choose(&self.tried, now).filter(|_| self.tried.len() < MAX_TRIED);
            let Some((target, peer)) = chosen else { return Err(self.nobody(&app)) };
            let ticket = Ticket::new(Arc::clone(&target.counters));
            let busy = Busy::new(Arc::clone(&peer));
            self.client.attend(&target.counters);
            match self.attempt(&app, &peer, ticket, busy).await {
                Ok(response) => return Ok(response),
                Err(Miss::Elsewhere) => self.tried.push(peer),
                Err(Miss::Again) => self.fresh = true,
                Err(Miss::Over(page)) => return Err(page),
            }
        }
    }

    /// Nobody is left to ask.
    fn nobody(&self, app: &App) -> Page {
        let Some(live) = app.live() else { return Page::Absent(app.name.clone(), app.absent) };
        live.counters.failed();
        Page::Unreachable(app.name.clone())
    }

    async fn attempt(
        &mut self,
        app: &App,
        peer: &Arc<Peer>,
        ticket: Ticket,
        busy: Busy,
    ) -> Result<Response<Answer>, Miss> {
        let mut connection = self.connection(app, peer, &ticket).await?;
        let before = connection.wire.written();
        let upload = self.upload.through(&connection.wire);
        let request = Request::from_parts(self.head.clone(), upload);
        let sending = connection.sender.try_send_request(request);
        let sent = self.until_cut(self.patiently(&connection, sending)).await;
        let over = |page: fn(String) -> Page| {
            ticket.counters().given();
            ticket.counters().failed();
            Err(Miss::Over(page(app.name.clone())))
        };
        match sent {
            None => over(Page::Closed),
            Some(None) => over(Page::Slow),
            Some(Some(Ok(response))) => self.answered(app, response, connection, (ticket, busy)),
            Some(Some(Err(error))) => match self.judge(&connection, before, &error) {
                Verdict::Stale => Err(Miss::Again),
                Verdict::Refused => {
                    ticket.counters().refused();
                    Err(Miss::Elsewhere)
                }
                Verdict::Client => Err(Miss::Over(Page::Abandoned)),
                Verdict::Broken => {
                    tracing::info!(app = app.name, error = %error.error(), "an instance broke off before it answered");
                    over(Page::Broken)
                }
            },
        }
    }

    async fn connection(&self, app: &App, peer: &Arc<Peer>, ticket: &Ticket) -> Result<Connection, Miss> {
        let pool = &self.worker.pool;
        if !self.fresh
            && let Some(connection) = pool.take(peer)
        {
            return Ok(connection);
        }
        match self.until_cut(pool.connect(peer)).await {
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

    /// The future's value, or nothing if the environment is cut first.
    async fn until_cut<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if self.client.is_cut() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// The future's value, or nothing if it takes too long; as long as something of the request still goes out, nothing is too long.
    async fn patiently<F: Future>(&self, connection: &Connection, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut written = None;
        loop {
            if let Ok(value) = tokio::time::timeout(self.worker.limits.answer, future.as_mut()).await {
                return Some(value);
            }
            let now = connection.wire.written();
            if written == Some(now) {
                return None;
            }
            written = Some(now);
        }
    }

    /// What a failed attempt means.
    fn judge(&self, connection: &Connection, before: u64, error: &TrySendError<Request<Upload>>) -> Verdict {
        let unsent = error.message().is_some() || connection.wire.written() == before;
        let repeatable = self.head.method.is_idempotent() && self.upload.is_empty();
        if connection.reused && (unsent || repeatable) {
            Verdict::Stale
        } else if error.error().is_user() {
            Verdict::Client
        } else if unsent {
            Verdict::Refused
        } else {
            Verdict::Broken
        }
    }

    fn answered(
        &mut self,
        app: &App,
        mut response: Response<Incoming>,
        mut connection: Connection,
        counted: (Ticket, Busy),
    ) -> Result<Response<Answer>, Miss> {
        let (mut ticket, busy) = counted;
        ticket.counters().given();
        if response.status().is_server_error() {
            ticket.counters().server_error();
        }
        if let Some(keep) = headers::keep_alive(response.headers()) {
            connection.keep = keep.saturating_sub(CLOSING).min(MAX_KEEP);
        }
        let protocol = self.upgrade.as_ref().map(|(protocol, _)| protocol);
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        headers::response(response.headers_mut(), protocol.filter(|_| switches));
        *response.version_mut() = Version::HTTP_11;
        if switches {
            let Some((protocol, client)) = self.upgrade.take() else {
                ticket.counters().failed();
                return Err(Miss::Over(Page::Broken(app.name.clone())));
            };
            self.client.sends.set(false);
            let client = (client, Rc::clone(&self.client));
            return Ok(upgrade::begin(&self.worker, response, &protocol, client, (ticket, busy)));
        }
        let endless = headers::is_endless(response.headers());
        if endless {
            ticket.upgrade();
        }
        let (pool, client) = (Rc::clone(&self.worker.pool), Rc::clone(&self.client));
        let wrap = |body| Download::new(body, endless, connection, pool, client, (ticket, busy));
        Ok(response.map(|body| Answer::App(Box::new(wrap(body)))))
    }
}

/// What a failed attempt means.
enum Verdict {
    /// The instance had closed the idle connection.
    Stale,
    /// Nothing was sent.
    Refused,
    /// The client's body failed.
    Client,
    /// Something was sent and nothing came back.
    Broken,
}
