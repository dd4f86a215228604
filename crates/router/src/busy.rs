//! A request at a peer: as long as there is one, the peer is that much busier, and one place of the app's is taken. It never outlives what it stands for.

use crate::{crowd::Seat, table::Peer};
use std::sync::{Arc, atomic::Ordering};

/// A request that counts for the choice of the least busy peer, until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    peer: Arc<Peer>,
    /// Its place among those that the app may have in flight.
    place: Option<Seat>,
}

impl Busy {
    pub(crate) fn new(peer: Arc<Peer>, place: Option<Seat>) -> Self {
        peer.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { peer, place }
    }

    /// The stream has no end of its own: it is no request in flight any more.
    pub(crate) fn upgrade(&mut self) {
        self.place = None;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.peer.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
