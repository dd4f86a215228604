//! The launcher: from a [`Launch`] on standard input to an agent that runs by itself.
//!
//! Single-threaded, so it may fork and change namespaces freely. Every namespace but the user namespace belongs to the host's root: whatever
//! the app becomes inside, it has no privilege over its mounts, its network or its process tree. The order is the safety: nothing
//! on the host is touched after the root was pivoted, and nothing of the app's is looked at before.

pub(crate) mod dev;
pub(crate) mod etc;
mod identity;
mod layer;
mod loopdev;
pub(crate) mod mounts;
mod namespaces;
pub(crate) mod privileges;
pub(crate) mod proc;
mod root;

use crate::{
    error::{Doing, Error},
    frame,
    pid1::{self, Surroundings, channel::Channel, clients::Clients, log::Log},
    sys,
};
use nix::unistd::{ForkResult, Pid, fork};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
    process::ExitCode,
};
use teal_core::agent::{Launch, Launched, Link, MAX_FRAME, MAX_LAUNCH, SOCKET_NAME};

/// What the agent takes with it from the host.
struct Kept {
    identity: OwnedFd,
    listener: UnixListener,
    log: File,
    null: File,
}

/// Runs the launcher; in the child that it forks, this is the agent's whole life.
pub(crate) fn run() -> ExitCode {
    let launched = launch();
    let message = match launched {
        Ok(Forked::Agent { launch, kept, report }) => return agent(*launch, kept, report),
        Ok(Forked::Launcher { agent }) => Launched::Agent { pid: agent.as_raw().cast_unsigned() },
        Err(error) => Launched::Failed { message: error.chain() },
    };
    let failed = matches!(message, Launched::Failed { .. });
    match tell(&message) {
        Ok(()) if !failed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

enum Forked {
    Launcher { agent: Pid },
    Agent { launch: Box<Launch>, kept: Kept, report: File },
}

fn tell(message: &Launched) -> Result<(), Error> {
    frame::write(&mut io::stdout(), message, MAX_FRAME)
}

fn launch() -> Result<Forked, Error> {
    sys::close_from(3).doing("close inherited descriptors")?;
    // It was started through a descriptor, whose number would be its name. Only for whoever looks at a list of processes.
    let _ = nix::sys::prctl::set_name(c"teal-agent");
    let Some(launch) = frame::read::<Launch>(&mut io::stdin(), MAX_LAUNCH)? else {
        return Err(Error::Refused("no configuration on standard input".to_owned()));
    };
    detach(&launch)?;
    let ids = identity::Identities::new(launch.block)?;
    let log = File::open(&launch.log).doing("open the log directory")?;
    let null = File::options().read(true).write(true).open("/dev/null").doing("open /dev/null")?;
    let listener = listen(&launch.run, SOCKET_NAME)?;
    namespaces::enter(&launch.hostname)?;
    tell(&Launched::Namespaces)?;
    root::build(&launch, &ids)?;
    let Some(link) = frame::read::<Link>(&mut io::stdin(), MAX_FRAME)? else {
        return Err(Error::Refused("the runtime went away before the network was attached".to_owned()));
    };
    root::finish(&link)?;
    fork_agent(launch, Kept { identity: ids.instance, listener, log, null })
}

/// Own session, own cgroups, own keyring: nothing ties the instance to the server that starts it.
fn detach(launch: &Launch) -> Result<(), Error> {
    let own = std::process::id().to_string();
    for file in &launch.cgroups {
        fs::write(file, &own).doing(format!("join the cgroup {}", file.display()))?;
    }
    // Only fails for a group leader, which then has a session of its own already.
    let _ = nix::unistd::setsid();
    // A kernel without keyrings has none to leave.
    let _ = sys::new_session_keyring();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    Ok(())
}

/// The socket is bound through a descriptor of its directory: the path may be longer than a socket address.
pub(crate) fn listen(run: &Path, name: &str) -> Result<UnixListener, Error> {
    let directory = File::open(run).doing("open the run directory")?;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).doing("remove an old agent socket")?,
        _ => {}
    }
    UnixListener::bind(&path).doing("bind the agent's socket")
}

fn fork_agent(launch: Launch, kept: Kept) -> Result<Forked, Error> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe")?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.doing("fork the agent")? {
        ForkResult::Child => {
            drop(read);
            Ok(Forked::Agent { launch: Box::new(launch), kept, report: File::from(write) })
        }
        ForkResult::Parent { child } => {
            drop(write);
            await_agent(child, File::from(read))
        }
    }
}

/// The agent writes one byte when it is ready, or the reason why it is not.
fn await_agent(agent: Pid, report: File) -> Result<Forked, Error> {
    let mut text = String::new();
    report.take(4096).read_to_string(&mut text).doing("hear from the agent")?;
    if text == "." {
        return Ok(Forked::Launcher { agent });
    }
    let status = nix::sys::wait::waitpid(agent, None);
    let why =
        if text.is_empty() { format!("the agent ended before it was ready ({status:?})") } else { text };
    Err(Error::Refused(why))
}

fn agent(launch: Launch, kept: Kept, mut report: File) -> ExitCode {
    match confine(&launch, &kept) {
        Ok(()) => {}
        Err(error) => {
            // The launcher that would hear of a broken pipe is the only one to tell.
            let _ = report.write_all(error.chain().as_bytes());
            return ExitCode::FAILURE;
        }
    }
    let ready = |_: &mut dyn Channel| report.write_all(b".").map(|()| drop(report));
    // Nothing of the host stays open but the log's directory and the socket.
    let Kept { identity, listener, log, null } = kept;
    drop((identity, null));
    let surroundings = || -> io::Result<Surroundings> {
        Ok(Surroundings {
            channel: Box::new(Clients::new(listener)?),
            log: Box::new(Log::open(log)?),
            machine: None,
        })
    };
    // Nobody is left to hear an error: without its agent the instance ends, which the runtime sees.
    match surroundings().and_then(|surroundings| pid1::run(launch.program, surroundings, ready)) {
        Ok(never) => match never {},
        Err(_) => ExitCode::FAILURE,
    }
}

/// The child's part: what needs its process namespace, then the end of all privileges.
fn confine(launch: &Launch, kept: &Kept) -> Result<(), Error> {
    proc::mount(launch.block)?;
    root::seal()?;
    for standard in [nix::unistd::dup2_stdin, nix::unistd::dup2_stdout, nix::unistd::dup2_stderr] {
        standard(&kept.null).doing("replace a standard stream")?;
    }
    privileges::limit_resources()?;
    privileges::become_instance(&kept.identity)?;
    privileges::filter(&launch.filters)
}
