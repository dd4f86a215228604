//! The agent: PID 1 of an instance, one thread, one poll loop.
//!
//! Everything that the app can send it (output, orphans, exits) is hostile and bounded; everything that it is told comes over a socket that
//! only the host's root can reach. It never waits for anything but `poll`.

mod budget;
mod clients;
mod keeper;
mod listening;
mod log;
mod output;
mod process;
mod supervisor;
mod workers;

use std::{fs::File, io, os::unix::net::UnixListener, process::ExitCode};
use supervisor::Supervisor;
use teal_core::agent::Program;

/// Runs `program` until the kernel ends this process; `ready` is called once before the first command starts.
pub(crate) fn run(
    program: Program,
    listener: UnixListener,
    log: File,
    ready: impl FnOnce() -> io::Result<()>,
) -> ExitCode {
    // Nobody is left to hear an error: without its agent the instance ends, which the runtime sees.
    let run = || {
        Supervisor::new(program, listener, log).and_then(|s| ready().map(|()| s)).and_then(Supervisor::run)
    };
    match run() {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}
