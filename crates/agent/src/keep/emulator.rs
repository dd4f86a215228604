//! The emulator's process: an unprivileged user, no capabilities, no new ones, and dead as soon as its keeper is.

use crate::{
    error::{Doing, Error},
    keep::descriptors::Descriptors,
    sys,
};
use nix::{
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid},
};
use std::{
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{ChildStderr, Command, Stdio},
};
use teal_core::machine::Machine;

/// What it has open: its disks, sockets and a few of its own.
const MAX_FILES: u64 = 256;

/// One byte, in which no core fits.
const MAX_CORE: u64 = 1;

/// What is kept of its complaints, in bytes.
const MAX_COMPLAINT: usize = 4096;

/// A running emulator.
pub(crate) struct Emulator {
    pid: Pid,
    errors: ChildStderr,
    complaint: Vec<u8>,
}

impl Emulator {
    /// Starts it.
    pub(crate) fn start(machine: &Machine, descriptors: Descriptors) -> Result<Self, Error> {
        let mut command = Command::new(&machine.emulator);
        command.args(&machine.arguments).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let groups: Vec<Gid> = machine.group.into_iter().map(Gid::from_raw).collect();
        let (user, keeper) = (machine.user, nix::unistd::getpid());
        // SAFETY: only system calls between fork and exec; this process has one thread.
        unsafe { command.pre_exec(move || become_emulator(user, &groups, keeper, &descriptors)) };
        let mut child = command.spawn().doing(format!("start {}", machine.emulator.display()))?;
        let errors = child.stderr.take().ok_or_else(|| Error::Refused("the emulator is mute".to_owned()))?;
        let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&errors, flags).doing("read the emulator's complaints")?;
        Ok(Self { pid: Pid::from_raw(child.id().cast_signed()), errors, complaint: Vec::new() })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let how = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => format!("it ended with code {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("it was ended by {signal}"),
            Err(nix::errno::Errno::ECHILD) => "it has gone".to_owned(),
            _ => return None,
        };
        self.listen();
        let said = String::from_utf8_lossy(&self.complaint);
        Some(if said.trim().is_empty() { how } else { format!("{how}: {}", said.trim()) })
    }

    /// Takes note of what it complains about.
    fn listen(&mut self) {
        let mut buffer = [0; 1024];
        while self.complaint.len() < MAX_COMPLAINT {
            match self.errors.read(&mut buffer) {
                Ok(n) if n > 0 => self.complaint.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        }
    }
}

/// In the child.
fn become_emulator(user: u32, groups: &[Gid], keeper: Pid, descriptors: &Descriptors) -> io::Result<()> {
    descriptors.place()?;
    setrlimit(Resource::RLIMIT_CORE, MAX_CORE, MAX_CORE)?;
    setrlimit(Resource::RLIMIT_NOFILE, MAX_FILES, MAX_FILES)?;
    sys::bound_capabilities(0)?;
    setgroups(groups)?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    prctl::set_no_new_privs()?;
    // After the change of user, which would forget it.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if nix::unistd::getppid() != keeper {
        return Err(io::Error::other("the keeper has gone"));
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}
