//! `teal-agent`: makes a sandbox and is PID 1 in it; is PID 1 of a virtual machine; keeps a virtual machine.
//!
//! One small static program with three lives. As *launcher* (started by the runtime, as root on the host) it builds an instance's namespaces
//! and root file system from a [`teal_core::agent::Launch`] on its standard input. Then it forks: the child gives up every privilege but
//! KILL, SETUID and SETGID in its own user namespace and is the *agent* from then on; the launcher reports and ends. As first process of a
//! virtual machine it makes the app's surroundings there and is the same agent. As *keeper* it starts a machine on the host and stays with it.
//! It reads no configuration file, opens nothing by itself on the host, and must never print: its standard output is a protocol.

mod error;
mod frame;
mod init;
mod keep;
mod launch;
mod pid1;
mod sys;
mod tsc;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("launch") => launch::run(),
        Some("keep") => keep::run(),
        Some("tsc") => tsc::run(),
        // The kernel gives its first program no argument that means anything to us.
        _ if std::process::id() == 1 => init::run(),
        _ => ExitCode::from(64),
    }
}
