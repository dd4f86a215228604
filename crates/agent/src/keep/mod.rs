//! The keeper of a virtual machine: the small process on the host that every running machine has.
//!
//! It starts the emulator and lives exactly as long as it does; it writes the machine's log, and passes on what the server asks the agent. It
//! outlives the server and needs none. It begins as root, to make the network's interface and to open files that the emulator may not, and is
//! nobody afterwards. Everything that comes out of the machine is hostile: bounded, parsed, and believed about the machine alone.

mod calls;
mod console;
mod descriptors;
mod emulator;
mod logs;
mod post;
mod tap;
mod watch;

use crate::{
    error::{Doing, Error},
    frame,
    launch::{self, privileges},
    pid1::{clients::Clients, log::Log, output::Outputs},
    sys,
};
use descriptors::Descriptors;
use emulator::Emulator;
use nix::{
    sys::signal::{SigSet, Signal},
    sys::signalfd::{SfdFlags, SignalFd},
    unistd::{ForkResult, Gid, Uid, fork, setgroups, setresgid, setresuid},
};
use std::{
    fs::{self, File},
    io,
    os::unix::net::UnixListener,
    process::ExitCode,
    time::Instant,
};
use teal_core::{
    agent::{MAX_LAUNCH, SOCKET_NAME},
    machine::{CONTROL_NAME, Kept, Machine},
};
use watch::Watch;

/// Runs the keeper. The process that the server started ends at once: the keeper is nobody's child.
pub(crate) fn run() -> ExitCode {
    // SAFETY: this process has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => ExitCode::SUCCESS,
        Ok(ForkResult::Child) => keep(),
        Err(_) => ExitCode::FAILURE,
    }
}

fn keep() -> ExitCode {
    match start().and_then(Watch::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A server that waits hears why; to one that has gone nothing can be said.
            let _ = tell(&Kept::Failed { message: error.chain() });
            ExitCode::FAILURE
        }
    }
}

/// Says something to the server that waits for the machine.
pub(crate) fn tell(message: &Kept) -> Result<(), Error> {
    frame::write(&mut io::stdout(), message, teal_core::agent::MAX_FRAME)
}

/// Everything up to a running emulator, in an order that ends with the keeper's own privileges.
fn start() -> Result<Watch, Error> {
    sys::close_from(3).doing("close inherited descriptors")?;
    let _ = nix::sys::prctl::set_name(c"teal-keeper");
    let Some(machine) = frame::read::<Machine>(&mut io::stdin(), MAX_LAUNCH)? else {
        return Err(Error::Refused("no configuration on standard input".to_owned()));
    };
    detach(&machine)?;
    let signals = signals()?;
    let log = Log::open(File::open(&machine.log).doing("open the log directory")?).doing("open the log")?;
    let socket = listen(&machine, SOCKET_NAME)?;
    let control = listen(&machine, CONTROL_NAME)?;
    let network = machine.interface.as_deref().map(tap::make).transpose()?;
    let (descriptors, ends) = Descriptors::open(&machine, control, network)?;
    let emulator = Emulator::start(&machine, descriptors)?;
    confine(&machine)?;
    tell(&Kept::Started { keeper: std::process::id() })?;
    let outputs = Outputs::new(Box::new(log), Instant::now());
    let clients = Clients::new(socket).doing("listen for the server")?;
    Watch::new(emulator, ends, signals, clients, outputs, machine.begin)
}

/// Own session, own control groups, own keyring: nothing ties the machine to the server that starts it.
fn detach(machine: &Machine) -> Result<(), Error> {
    let own = std::process::id().to_string();
    for file in &machine.cgroups {
        fs::write(file, &own).doing(format!("join the cgroup {}", file.display()))?;
    }
    let _ = nix::unistd::setsid();
    let _ = sys::new_session_keyring();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    std::env::set_current_dir("/").doing("leave the server's directory")
}

fn signals() -> Result<SignalFd, Error> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block().doing("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("wait for signals")
}

/// Bound by root in a directory that is root's: only root can connect.
fn listen(machine: &Machine, name: &str) -> Result<UnixListener, Error> {
    launch::listen(&machine.run, name)
}

/// From here on the keeper is nobody, in the log's directory alone.
fn confine(machine: &Machine) -> Result<(), Error> {
    privileges::limit_resources()?;
    setgroups(&[]).doing("leave the host's groups")?;
    sys::bound_capabilities(0).doing("give up capabilities")?;
    let (user, group) = (Uid::from_raw(machine.user + 1), Gid::from_raw(machine.user + 1));
    setresgid(group, group, group).doing("become the keeper's group")?;
    setresuid(user, user, user).doing("become the keeper's user")?;
    sys::set_dumpable(false).doing("close the keeper's memory to others")?;
    privileges::filter(&[])
}
