//! One request and its response between a client and an instance, both directions at once: an early answer is heard, a slow upload
//! holds nobody up, and whoever waits holds no buffer.

use crate::{
    asked::{Asked, Protocol},
    buffer::{self, LARGE, MUCH},
    busy::Busy,
    codec::{
        Framing, Refusal,
        head::{Response, Space},
        scan::Scan,
    },
    headers::{self, Answer, Onward},
    lane::{Broke, Lane},
    patience::{Look, Patience},
    pool::Connection,
    serve::{After, Client, LAST_BYTES},
    traffic::{Counters, Ticket},
    upgrade::Tunnel,
    worker::Worker,
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Interim answers that one request can have.
const MAX_INTERIM: u8 = 16;

/// A client that waits to be told to send its body is told so by us if its app says nothing for this long.
const EXPECTING: Duration = Duration::from_secs(1);

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Idle connections are given up this long before the instance would close them.
const CLOSING: Duration = Duration::from_secs(1);

/// Idle connections are kept no longer than this, whatever the instance says.
const MAX_KEEP: Duration = Duration::from_secs(60);

/// Why an exchange did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The environment is being closed.
    Cut,
    /// The instance let us wait too long.
    Slow,
    /// The instance broke off.
    App,
    /// What the instance sends is not HTTP.
    Garbled,
    /// The client's body is not what it should be.
    Refused(Refusal),
    /// The client broke off, or went away.
    Client,
}

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Going,
    Done,
    /// The instance takes no more of it; it may answer all the same.
    Dead,
}

/// An exchange.
pub(crate) struct Exchange<'a> {
    worker: &'a Worker,
    client: &'a mut Client,
    asked: &'a Asked,
    /// Until all of the response was read.
    app: Option<Connection>,
    counted: Option<(Ticket, Busy)>,
    upload: Upload,
    down: Lane,
    scan: Scan,
    interims: u8,
    /// When the client is told to go on.
    expecting: Option<Instant>,
    /// The client was told to go on.
    told: bool,
    /// The final answer: whether it is without end, and whether the instance and the client keep their connections behind it.
    endless: bool,
    keep: bool,
    onward: Option<Onward>,
    /// The cookie that the client is given with the answer.
    pub(crate) pin: Option<Box<str>>,
    patience: Patience<'a>,
    /// What had gone through the instance's connection before.
    before: (u64, u64),
}

impl<'a> Exchange<'a> {
    /// Nothing was sent on the connection yet, if there is one already.
    pub(crate) fn new(
        worker: &'a Worker,
        client: &'a mut Client,
        asked: &'a Asked,
        app: Option<Connection>,
        counted: (Ticket, Busy),
        now: Instant,
    ) -> Self {
        client.up.rewind();
        Self {
            worker,
            patience: Patience::new(now, &worker.limits, client.wire.read()),
            client,
            asked,
            down: Lane::expecting(app.as_ref().is_some_and(|app| app.large)),
            before: app.as_ref().map_or((0, 0), moved),
            app,
            counted: Some(counted),
            upload: Upload::Going,
            scan: Scan::default(),
            interims: 0,
            expecting: asked.expects.then_some(now + EXPECTING),
            told: false,
            endless: false,
            keep: false,
            onward: None,
            pin: None,
        }
    }

    /// There is somebody to send the request to.
    pub(crate) fn is_connected(&self) -> bool {
        self.app.is_some()
    }

    /// Here is one, made anew: all time counts from now on.
    pub(crate) fn connect(&mut self, app: Connection, now: Instant) {
        self.patience = Patience::new(now, &self.worker.limits, self.client.wire.read());
        self.expecting = self.asked.expects.then_some(now + EXPECTING);
        self.before = moved(&app);
        self.app = Some(app);
    }

    /// Nothing of the request left this machine on this connection.
    pub(crate) fn is_unsent(&self) -> bool {
        self.app.as_ref().is_some_and(|app| moved(app) == self.before)
    }

