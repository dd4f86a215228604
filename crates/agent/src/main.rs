//! `teal-agent`: makes a sandbox, then is PID 1 in it.
//!
//! One small static program with two lives. As *launcher* (started by the runtime, as root on the host) it builds the instance's namespaces
//! and root file system from a [`teal_core::agent::Launch`] on its standard input. Then it forks: the child gives up every privilege but
//! KILL, SETUID and SETGID in its own user namespace and is the *agent* from then on; the launcher reports and ends. It has no options, reads
//! no configuration file, opens nothing by itself on the host, and must never print: its standard output is a protocol.

mod error;
mod frame;
mod launch;
mod pid1;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("launch") => launch::run(),
        _ => ExitCode::from(64),
    }
}
