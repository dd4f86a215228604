//! The agent: PID 1 of an instance, one thread, one poll loop.
//!
//! Everything that the app can send it (output, orphans, exits) is hostile and bounded; everything that it is told comes over a socket that
//! only the host can reach. It never waits for anything but `poll`.

pub(crate) mod budget;
pub(crate) mod channel;
pub(crate) mod clients;
mod keeper;
mod listening;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod process;
mod supervisor;
mod workers;

use channel::{Channel, Machine, Sink};
use std::{convert::Infallible, io};
use supervisor::Supervisor;
use teal_core::agent::Program;

/// What connects an agent with the outside.
pub(crate) struct Surroundings {
    /// Who asks it.
    pub(crate) channel: Box<dyn Channel>,
    /// Where its app's log goes.
    pub(crate) log: Box<dyn Sink>,
    /// In a virtual machine: what its first process can do.
    pub(crate) machine: Option<Box<dyn Machine>>,
}

/// Runs `program` until the kernel ends this process; `ready` is called once before the first command starts.
pub(crate) fn run(
    program: Program,
    surroundings: Surroundings,
    ready: impl FnOnce(&mut dyn Channel) -> io::Result<()>,
) -> io::Result<Infallible> {
    let mut supervisor = Supervisor::new(program, surroundings)?;
    ready(supervisor.channel())?;
    supervisor.run()
}
