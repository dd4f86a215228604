//! The agent as the first process of a virtual machine: from the kernel's hand-over to a supervised app.
//!
//! ```text
//!  kernel ─► /init: /dev /proc /sys ─► modules ─► ports ─► "up" ─► Begin ─► disks ─► root ─► network ─► pid1 (as in a sandbox)
//! ```
//!
//! Nothing that may be secret is on the kernel's command line or on a disk: all of it comes over the port, after "up". What the host says
//! is believed; what the app does is not. The app never sees the disks, the ports or `/sys`.

mod clock;
mod disks;
mod group;
mod modules;
mod network;
mod port;
mod ports;
mod root;
mod stages;

use crate::{
    error::{Doing, Error},
    launch::{mounts, privileges},
    pid1::{self, Surroundings},
    sys,
};
use group::Group;
use nix::mount::MsFlags;
use port::Port;
use ports::LogPort;
use stages::Stages;
use std::{convert::Infallible, fs::File, io::Write, process::ExitCode};
use teal_core::machine::{AGENT_PORT, Begin, LOG_PORT, Word};

/// What this process keeps once the app's surroundings are made: KILL (5), SETGID (6) and SETUID (7) to start and end commands, SYS_ADMIN (21)
/// for entropy, SYS_TIME (25) for the clock.
const KEPT: u64 = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 21 | 1 << 25;

/// Runs the machine. When this returns, the kernel panics and the machine ends, which its keeper sees.
pub(crate) fn run() -> ExitCode {
    let Err(error) = boot();
    // For the keeper, which keeps the console's last words.
    if let Ok(mut console) = File::options().write(true).open("/dev/console") {
        let _ = writeln!(console, "teal-agent: {}", error.chain());
    }
    ExitCode::FAILURE
}

fn boot() -> Result<Infallible, Error> {
    let mut stages = Stages::new();
    for (kind, place) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        mounts::fresh(kind, place, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "")?;
    }
    stages.done("kernel");
    modules::load()?;
    stages.done("modules");
    let mut port = Port::new(ports::open(AGENT_PORT)?);
    let log = LogPort::new(ports::open(LOG_PORT)?);
    port.say(0, &Word::Up).doing("say that the machine is up")?;
    stages.done("up");
    let (id, begin) = port.await_begin().doing("hear what to run")?;
    stages.done("told");
    match prepare(*begin, &mut stages) {
        Ok((program, group)) => {
            let word = Word::Begun(stages.spans());
            let surroundings = Surroundings {
                channel: Box::new(port.clone_for_good()),
                log: Box::new(log),
                machine: Some(Box::new(group)),
            };
            pid1::run(program, surroundings, |_| port.say(id, &word)).doing("run the app")
        }
        Err(error) => {
            port.say(id, &Word::Failed(error.chain())).doing("say what failed")?;
            Err(error)
        }
    }
}

/// Everything that the app sees, in an order in which nothing of it can run yet.
fn prepare(begin: Begin, stages: &mut Stages) -> Result<(teal_core::agent::Program, Group), Error> {
    clock::set(begin.now_ns).doing("set the clock")?;
    clock::stir(&begin.seed.0).doing("take entropy")?;
    let group = Group::make(begin.memory_mib, begin.pids)?;
    network::configure(&begin.link, begin.mtu)?;
    stages.done("network");
    root::build(&begin)?;
    stages.done("disks");
    nix::unistd::sethostname(&begin.hostname).doing("set the host name")?;
    confine()?;
    pid1::process::confine_to(group.entrance()?);
    Ok((begin.program, group))
}

/// The end of what this process does not need any more; everything that it starts has still less.
fn confine() -> Result<(), Error> {
    let null = File::options().read(true).write(true).open("/dev/null").doing("open /dev/null")?;
    for standard in [nix::unistd::dup2_stdin, nix::unistd::dup2_stdout, nix::unistd::dup2_stderr] {
        standard(&null).doing("replace a standard stream")?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    privileges::limit_resources()?;
    nix::unistd::setgroups(&[]).doing("leave all groups")?;
    sys::keep_capabilities(KEPT).doing("give up capabilities")?;
    sys::set_dumpable(false).doing("close the agent's memory to others")?;
    privileges::filter(&[])
}
