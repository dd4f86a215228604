//! A pipe in the kernel between two plain sockets: what is large goes from one to the other without ever being copied into memory of ours.
//!
//! It is filled only while it is empty, and nothing is fetched before it is empty again. So "not now" can mean one thing only: of the sender, that
//! nothing has come; of the receiver, that it takes no more. Pipes are kept for later on the thread's shelf, as buffers are; one with
//! something in it must never get there: the next body would begin with the rest of another one.

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice},
};
use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};
use tokio::{io::Interest, net::TcpStream};

/// The most that is in a pipe at a time; also the usual size of one. More was measured to cost more (decision 12). A pipe that is
/// smaller (the system gives such to a user who has many) is worth nothing.
const ROOM: usize = 64 * 1024;

/// Pipes that a thread has at most, in use or kept. Two descriptors each; who gets none copies.
const MOST: usize = 64;

#[derive(Default)]
struct Shelf {
    kept: Vec<Ends>,
    /// All that there are of this thread.
    made: usize,
    /// The system has no such thing for our sockets.
    unsupported: bool,
}

thread_local! {
    static SHELF: RefCell<Shelf> = RefCell::default();
}

fn with<T>(use_it: impl FnOnce(&mut Shelf) -> T) -> Option<T> {
    // When the thread ends, the shelf may be gone before the last pipe.
    SHELF.try_with(|shelf| use_it(&mut shelf.borrow_mut())).ok()
}

impl Shelf {
    fn take(&mut self) -> Option<Ends> {
        if self.unsupported {
            return None;
        }
        if let Some(kept) = self.kept.pop() {
            return Some(kept);
        }
        let ends = (self.made < MOST).then(Ends::open).flatten()?;
        self.made += 1;
        Some(ends)
    }
}

/// Both ends of a pipe.
#[derive(Debug)]
struct Ends {
    exit: OwnedFd,
    entry: OwnedFd,
}

impl Ends {
    /// Nothing if the system has none for us, or none of use.
    fn open() -> Option<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let size = fcntl_getpipe_size(&entry).ok()?;
        (size >= ROOM).then_some(Self { exit, entry })
    }
}

/// A pipe in use.
#[derive(Debug)]
pub(crate) struct Splice {
    /// Until it is dropped.
    ends: Option<Ends>,
    held: usize,
}

impl Splice {
    /// An empty pipe; nothing if this thread has as many as it may have, or the system gives none.
    pub(crate) fn take() -> Option<Self> {
        with(Shelf::take).flatten().map(|ends| Self { ends: Some(ends), held: 0 })
    }

    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Fetches up to `most` bytes that came by the socket; 0 is the end. Only while the pipe is empty.
    ///
    /// # Errors
    /// What the socket says; `Unsupported` if these bytes have to be copied, none of which is lost then.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty(), "a pipe is filled only while it is empty");
        let Some(ends) = &self.ends else { return Poll::Ready(Err(io::ErrorKind::Unsupported.into())) };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(ROOM);
        let fetch = || splice(from, None, &ends.entry, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK);
        let count = ready!(poll_io(cx, from, Interest::READABLE, fetch));
        let count = count.map_err(|error| if is_unsupported(&error) { refuse() } else { error })?;
        self.held = count;
        Poll::Ready(Ok(count))
    }

    /// Gives on what the receiver takes at once of what is in it.
    ///
    /// # Errors
    /// What the socket says; `WriteZero` if it takes nothing for no reason.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        let Some(ends) = &self.ends else { return Poll::Ready(Ok(0)) };
        // Of a receiver that has gone the kernel would tell by SIGPIPE, too, which Rust's programs ignore from their first moment on.
        let held = self.held;
        let give = || splice(&ends.exit, None, to, None, held, SpliceFlags::MOVE | SpliceFlags::NONBLOCK);
        let count = ready!(poll_io(cx, to, Interest::WRITABLE, give))?;
        self.held = held.saturating_sub(count);
        Poll::Ready(if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) })
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        let ends = self.ends.take();
        with(|shelf| match ends {
            Some(ends) if self.held == 0 => shelf.kept.push(ends),
            // Closed, with what is in it.
            _ => shelf.made = shelf.made.saturating_sub(1),
        });
    }
}

/// Tries until the socket is able to do it or fails.
fn poll_io(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    mut attempt: impl FnMut() -> Result<usize, Errno>,
) -> Poll<io::Result<usize>> {
    loop {
        let able =
            if interest.is_readable() { socket.poll_read_ready(cx) } else { socket.poll_write_ready(cx) };
        ready!(able)?;
        let done = socket.try_io(interest, || attempt().map_err(io::Error::from));
        let again = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        };
        if !done.as_ref().is_err_and(again) {
            return Poll::Ready(done);
        }
    }
}

/// There is no such call, or it is forbidden, or it cannot be used with this socket.
fn is_unsupported(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// From now on this thread copies.
fn refuse() -> io::Error {
    with(|shelf| shelf.unsupported = true);
    io::ErrorKind::Unsupported.into()
}

#[cfg(test)]
mod at_random;
