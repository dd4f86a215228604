//! Bodies on their way: requests up to the instance, responses down to the client. Nothing is buffered beyond the frame at hand.
//!
//! An [`Upload`] can be taken back as long as nothing was written to the connection; a [`Download`] counts its request as in flight until it ends.

use crate::{
    pool::{Connection, Pool},
    serve::Client,
    table::Busy,
    traffic::Ticket,
    wire::Wire,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use std::{
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

/// What hyper's bodies may fail with.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A client's body, shared between the connection that sends it and the attempt that may have to send it elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Upload(Option<Arc<Mutex<Parcel>>>);

#[derive(Debug)]
struct Parcel {
    body: Incoming,
    /// Frames that were given to a connection, as long as nothing was written to it.
    given: Vec<Bytes>,
    /// Of `given`, how many the present connection has.
    replayed: usize,
    /// The connection that has the frames, and what was written to it before.
    wire: Option<(Arc<Wire>, u64)>,
}

impl Upload {
    /// The body of a request.
    pub(crate) fn new(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self(None);
        }
        Self(Some(Arc::new(Mutex::new(Parcel { body, given: Vec::new(), replayed: 0, wire: None }))))
    }

    /// There is no body.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The body for an attempt on this connection, from its beginning. Only sound while nothing was written to an earlier one.
    pub(crate) fn through(&self, wire: &Arc<Wire>) -> Self {
        if let Some(parcel) = &self.0 {
            let mut parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner);
            parcel.replayed = 0;
            parcel.wire = Some((Arc::clone(wire), wire.written()));
        }
        self.clone()
    }
}

impl Parcel {
    fn unsent(&self) -> bool {
        self.wire.as_ref().is_some_and(|(wire, before)| wire.written() == *before)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(again) = self.given.get(self.replayed) {
            self.replayed += 1;
            return Poll::Ready(Some(Ok(Frame::data(again.clone()))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !self.unsent() {
            self.given = Vec::new();
            self.replayed = 0;
        } else if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            // Only a reference: hyper flushes before it asks for much more.
            self.given.push(data.clone());
            self.replayed = self.given.len();
        }
        Poll::Ready(frame)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &self.0 {
            None => Poll::Ready(None),
            Some(parcel) => parcel.lock().unwrap_or_else(PoisonError::into_inner).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|parcel| {
            let parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner);
            parcel.replayed >= parcel.given.len() && parcel.body.is_end_stream()
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(
            || SizeHint::with_exact(0),
            |parcel| {
                let parcel = parcel.lock().unwrap_or_else(PoisonError::into_inner);
                let waiting: u64 = parcel.given[parcel.replayed.min(parcel.given.len())..]
                    .iter()
                    .map(|frame| frame.len() as u64)
                    .sum();
                let mut hint = parcel.body.size_hint();
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper + waiting);
                }
                hint.set_lower(hint.lower() + waiting);
                hint
            },
        )
    }
}

/// An instance's body on its way to the client.
#[derive(Debug)]
pub(crate) struct Download {
    body: Incoming,
    /// Has no end of its own: when it is cut, it ends as if it had one.
    endless: bool,
    broken: bool,
    connection: Option<Connection>,
    pool: Rc<Pool>,
    client: Rc<Client>,
    ticket: Ticket,
    _busy: Busy,
}

impl Download {
    pub(crate) fn new(
        body: Incoming,
        endless: bool,
        connection: Connection,
        pool: Rc<Pool>,
        client: Rc<Client>,
        counted: (Ticket, Busy),
    ) -> Self {
        let (ticket, busy) = counted;
        Self { body, endless, broken: false, connection: Some(connection), pool, client, ticket, _busy: busy }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.client.rest();
        if let Some(connection) = self.connection.take()
            && self.body.is_end_stream()
            && !self.broken
        {
            self.pool.put(connection);
        }
    }
}

/// A response to the client: an instance's or one of our pages.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A page of ours, or nothing.
    Page(Full<Bytes>),
    /// An instance's.
    App(Box<Download>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let download = match self.get_mut() {
            Self::Page(page) => return Pin::new(page).poll_frame(cx).map_err(|never| match never {}),
            Self::App(download) => download,
        };
        if download.client.is_cut() {
            download.broken = true;
            return Poll::Ready(
                (!download.endless).then(|| Err("cut: its environment is being closed".into())),
            );
        }
        let frame = ready!(Pin::new(&mut download.body).poll_frame(cx));
        if let Some(Err(_)) = &frame {
            download.broken = true;
            download.ticket.counters().failed();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(page) => page.is_end_stream(),
            Self::App(download) => download.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(page) => page.size_hint(),
            Self::App(download) => download.body.size_hint(),
        }
    }
}
