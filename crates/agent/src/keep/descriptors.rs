//! What the emulator gets instead of names: every file and socket, opened by the keeper while it may.

use crate::error::{Doing, Error};
use nix::fcntl::{FcntlArg, fcntl};
use std::{
    fs,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};
use teal_core::machine::{AGENT_FD, CONSOLE_FD, CONTROL_FD, FIRST_FILE_FD, LOG_FD, Machine, NETWORK_FD};

/// Above every number that the emulator is given: what waits to be copied there must not be overwritten meanwhile.
const ABOVE: i32 = 64;

/// The emulator's side, with the number that each is to have.
pub(crate) struct Descriptors {
    all: Vec<(i32, OwnedFd)>,
}

/// The keeper's side.
pub(crate) struct Ends {
    pub(crate) agent: UnixStream,
    pub(crate) log: UnixStream,
    pub(crate) console: UnixStream,
}

impl Descriptors {
    /// Opens all of them.
    pub(crate) fn open(
        machine: &Machine,
        control: UnixListener,
        network: Option<OwnedFd>,
    ) -> Result<(Self, Ends), Error> {
        let pair = || UnixStream::pair().doing("make a pair of sockets");
        let ((agent, theirs_agent), (log, theirs_log), (console, theirs_console)) =
            (pair()?, pair()?, pair()?);
        for own in [&agent, &log, &console] {
            own.set_nonblocking(true).doing("prepare a socket")?;
        }
        let mut all = vec![
            (AGENT_FD, OwnedFd::from(theirs_agent)),
            (LOG_FD, theirs_log.into()),
            (CONSOLE_FD, theirs_console.into()),
            (CONTROL_FD, control.into()),
        ];
        all.extend(network.map(|fd| (NETWORK_FD, fd)));
        for (number, file) in (FIRST_FILE_FD..).zip(&machine.files) {
            let opened = fs::OpenOptions::new().read(true).write(file.writable).open(&file.path);
            all.push((number, opened.doing(format!("open {}", file.path.display()))?.into()));
        }
        let all =
            all.into_iter().map(|(number, fd)| Ok((number, lift(&fd)?))).collect::<Result<_, Error>>()?;
        Ok((Self { all }, Ends { agent, log, console }))
    }

    /// In the emulator's process, before it is executed: gives each its number.
    pub(crate) fn place(&self) -> std::io::Result<()> {
        for (number, fd) in &self.all {
            // SAFETY: both are numbers; the target is below all of ours and belongs to nobody in this process.
            if unsafe { libc::dup2(fd.as_raw_fd(), *number) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// The same with a high number, closed when another program is executed.
fn lift(fd: &OwnedFd) -> Result<OwnedFd, Error> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(ABOVE)).doing("copy a descriptor")?;
    // SAFETY: the kernel has just made it, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
