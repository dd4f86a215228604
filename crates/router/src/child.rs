//! A worker's process as its supervisor sees it: a process number and a channel.
//!
//! The end of the channel is the end of the worker, on both sides. It may be a child that this very program did not start: a successor adopts those of its
//! predecessor.

use crate::{
    channel::{self, Channel, Command, Report},
    listeners::Sockets,
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::{
    ffi::OsString,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    process::{self, Stdio},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// A worker's process.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) channel: Channel,
    /// Since when it accepts nobody any more.
    pub(crate) retired: Option<Instant>,
    /// It has no client left.
    pub(crate) finished: bool,
}

impl Child {
    /// Starts one with the sockets in its standard input. An heir gets those of TCP ports when it takes over.
    pub(crate) async fn start(
        program: &Path,
        argv: &[OsString],
        sockets: &Sockets,
        heir: bool,
    ) -> io::Result<Self> {
        let (ours, theirs) = channel::pair()?;
        let channel = Channel::new(ours)?;
        let (plain, tls) = (sockets.http.len(), Some(sockets.https.len()));
        let mut fds = sockets.fds();
        if !heir {
            fds.extend(sockets.tcp_fds());
        }
        channel.send(&Command::Serve { plain, heir, tls, keeps: true }, &fds).await?;
        let child = process::Command::new(program).args(argv).stdin(Stdio::from(theirs)).spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Self { pid: Pid::from_raw(pid), channel, retired: None, finished: false })
    }

    /// One that a predecessor started.
    pub(crate) fn adopt(pid: i32, end: OwnedFd, retired: Option<Duration>) -> io::Result<Self> {
        let retired = retired.map(|age| Instant::now().checked_sub(age).unwrap_or_else(Instant::now));
        Ok(Self { pid: Pid::from_raw(pid), channel: Channel::new(end)?, retired, finished: false })
    }

    /// Its next report, with what came along; nothing if it is gone. May be abandoned.
    pub(crate) async fn hear(&self) -> Option<(Report, Vec<OwnedFd>)> {
        match self.channel.hear().await {
            Ok(heard) => heard,
            Err(error) => {
                tracing::error!(pid = self.pid.as_raw(), %error, "a worker's report cannot be understood");
                None
            }
        }
    }

    /// Tells it something; one that is gone need not hear it.
    pub(crate) async fn tell(&self, command: &Command, fds: &[BorrowedFd<'_>]) {
        if let Err(error) = self.channel.send(command, fds).await {
            tracing::debug!(pid = self.pid.as_raw(), %error, ?command, "a worker cannot be told");
        }
    }

    /// Waits for one report and no other; `sockets` keep up with the TCP ports that it speaks of before.
    ///
    /// # Errors
    /// Why it did not come, in words.
    pub(crate) async fn expect(
        &self,
        wanted: &Report,
        within: Duration,
        sockets: &mut Sockets,
    ) -> Result<(), String> {
        let patient = async {
            loop {
                match self.hear().await {
                    Some((report, _)) if report == *wanted => return Ok(()),
                    Some((Report::Failed { why }, _)) => return Err(why),
                    // Or somebody asks again for what is under way.
                    Some((report, fds)) => sockets.note(&report, fds),
                    None => return Err("it ended; the log says why".to_owned()),
                }
            }
        };
        let slow = |_| Err(format!("it was not there within {} s", within.as_secs()));
        timeout(within, patient).await.unwrap_or_else(slow)
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        // It may be gone already.
        let _ = kill(self.pid, Signal::SIGTERM);
    }

    /// Ends what is left of it. Its number is its own until here.
    pub(crate) fn bury(self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        match waitpid(self.pid, None) {
            Ok(status) => tracing::info!(?status, "a worker has ended"),
            Err(error) => tracing::warn!(pid = self.pid.as_raw(), %error, "a worker cannot be waited for"),
        }
    }
}
