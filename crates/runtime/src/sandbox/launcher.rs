//! The launcher's process: the embedded agent, started with a configuration on its standard input.
//!
//! All calls block, with a deadline. The launcher takes itself out of the server's session and cgroup before it makes anything, and ends
//! without a trace if the server goes away meanwhile.

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::memfd::{MFdFlags, memfd_create},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use teal_core::agent::{Launch, Launched, Link, MAX_FRAME, MAX_LAUNCH, body_length, decode, encode};

/// For one step of a launcher; far beyond what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent's program in sealed memory: it needs no file on disk, and nothing inside an instance can change it for the next.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    file: Arc<File>,
}

/// A launcher at work.
#[derive(Debug)]
pub(crate) struct Launcher {
    dialogue: Dialogue,
}

/// Frames to a program's standard input and from its standard output.
#[derive(Debug)]
pub(crate) struct Dialogue {
    child: Child,
}

impl Program {
    /// Puts the program into memory.
    pub(crate) fn load() -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        // Kernels before 6.3 do not know the flag; later ones may demand it.
        let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
        let fd =
            memfd_create("teal-agent", flags | executable).or_else(|_| memfd_create("teal-agent", flags))?;
        let mut file = File::from(fd);
        file.write_all(crate::agent::PROGRAM)?;
        let seals = nix::fcntl::SealFlag::all().difference(nix::fcntl::SealFlag::F_SEAL_FUTURE_WRITE);
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self { file: Arc::new(file) })
    }

    /// Starts the program in one of its lives; `name` is for whoever looks at a list of processes.
    pub(crate) fn start(&self, life: &str, name: &str) -> io::Result<Dialogue> {
        let child = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
            .arg0("teal-agent")
            .args([life, name])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Dialogue { child })
    }

    /// Starts a launcher and waits until its namespaces are there.
    pub(crate) fn launch(&self, launch: &Launch) -> io::Result<Launcher> {
        let mut launcher = Launcher { dialogue: self.start("launch", &launch.hostname)? };
        launcher.dialogue.send(launch, MAX_LAUNCH)?;
        match launcher.dialogue.receive(PATIENCE)? {
            Launched::Namespaces => Ok(launcher),
            other => Err(unexpected(other)),
        }
    }
}

impl Launcher {
    /// Its process: the one whose network namespace is to be attached.
    pub(crate) fn pid(&self) -> u32 {
        self.dialogue.child.id()
    }

    /// Tells it the address and waits until the agent runs; answers the agent's process.
    pub(crate) fn finish(mut self, link: &Link) -> io::Result<u32> {
        self.dialogue.send(link, MAX_FRAME)?;
        match self.dialogue.receive(PATIENCE)? {
            Launched::Agent { pid } => Ok(pid),
            other => Err(unexpected(other)),
        }
    }
}

impl Dialogue {
    /// Says something of at most `limit` bytes.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T, limit: u32) -> io::Result<()> {
        let frame = encode(message, limit).map_err(io::Error::other)?;
        let pipe = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        pipe.write_all(&frame)?;
        pipe.flush()
    }

    /// What it says next, within `limit`.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self, limit: Duration) -> io::Result<T> {
        let until = Instant::now() + limit;
        let mut prefix = [0; 4];
        self.read(&mut prefix, until)?;
        let mut body = vec![0; body_length(prefix, MAX_FRAME).map_err(io::Error::other)?];
        self.read(&mut body, until)?;
        decode(&body).map_err(io::Error::other)
    }

    fn read(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<()> {
        let pipe = self.child.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut filled = 0;
        while filled < buffer.len() {
            let left = until.saturating_duration_since(Instant::now()).as_millis();
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the launcher or keeper does not get on",
                ));
            }
            match pipe.read(&mut buffer[filled..])? {
                0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the launcher or keeper ended without a word",
                    ));
                }
                n => filled += n,
            }
        }
        Ok(())
    }
}

impl Drop for Launcher {
    /// It has either done its work, or what it began must go.
    fn drop(&mut self) {
        // Without its standard input it ends by itself; the signal is for one that is stuck.
        drop(self.dialogue.child.stdin.take());
        if !matches!(self.dialogue.child.try_wait(), Ok(Some(_))) {
            let _ = self.dialogue.child.kill();
        }
    }
}

impl Drop for Dialogue {
    /// A keeper's first process has ended long ago; a launcher was killed, or has nothing left to do.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn unexpected(answer: Launched) -> io::Error {
    match answer {
        Launched::Failed { message } => io::Error::other(message),
        other => io::Error::other(format!("the launcher answered out of turn: {other:?}")),
    }
}