    /// The instance had closed the idle connection, and the request can be sent once more: nothing of it was sent, or nothing of it
    /// matters twice. Not a byte of an answer came.
    pub(crate) fn is_stale(&self) -> bool {
        let Some(app) = &self.app else { return false };
        app.reused && app.wire.read() == self.before.1 && (self.is_unsent() || self.asked.is_repeatable())
    }

    /// The environment's counts, while the exchange is counted.
    pub(crate) fn counters(&self, count: impl FnOnce(&Counters)) {
        if let Some((ticket, _)) = &self.counted {
            count(ticket.counters());
        }
    }

    /// Ready when the final answer begins to leave, or when it says that the instance takes the connection: `true`.
    pub(crate) fn poll_begun(
        &mut self,
        cx: &mut Context<'_>,
        order: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<bool, Fault>> {
        let answer = ready!(self.poll_answer(cx, order))?;
        let switches = answer.status == 101;
        Poll::Ready(if switches { Ok(true) } else { self.begin(&answer).map(|()| false) })
    }

    /// Ready with the head of the final answer, which is staged for the client.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        order: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<Answer, Fault>> {
        // First: what never comes to rest would have used up this task's turn before.
        if order.poll(cx).is_ready() {
            return Poll::Ready(Err(Fault::Cut));
        }
        self.poll_upload(cx)?;
        loop {
            match self.down.poll_flush(cx, &mut self.client.wire) {
                Poll::Ready(Ok(())) => self.down.unstage(),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Client)),
                Poll::Pending => break,
            }
            match self.read_head()? {
                Some(answer) if answer.is_interim() => continue,
                Some(answer) => return Poll::Ready(Ok(answer)),
                None if self.poll_expecting(cx) => continue,
                None => (),
            }
            let Some(app) = &mut self.app else { return Poll::Ready(Err(Fault::App)) };
            match self.down.poll_fill(cx, &mut app.wire) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::App)),
                Poll::Ready(Ok(_)) => (),
                Poll::Pending => break,
            }
        }
        self.poll_rest(cx).map(Err)
    }

    /// What is watched while nothing moves.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.down.release();
        if !self.down.is_waiting() {
            self.patience.caught_up();
        }
        self.client.count();
        if let Err(fault) = self.poll_client(cx) {
            return Poll::Ready(fault);
        }
        self.poll_patience(cx)
    }

    /// Sends the request on.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let (Upload::Going, Some(app)) = (self.upload, &mut self.app) else { return Ok(()) };
        match self.client.up.poll(cx, &mut self.client.wire, &mut app.wire) {
            Poll::Pending => (),
            Poll::Ready(Ok(())) => self.upload = Upload::Done,
            Poll::Ready(Err(Broke::To)) => self.upload = Upload::Dead,
            Poll::Ready(Err(Broke::From)) => return Err(Fault::Client),
            Poll::Ready(Err(Broke::Odd(refusal))) => return Err(Fault::Refused(refusal)),
        }
        Ok(())
    }

    /// A client that goes away takes its request along. What it sends ahead is read once, and then only when its turn comes.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.upload != Upload::Done || !self.client.up.raw().is_empty() {
            return Ok(());
        }
        let read = self.client.up.poll_fill(cx, &mut self.client.wire);
        self.client.up.release();
        match read {
            Poll::Ready(Ok(0) | Err(_)) => Err(Fault::Client),
            _ => Ok(()),
        }
    }

    /// Tells the client to go on if the app does not; `true` if something is staged.
    fn poll_expecting(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.expecting.filter(|_| self.upload == Upload::Going) else { return false };
        if !self.client.up.raw().is_empty() || self.patience.client_moved(self.client.wire.read()) {
            self.expecting = None;
            return false;
        }
        if self.client.timer.poll_at(cx, at).is_pending() {
            return false;
        }
        (self.expecting, self.told) = (None, true);
        self.down.say(GO_ON.to_vec());
        true
    }

    /// The next head that the instance has sent whole.
    fn read_head(&mut self) -> Result<Option<Answer>, Fault> {
        let raw = self.down.raw();
        if raw.is_empty() {
            return Ok(None);
        }
        let Some(length) = self.scan.head(raw).map_err(|_| Fault::Garbled)? else {
            return if raw.len() >= LARGE { Err(Fault::Garbled) } else { Ok(None) };
        };
        let mut space = Space::new();
        let response = Response::parse(&raw[..length], &mut space).map_err(|_| Fault::Garbled)?;
        let answer = Answer::of(&response, self.asked.is_head).map_err(|_| Fault::Garbled)?;
        let switches = self.asked.upgrade.is_some() && self.upload == Upload::Done;
        if answer.status == 101 && !switches {
            return Err(Fault::Garbled);
        }
        // A body that is still on its way when it is answered is not waited for: what follows would be taken for the next request.
        let last = self.upload != Upload::Done || self.worker.is_leaving();
        let onward = Onward::of(&answer, self.asked, last);
        let mut head = buffer::text();
        let pin = self.pin.as_deref().filter(|_| !answer.is_interim());
        headers::response(&mut head, &response, onward, self.asked, pin).map_err(|_| Fault::Garbled)?;
        self.down.skip(length);
        self.scan = Scan::default();
        if answer.is_interim() {
            self.interim(&answer, head)?;
        } else {
            let trailers = self.asked.trailers;
            let chunked = onward.framing == Framing::Chunked;
            self.down.start(head, answer.framing, chunked, trailers);
            self.onward = Some(onward);
        }
        Ok(Some(answer))
    }

    fn interim(&mut self, answer: &Answer, head: Vec<u8>) -> Result<(), Fault> {
        self.interims += 1;
        if self.interims > MAX_INTERIM {
            return Err(Fault::Garbled);
        }
        let go_on = answer.status == 100;
        let unwanted = self.asked.is_old || go_on && self.told;
        if !unwanted {
            self.down.say(head);
        }
        if go_on {
            (self.expecting, self.told) = (None, true);
        }
        Ok(())
    }

    /// Counts the answer, and decodes what came of its body with its head: what is none must not begin to leave.
    fn begin(&mut self, answer: &Answer) -> Result<(), Fault> {
        self.down.stage().map_err(|_| Fault::Garbled)?;
        let now = Instant::now();
        self.patience.answered(now, self.client.wire.written());
        self.client.visit.answered(answer.status, now);
        (self.endless, self.keep) = (answer.endless, answer.keep);
        if let Some(app) = &mut self.app {
            app.large = matches!(answer.framing, Framing::Length(length) if length > MUCH);
            app.used = now;
        }
        if let (Some(app), Some(keep)) = (&mut self.app, answer.keep_for) {
            app.keep = keep.saturating_sub(CLOSING).min(MAX_KEEP);
        }
        if let Some((ticket, busy)) = &mut self.counted {
            ticket.counters().given();
            if answer.status >= 500 {
                ticket.counters().server_error();
            }
            if answer.endless {
                ticket.upgrade();
                busy.upgrade();
            }
        }
        Ok(())
    }

    /// Carries the response to its end.
    pub(crate) fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
        order: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), Fault>> {
        if order.poll(cx).is_ready() {
            return Poll::Ready(Err(Fault::Cut));
        }
        self.poll_upload(cx)?;
        if let Poll::Ready(ended) = self.poll_down(cx) {
            return Poll::Ready(ended);
        }
        self.poll_rest(cx).map(Err)
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        loop {
            if self.down.is_read() {
                self.settle();
            }
            if ready!(self.down.poll_flush(cx, &mut self.client.wire)).is_err() {
                return Poll::Ready(Err(Fault::Client));
            }
            if self.down.is_over() {
                return Poll::Ready(Ok(()));
            }
            self.down.unstage();
            if self.down.stage().map_err(|_| Fault::Garbled)? || self.down.is_over() {
                continue;
            }
            let Some(app) = &mut self.app else { return Poll::Ready(Err(Fault::App)) };
            match ready!(self.down.poll_more(cx, &mut app.wire, &self.client.wire)) {
                Ok(0) if self.down.close() => (),
                Ok(0) | Err(_) => return Poll::Ready(Err(Fault::App)),
                Ok(_) => (),
            }
        }
    }

    /// The instance has done its part: it is free before its last bytes leave, so that whoever has seen them sees it free.
    fn settle(&mut self) {
        self.counted = None;
        let Some(app) = self.app.take() else { return };
        if self.keep && self.upload == Upload::Done && self.down.raw().is_empty() {
            self.worker.pool.put(app);
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        loop {
            ready!(self.client.timer.poll_at(cx, self.patience.until()));
            let app = self.app.as_ref().map_or(0, |app| app.wire.written() + app.wire.read());
            let client = &self.client;
            let moved = app.wrapping_add(client.wire.written()).wrapping_add(client.wire.read());
            let uploads = self.upload == Upload::Going && !client.up.is_waiting();
            let waits = if self.onward.is_none() {
                if uploads { Some(Fault::Refused(Refusal::Slow)) } else { Some(Fault::Slow) }
            } else if self.down.is_waiting() {
                Some(Fault::Client)
            } else {
                (!self.endless).then_some(Fault::Slow)
            };
            let (uploads, taken) = (uploads.then_some(client.wire.read()), client.wire.written());
            if let Some(fault) = self.patience.judge(Instant::now(), &Look { moved, uploads, taken, waits }) {
                return Poll::Ready(fault);
            }
        }
    }

    /// What becomes of the client's connection now; nothing: the stream has to be ended in good order.
    pub(crate) fn after(&self, ended: Result<(), Fault>) -> Option<After> {
        match ended {
            Ok(()) => Some(self.done()),
            Err(Fault::Cut) if self.endless => None,
            Err(Fault::Cut) => Some(self.break_off()),
            Err(Fault::App | Fault::Garbled | Fault::Slow) => {
                self.counters(Counters::failed);
                Some(self.break_off())
            }
            Err(Fault::Client | Fault::Refused(_)) => Some(After::Close),
        }
    }

    fn done(&self) -> After {
        let close = self.onward.is_none_or(|onward| onward.close);
        match self.upload {
            Upload::Done if !close => After::Keep,
            Upload::Done if self.client.up.raw().is_empty() => After::Close,
            _ => After::Linger,
        }
    }

    /// The client must not take what it has for the whole.
    fn break_off(&self) -> After {
        let until_close = Framing::UntilClose;
        if self.onward.is_some_and(|onward| onward.framing == until_close) {
            After::Reset
        } else {
            After::Close
        }
    }

    /// The environment is being closed, and the stream would go on for ever.
    pub(crate) async fn end_in_good_order(&mut self) -> After {
        if self.down.cut_short() {
            let flush = poll_fn(|cx| self.down.poll_flush(cx, &mut self.client.wire));
            let _ = timeout(LAST_BYTES, flush).await;
        }
        After::Close
    }

    /// Answers 101 and gives both connections away, counted as upgraded.
    pub(crate) async fn switch(&mut self) -> After {
        let (Some(app), Some((mut ticket, mut busy))) = (self.app.take(), self.counted.take()) else {
            return After::Close;
        };
        ticket.counters().given();
        ticket.upgrade();
        busy.upgrade();
        self.client.visit.answered(101, Instant::now());
        // From here on, so that an order that comes while the head leaves is not missed.
        let cuts = ticket.counters().listen();
        let flush = poll_fn(|cx| self.down.poll_flush(cx, &mut self.client.wire));
        if !matches!(timeout(LAST_BYTES, flush).await, Ok(Ok(()))) {
            return After::Close;
        }
        let websocket = self.asked.upgrade == Some(Protocol::WebSocket);
        let early = self.down.buffer.take();
        After::Tunnel(Box::new(Tunnel { app: app.wire, early, websocket, cuts, counted: (ticket, busy) }))
    }
}

/// What went through it in both directions.
fn moved(app: &Connection) -> (u64, u64) {
    (app.wire.written(), app.wire.read())
}
