//! One client's connection: hyper's HTTP/1.1 engine, ended gently when the router stops and firmly when its environment is cut.

use crate::{
    forward,
    traffic::{Counters, cut_ordered},
    wire::{Io, Wire},
    worker::Worker,
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit, time::Sleep};

/// What was cut may take this long to get its last bytes out.
const LAST_BYTES: Duration = Duration::from_secs(2);

type Order = Pin<Box<dyn Future<Output = ()>>>;

/// What a connection knows about its client and the request that it carries now.
pub(crate) struct Client {
    /// The other end.
    pub(crate) address: SocketAddr,
    order: RefCell<Option<Order>>,
    cut: Cell<bool>,
    /// The last request had a body, of which something may be on its way yet, and the connection is still ours.
    pub(crate) sends: Cell<bool>,
    /// Its place among the connections that this worker may have; an upgraded stream keeps it.
    _place: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        Self {
            address,
            order: RefCell::default(),
            cut: Cell::new(false),
            sends: Cell::new(false),
            _place: place,
        }
    }

    /// The request in hand belongs to this environment from now on: an order to cut it ends this connection.
    pub(crate) fn attend(&self, counters: &Counters) {
        *self.order.borrow_mut() = Some(Box::pin(cut_ordered(counters.cuts())));
    }

    /// No request is in hand any more.
    pub(crate) fn rest(&self) {
        self.order.borrow_mut().take();
    }

    /// The request in hand must end now.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    fn poll_order(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut order = self.order.borrow_mut();
        let Some(waiting) = order.as_mut() else { return Poll::Pending };
        std::task::ready!(waiting.as_mut().poll(cx));
        order.take();
        self.cut.set(true);
        Poll::Ready(())
    }
}

/// Serves the client until one side is done.
pub(crate) async fn connection(worker: Rc<Worker>, stream: TcpStream, client: Client) {
    let (address, client) = (client.address, Rc::new(client));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(worker.limits.idle)
        .max_header_size(worker.limits.head_bytes)
        .max_headers(worker.limits.header_lines);
    let handler = {
        let (worker, client) = (Rc::clone(&worker), Rc::clone(&client));
        service_fn(move |request| forward::answer(Rc::clone(&worker), Rc::clone(&client), request))
    };
    let wire = Wire::to_client(stream);
    let hyper = builder.serve_connection(TokioIo::new(Io(Arc::clone(&wire))), handler).with_upgrades();
    let mut hyper = pin!(hyper);
    let mut stopping = pin!(worker.stopping.cancelled());
    let (mut stopped, mut last): (bool, Option<Pin<Box<Sleep>>>) = (false, None);
    poll_fn(|cx| {
        let mut again = true;
        while std::mem::take(&mut again) {
            if let Poll::Ready(ended) = hyper.as_mut().poll(cx) {
                report(ended, address);
                return Poll::Ready(());
            }
            if !stopped && stopping.as_mut().poll(cx).is_ready() {
                hyper.as_mut().graceful_shutdown();
                (stopped, again) = (true, true);
            }
            if last.is_none() && client.poll_order(cx).is_ready() {
                hyper.as_mut().graceful_shutdown();
                last = Some(Box::pin(tokio::time::sleep(LAST_BYTES)));
                again = true;
            }
        }
        last.as_mut().map_or(Poll::Pending, |last| last.as_mut().poll(cx))
    })
    .await;
    if client.sends.get() {
        let _ = tokio::time::timeout(LAST_BYTES, wire.exhaust()).await;
    }
}

fn report(ended: hyper::Result<()>, client: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a client's connection ended");
    }
}
