//! One request as it is counted and logged, from its whole head to the last byte of its answer. A connection has one, used again for each request; a stream
//! that is not looked into is one visit, of which nothing but bytes is counted.
//!
//! An answer is counted when it begins, so that a stream which lasts for hours is seen at once; bytes are counted as they move, and the line of the log is
//! written at the end.

use super::{Observer, OpenSocket, Own};
use crate::{
    access::{Noted, Outcome, Protocol},
    pages::Page,
    traffic::Counters,
};
use std::{rc::Rc, sync::Arc, time::Instant};

/// Bytes that may have moved uncounted while a body is on its way, or messages of a WebSocket.
const UNCOUNTED: u64 = 16 * 1024;

/// The present request.
#[derive(Debug)]
pub(crate) struct Visit {
    observer: Rc<Observer>,
    began: Option<Instant>,
    status: Option<u16>,
    own: Option<Own>,
    /// The environment that has it, or had it last.
    given: Option<Arc<Counters>>,
    /// What had gone over the client's connection when it was last counted.
    read: u64,
    written: u64,
    /// What this request moved.
    bytes_in: u64,
    bytes_out: u64,
    /// Only where there is an access log.
    noted: Option<Box<Noted>>,
}

impl Visit {
    /// Nothing was asked yet.
    pub(crate) fn new(observer: Rc<Observer>) -> Self {
        let noted = observer.logs().then(Box::default);
        Self {
            observer,
            began: None,
            status: None,
            own: None,
            given: None,
            read: 0,
            written: 0,
            bytes_in: 0,
            bytes_out: 0,
            noted,
        }
    }

    /// A request began `at` this moment: `head` is its head as it goes on, empty if it is none; `node` is the other end's address.
    pub(crate) fn begin(&mut self, at: Instant, head: &[u8], node: &str, protocol: Protocol) {
        self.began = Some(at);
        (self.status, self.own, self.given) = (None, None, None);
        (self.bytes_in, self.bytes_out) = (0, 0);
        if let Some(noted) = &mut self.noted {
            noted.take(head, node, protocol, &self.observer.trusted);
        }
    }

    /// A stream begins that is not looked into; where it came to is for the log.
    pub(crate) fn stream(&mut self, node: &str, name: Option<&str>, port: Option<u16>) {
        self.began = Some(Instant::now());
        if let Some(noted) = &mut self.noted {
            noted.stream(node, name, port);
        }
    }

    /// Nobody has taken a stream, for this reason. It gets no answer, so nothing is counted.
    pub(crate) fn untaken(&mut self, own: Own) {
        self.own = Some(own);
    }

    /// The app's name, for the log.
    pub(crate) fn routed(&mut self, app: &str) {
        if let Some(noted) = &mut self.noted {
            noted.app(app);
        }
    }

    /// An environment has it now.
    pub(crate) fn given(&mut self, counters: &Arc<Counters>) {
        if !self.given.as_ref().is_some_and(|given| Arc::ptr_eq(given, counters)) {
            self.given = Some(Arc::clone(counters));
        }
    }

    /// The final answer begins now.
    pub(crate) fn answered(&mut self, status: u16, now: Instant) {
        let Some(began) = self.began.filter(|_| self.status.is_none()) else { return };
        self.status = Some(status);
        if let Some(given) = &self.given {
            given.meter.answered(self.observer.worker, status, now.saturating_duration_since(began));
        }
    }

    /// The answer is one of the router's own.
    pub(crate) fn own(&mut self, page: &Page) {
        let own = Own::from(page);
        self.answered(page.status(), Instant::now());
        self.own = Some(own);
        match &self.given {
            Some(given) => given.meter.own(self.observer.worker, own),
            None => self.observer.edge.unrouted(own),
        }
    }

    /// So much has gone over the client's connection in all: counts what is new.
    pub(crate) fn moved(&mut self, read: u64, written: u64) {
        let bytes = (read.saturating_sub(self.read), written.saturating_sub(self.written));
        (self.read, self.written) = (self.read.max(read), self.written.max(written));
        self.bytes_in += bytes.0;
        self.bytes_out += bytes.1;
        match &self.given {
            Some(given) => given.meter.moved(self.observer.worker, bytes.0, bytes.1),
            None => self.observer.edge.moved(bytes.0, bytes.1),
        }
    }

    /// As [`Self::moved`], once it is worth it: a long body is seen before it has ended.
    pub(crate) fn moves(&mut self, read: u64, written: u64) {
        if (read + written).saturating_sub(self.read + self.written) >= UNCOUNTED {
            self.moved(read, written);
        }
    }

    /// A WebSocket that counts as open until the value is dropped.
    pub(crate) fn websocket(&self) -> Option<OpenSocket> {
        Some(OpenSocket::new(Arc::clone(self.given.as_ref()?), self.observer.worker))
    }

    /// All of it is over.
    pub(crate) fn end(&mut self, read: u64, written: u64) {
        let Some(began) = self.began.take() else { return };
        self.moved(read, written);
        if let Some(noted) = &self.noted {
            let outcome = Outcome {
                status: self.status,
                bytes_in: self.bytes_in,
                bytes_out: self.bytes_out,
                took: began.elapsed(),
                environment: self.given.as_ref().map(|given| given.environment.as_str()),
                own: self.own.map(Own::word),
            };
            self.observer.log(noted, &outcome);
        }
        // An idle connection must not keep an environment's counts from being forgotten.
        self.given = None;
    }
}
