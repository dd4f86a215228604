//! What is known of one stream while somebody answers it.

use super::{
    inbound::Inbound,
    outbound::Outbound,
    windows::{Inflow, Outflow},
};

/// A stream's place; used again by one stream after the other.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its number, 0 if the client has given it up.
    pub(crate) id: u32,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// What may come, and what may go.
    pub(crate) inflow: Inflow,
    pub(crate) outflow: Outflow,
}

impl Stream {
    /// A place that nobody has had.
    pub(crate) fn new() -> Self {
        Self {
            id: 0,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            inflow: Inflow::new(0),
            outflow: Outflow::new(0),
        }
    }
}
