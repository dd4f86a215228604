//! Where an agent's requests come from: a socket in a sandbox, a port in a virtual machine. Both are polled with everything else.

use std::os::fd::BorrowedFd;
use teal_core::agent::{Reply, Request};

/// Whoever asks the agent.
pub(crate) trait Channel {
    /// What to poll.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;
    /// What is asked, given which of [`Channel::descriptors`] are ready.
    fn requests(&mut self, ready: &[bool]) -> Vec<(u64, Request)>;
    /// Answers a request; fine if nobody waits for it any more.
    fn answer(&mut self, id: u64, reply: &Reply);
}

/// Where the lines of an instance's log go, as JSON texts with their ends.
pub(crate) trait Sink {
    /// Appends whole lines. They may be lost: the app must go on.
    fn append(&mut self, lines: &[u8]);
}

/// What only the first process of a virtual machine can do.
pub(crate) trait Machine {
    /// Nothing but the agent runs when this returns.
    fn rest(&mut self) -> std::io::Result<()>;
    /// Sets the clock and takes the entropy; then everything runs again.
    fn wake(&mut self, now_ns: u64, seed: &[u8]) -> std::io::Result<()>;
    /// Has the kernel ended something of the app for its memory limit?
    fn out_of_memory(&self) -> bool;
}
