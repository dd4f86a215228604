//! One client's connection: request after request, in order; ended gently when the router stops.
//!
//! Between two requests it holds a socket, a clock and nothing else. What the client sends is bounded in size and time before anything is done with it.

use crate::{
    access::Protocol,
    asked::{Asked, Asker},
    buffer::{self, LARGE},
    codec::{
        Refusal,
        head::{MAX_LINES, Request, Space},
        scan::{self, Scan},
    },
    crowd::{Most, Seat},
    forward,
    h2::{self, Desk},
    lane::Lane,
    metrics::{Open, Visit},
    node::Node,
    options::Limits,
    pages::{Form, Page},
    sni,
    tcp::{self, Door},
    timer::Timer,
    tls,
    upgrade::{self, Tunnel},
    wire::{self, Wire},
    worker::Worker,
};
use std::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{timeout, timeout_at},
};

/// A connection that ends may take this long to get its last bytes out.
pub(crate) const LAST_BYTES: Duration = Duration::from_secs(2);

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) wire: Wire,
    /// From it to whichever instance has its request; what it sent ahead waits in there.
    pub(crate) up: Lane,
    pub(crate) timer: Timer,
    /// What its present request is counted and logged as.
    pub(crate) visit: Visit,
    origin: Origin,
}

/// By which of our sockets a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Plain HTTP.
    Clear,
    /// TLS.
    Secure,
    /// A TCP port of an app.
    Port(u16),
}

impl Entry {
    fn scheme(self) -> &'static str {
        match self {
            Self::Clear => "http",
            Self::Secure => "https",
            Self::Port(_) => "tcp",
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The other end, as apps are told of it.
    node: Node,
    /// The other end is a proxy of the operator's.
    trusted: bool,
    /// By which of our sockets it came.
    entry: Entry,
    /// The same as an address.
    address: IpAddr,
    /// Its place among the connections that this worker may have; an upgraded stream keeps it.
    _place: Rc<(OwnedSemaphorePermit, Open)>,
    /// Its place among its client's, where they are counted.
    _seat: Option<Rc<Seat>>,
}

impl Origin {
    /// Nothing if this client has as many connections as it may have.
    pub(crate) fn new(
        worker: &Worker,
        address: SocketAddr,
        entry: Entry,
        place: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let address = address.ip().to_canonical();
        let place = Rc::new((place, Open::new(Arc::clone(&worker.observer.edge))));
        let node = Node::new(address);
        let anybody = Self { node, address, trusted: false, entry, _place: place, _seat: None };
        anybody.of(worker, address)
    }

    /// The same connection as this client's.
    fn of(self, worker: &Worker, address: IpAddr) -> Option<Self> {
        let trusted = worker.trusted.contains(&address);
        let most = Most { all: 0, each: worker.limits.connections_per_client };
        let counted = most.is_some() && !trusted;
        let seat = counted.then(|| worker.crowd.enter(address, most)).transpose();
        let Ok(seat) = seat else {
            tracing::debug!(client = %address, "it has as many connections as one client may have");
            return None;
        };
        let node = if address == self.address { self.node } else { Node::new(address) };
        Some(Self { node, address, trusted, _seat: seat.map(Rc::new), ..self })
    }

    /// The other end's address, as text.
    pub(crate) fn node(&self) -> &str {
        self.node.text()
    }

    /// The same connection, which the other end has made for this client. What the client says of others is its own word, not the proxy's: it
    /// is believed only if the client itself is a proxy of the operator's.
    pub(crate) fn behind(self, worker: &Worker, client: Option<SocketAddr>) -> Option<Self> {
        match client {
            Some(client) => self.of(worker, client.ip().to_canonical()),
            None => Some(Self { trusted: false, ..self }),
        }
    }
}

/// What becomes of a client's connection behind an answer.
#[derive(Debug)]
pub(crate) enum After {
    /// The next request.
    Keep,
    /// It is closed.
    Close,
    /// It is closed once the client has stopped sending: a close before that would be a reset, and take our answer with it.
    Linger,
    /// It is broken off, so that the answer does not look complete.
    Reset,
    /// It belongs to another protocol now.
    Tunnel(Box<Tunnel>),
}

impl Client {
    pub(crate) fn new(worker: &Worker, wire: Wire, origin: Origin) -> Self {
        let visit = Visit::new(Rc::clone(&worker.observer));
        Self { wire, up: Lane::new(), timer: Timer::new(worker.limits.idle), visit, origin }
    }

    /// A request begins: this is its head as it goes on, empty if it is none.
    fn begin(&mut self, at: Instant, head: &[u8], is_old: bool) {
        let protocol = match (self.wire.is_stream(), is_old) {
            (true, _) => Protocol::Second,
            (false, true) => Protocol::Old,
            (false, false) => Protocol::Usual,
        };
        self.visit.begin(at, head, self.origin.node(), protocol);
    }

    /// What has moved so far, without what the client sent ahead.
    fn moved(&self) -> (u64, u64) {
        let ahead = self.up.raw().len() as u64;
        (self.wire.read().saturating_sub(ahead), self.wire.written())
    }

