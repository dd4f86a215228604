//! One stream of HTTP/2, as the path of HTTP/1.1 sees it: a body to read, a place to write an answer to.
//!
//! It is the carrier of a [`crate::wire::Wire`]. It remembers nobody to wake: whoever waits here is asked again by the connection, which knows when there is
//! something new.

use super::session::Session;
use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Poll, ready},
};

/// A stream.
#[derive(Debug)]
pub(crate) struct Pipe {
    session: Rc<RefCell<Session>>,
    slot: usize,
}

impl Pipe {
    /// Whichever stream has this place among its connection's.
    pub(super) fn new(session: Rc<RefCell<Session>>, slot: usize) -> Self {
        Self { session, slot }
    }

    /// Ready when there is something to read; an error once the client has given the stream up.
    pub(crate) fn poll_read_ready(&mut self) -> Poll<io::Result<()>> {
        self.session.borrow().is_readable(self.slot)
    }

    /// Reads what there is of the body, in HTTP/1.1's framing.
    pub(crate) fn poll_read(&mut self, room: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready())?;
        Poll::Ready(Ok(self.session.borrow_mut().read(self.slot, room)))
    }

    /// Takes as much of these parts as may be sent.
    pub(crate) fn poll_write(&mut self, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        match self.session.borrow_mut().write(self.slot, parts) {
            Ok(0) => Poll::Pending,
            other => Poll::Ready(other),
        }
    }
}
