//! The supervisor: binds the listening sockets once and keeps a worker process on them, so that clients wait while it starts again
//! instead of being refused.
//!
//! It serves nothing and parses nothing: the less it does, the less it can die of.

use crate::{
    error::Error,
    listeners::Sockets,
    options::Options,
    router::{Signals, runtime},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};
use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    pin::pin,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// The first wait before a worker is started again, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A worker that lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(10);

/// After the drain deadline: how long a worker may take to go before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// The address may still be held by a predecessor's worker that drains.
const BIND_FOR: Duration = Duration::from_secs(30);

/// Binds `options.http`, then keeps a worker running until SIGTERM or SIGINT, which it passes on. The worker is this very program with the arguments `argv`: they must
/// lead to [`crate::run`] with the same options and `inherited: true`. It makes a session of its own, so that it outlives whoever started it.
///
/// # Errors
/// If the sockets cannot be had, or no worker can be started at all.
pub fn supervise(options: &Options, argv: &[OsString]) -> Result<(), Error> {
    // Fails only for the leader of a group, which then is nobody's child to be taken along.
    let _ = setsid();
    let runtime = runtime()?;
    let program =
        std::env::current_exe().map_err(|source| Error::Start { part: "a worker process", source })?;
    runtime.block_on(async {
        let signals = Signals::new()?;
        let sockets = bind_patiently(options).await?;
        let keeper = Keeper { program, argv, sockets, drain: options.limits.drain };
        keeper.keep(signals).await
    })
}

async fn bind_patiently(options: &Options) -> Result<Sockets, Error> {
    let deadline = Instant::now() + BIND_FOR;
    loop {
        match Sockets::bind(&options.http, &options.https) {
            Err(Error::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
}

struct Keeper<'a> {
    program: PathBuf,
    argv: &'a [OsString],
    sockets: Sockets,
    drain: Duration,
}

impl Keeper<'_> {
    async fn keep(&self, signals: Signals) -> Result<(), Error> {
        let mut stop = pin!(signals.next());
        let mut wait = BACK_OFF.0;
        let mut first = true;
        loop {
            let began = Instant::now();
            let ended = match self.start() {
                Ok((mut child, _channel)) => tokio::select! {
                    why = &mut stop => return self.stop(child, why).await,
                    ended = child.wait() => ended,
                },
                // The very first one: the caller must hear of it. Later ones: memory may be short for a moment.
                Err(error) if first => return Err(Error::Start { part: "a worker process", source: error }),
                Err(error) => Err(error),
            };
            first = false;
            if began.elapsed() >= SETTLED {
                wait = BACK_OFF.0;
            }
            tracing::error!(?ended, ?wait, "the router's worker ended: another one is started");
            tokio::select! {
                _ = &mut stop => return Ok(()),
                () = sleep(wait) => (),
            }
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    /// Starts a worker with the sockets in its standard input. The channel must be kept: its end is the end of the worker.
    fn start(&self) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        self.sockets.give(&ours)?;
        // A newer program in the same place is taken; one that is gone is not missed.
        let program =
            if self.program.exists() { self.program.clone() } else { PathBuf::from("/proc/self/exe") };
        let mut command = Command::new(program);
        command.args(self.argv).stdin(Stdio::from(OwnedFd::from(theirs)));
        Ok((command.spawn()?, ours))
    }

    async fn stop(&self, mut child: Child, why: &str) -> Result<(), Error> {
        tracing::info!(why, "the supervisor stops its worker");
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may be gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if timeout(self.drain + GRACE, child.wait()).await.is_err() {
            tracing::error!("the worker did not stop in time: it is killed");
            let _ = child.kill().await;
        }
        Ok(())
    }
}