    /// The request goes on.
    pub(crate) fn count(&mut self) {
        let (read, written) = self.moved();
        self.visit.moves(read, written);
    }

    /// The request is over, to the last byte.
    fn end(&mut self) {
        let (read, written) = self.moved();
        self.visit.end(read, written);
    }

    /// Says one of our pages and closes, unless the client may go on.
    pub(crate) async fn say(&mut self, page: &Page, form: Form, close: bool, is_head: bool) -> After {
        let mut text = buffer::text();
        page.write(&mut text, form, close, is_head);
        self.visit.own(page);
        let said = timeout(LAST_BYTES, wire::write_all(&mut self.wire, &text)).await;
        buffer::done_with(text);
        match said {
            Ok(Ok(())) if close => After::Linger,
            Ok(Ok(())) => After::Keep,
            _ => After::Close,
        }
    }
}

/// Serves a connection from its first byte on, on a task of its own.
pub(crate) fn begin(worker: &Rc<Worker>, stream: TcpStream, origin: Origin) {
    let serving = Rc::clone(worker);
    match origin.entry {
        Entry::Secure => worker.tasks.spawn_local(secure(serving, stream, origin)),
        Entry::Clear => {
            let client = Box::new(Client::new(worker, Wire::new(stream), origin));
            worker.tasks.spawn_local(connection(serving, client))
        }
        Entry::Port(port) => {
            // Boxed: the room that all tasks have is that of an ordinary connection.
            worker.tasks.spawn_local(Box::pin(tcp::carry(serving, stream, origin, Door::Port(port))))
        }
    };
}

/// Makes the handshake with a client that comes by TLS, and serves it by the protocol that both agree on.
async fn secure(worker: Rc<Worker>, stream: TcpStream, origin: Origin) {
    let until = tokio::time::Instant::now() + worker.limits.head;
    // As long as nobody wants it, nobody pays for it.
    if worker.directory.passes() {
        match timeout_at(until, Box::pin(sni::peek(&stream))).await {
            Ok(Some(name)) if worker.directory.passed(&name).is_some() => {
                return Box::pin(tcp::carry(worker, stream, origin, Door::Name(name))).await;
            }
            Ok(_) => (),
            Err(_) => return tracing::debug!(client = origin.node(), "a handshake did not begin in time"),
        }
    }
    let handshake = timeout_at(until, Wire::tls(stream, Arc::clone(&worker.tls))).await;
    worker.observer.edge.handshake(matches!(handshake, Ok(Ok(_))));
    let (mut wire, protocol) = match handshake {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return tracing::debug!(client = origin.node(), %error, "a handshake failed"),
        Err(_) => return tracing::debug!(client = origin.node(), "a handshake took too long"),
    };
    match protocol.as_deref() {
        // An authority has seen what it wanted to see.
        Some(tls::PROOF) => wire.farewell(),
        Some(b"h2") => Box::pin(h2::connection(worker, wire, origin)).await,
        _ => {
            let client = Box::new(Client::new(&worker, wire, origin));
            connection(worker, client).await;
        }
    }
}

/// Serves the client until one side is done.
///
/// The client is boxed because an async function has room for its arguments twice, and idle connections are many.
pub(crate) async fn connection(worker: Rc<Worker>, mut client: Box<Client>) {
    let order = pin!(worker.stopping.cancelled());
    let mut stopping = Stopping { order, asked: None };
    loop {
        let mut heads = Heads::new();
        let next = poll_fn(|cx| heads.poll(cx, &worker, &mut client, &mut stopping)).await;
        // Boxed, so that a connection without a request does not hold the room for one.
        let after = match next {
            Some(Ok(asked)) => {
                client.begin(asked.at, &asked.head, asked.is_old);
                Box::pin(forward::answer(&worker, &mut client, asked)).await
            }
            Some(Err(refusal)) => {
                client.begin(Instant::now(), &[], false);
                Box::pin(client.say(&Page::Refused(refusal), Form::Text, true, false)).await
            }
            None => return,
        };
        if !matches!(after, After::Tunnel(_)) {
            client.end();
        }
        match after {
            After::Keep => (),
            After::Close => return client.wire.farewell(),
            After::Reset => return client.wire.reset(),
            After::Linger => {
                let _ = timeout(LAST_BYTES, client.wire.exhaust()).await;
                return;
            }
            After::Tunnel(tunnel) => return Box::pin(upgrade::carry(&worker.limits, *client, *tunnel)).await,
        }
    }
}

/// A request that came by a stream of HTTP/2: how long its head was, and what it is.
pub(crate) type Streamed = (usize, Result<Box<Asked>, Refusal>);

/// Answers requests that come by streams of HTTP/2, one after the other, for as long as nothing is left over of one.
pub(crate) async fn streams(worker: Rc<Worker>, mut client: Client, desk: Rc<Desk<Streamed>>) {
    loop {
        let (length, asked) = desk.next().await;
        client.wire.came(length);
        let after = match asked {
            Ok(asked) => {
                client.begin(asked.at, &asked.head, false);
                forward::answer(&worker, &mut client, asked).await
            }
            Err(refusal) => {
                client.begin(Instant::now(), &[], false);
                Box::pin(client.say(&Page::Refused(refusal), Form::Text, true, false)).await
            }
        };
        client.end();
        if !matches!(after, After::Keep) || !client.up.raw().is_empty() {
            return;
        }
        desk.done();
    }
}

/// A request by its whole head.
pub(crate) fn understood(worker: &Worker, origin: &Origin, head: &[u8]) -> Result<Box<Asked>, Refusal> {
    let (limits, proxies) = (&worker.limits, &worker.trusted);
    if head.len() > limits.line_bytes && !head[..limits.line_bytes].contains(&b'\n') {
        return Err(Refusal::LongLine);
    }
    if head.len() > limits.head_bytes.min(LARGE) {
        return Err(Refusal::LongHead);
    }
    let mut space = Space::new();
    let request = Request::parse(head, &mut space, limits.header_lines.min(MAX_LINES))?;
    let Origin { node, trusted, entry, address, .. } = origin;
    let asker = Asker { node, trusted: *trusted, address: *address, proxies, scheme: entry.scheme() };
    Asked::of(&request, &asker, buffer::text()).map(Box::new)
}

/// The order to take no new requests, as one connection hears of it.
struct Stopping<'a, F> {
    order: Pin<&'a mut F>,
    /// The task that is woken by it.
    asked: Option<usize>,
}

impl<F: Future<Output = ()>> Stopping<'_, F> {
    /// It was given; if not, this task is woken by it.
    fn is_ordered(&mut self, cx: &mut Context<'_>, worker: &Worker) -> bool {
        let task = Some(cx.waker().data().addr());
        if worker.is_resting() || self.asked == task {
            return worker.is_resting();
        }
        self.asked = task;
        self.order.as_mut().poll(cx).is_ready()
    }
}

/// Waiting for the next request's head.
struct Heads {
    scan: Scan,
    /// The one empty line that may come before a head did come.
    blank: bool,
    /// When the head began, if it has.
    begun: Option<Instant>,
    /// When there is nothing to wait for any more; known once it has to be waited.
    until: Option<Instant>,
    stopping: bool,
}

impl Heads {
    fn new() -> Self {
        Self { scan: Scan::default(), blank: false, begun: None, until: None, stopping: false }
    }

    /// The next request, or why there is none; nothing if the connection is over.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        client: &mut Client,
        stopping: &mut Stopping<'_, impl Future<Output = ()>>,
    ) -> Poll<Option<Result<Box<Asked>, Refusal>>> {
        let mut came = !client.up.raw().is_empty() && self.begun.is_none();
        loop {
            if let Some(read) = self.read(worker, client).transpose() {
                return Poll::Ready(Some(read));
            }
            match client.up.poll_fill(cx, &mut client.wire) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => came = true,
                Poll::Pending => break,
            }
        }
        client.up.release();
        if came && !client.up.raw().is_empty() {
            self.touch(&worker.limits);
        }
        let mut until = *self.until.get_or_insert_with(|| Instant::now() + worker.limits.idle);
        if !self.stopping && stopping.is_ordered(cx, worker) {
            self.stopping = true;
            until = until.min(Instant::now() + LAST_BYTES);
            self.until = Some(until);
        }
        let silent = client.up.raw().is_empty();
        if self.stopping && silent {
            return Poll::Ready(None);
        }
        client.timer.poll_at(cx, until).map(|()| (!silent).then_some(Err(Refusal::Slow)))
    }

    /// Something came: the silence is over, the head's time goes on.
    fn touch(&mut self, limits: &Limits) {
        let now = Instant::now();
        let most = *self.begun.get_or_insert(now) + limits.head;
        if !self.stopping {
            self.until = Some(most.min(now + limits.idle));
        }
    }

    /// The request at the beginning of what was read, once its head is whole.
    fn read(&mut self, worker: &Worker, client: &mut Client) -> Result<Option<Box<Asked>>, Refusal> {
        if client.up.raw().is_empty() {
            return Ok(None);
        }
        let limits = &worker.limits;
        if !self.blank && scan::blank(client.up.raw()) > 0 {
            (self.blank, self.scan) = (true, Scan::default());
            client.up.skip(scan::blank(client.up.raw()));
        }
        let raw = client.up.raw();
        let most = limits.head_bytes.min(LARGE);
        let Some(length) = self.scan.head(raw)? else {
            return match raw.len() {
                line if line > limits.line_bytes && !self.scan.is_past_first_line() => Err(Refusal::LongLine),
                head if head >= most => Err(Refusal::LongHead),
                _ => Ok(None),
            };
        };
        let asked = understood(worker, &client.origin, &raw[..length])?;
        client.up.skip(length);
        Ok(Some(asked))
    }
}
