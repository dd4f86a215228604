//! One program after another, without a client that notices: the steps in which a new worker takes over from an old one, and in which a new supervisor takes over
//! from itself.
//!
//! Until the new worker has said that it serves, the old one accepts clients and can have everything back: whatever goes wrong before changes nothing.

use crate::{
    channel::{self, Channel, Command, Estate, Report},
    child::Child,
    listeners::Sockets,
    supervise::Supervisor,
};
use std::{
    ffi::OsString,
    io,
    os::fd::{AsFd as _, OwnedFd},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

/// A new worker may take this long to read everything and be ready.
const READY: Duration = Duration::from_secs(30);

/// Every other step may take this long: some of them wait for a disk.
const STEP: Duration = Duration::from_secs(15);

/// Starts a worker of `program` beside `old` and makes it the one that serves: both workers, the old one retired.
///
/// # Errors
/// The old worker, which serves as before or is gone, and why.
pub(crate) async fn change_over(
    mut old: Child,
    program: &Path,
    argv: &[OsString],
    sockets: &mut Sockets,
) -> Result<(Child, Child), (Child, String)> {
    let started = Child::start(program, argv, sockets, true).await;
    let heir = match started {
        Ok(heir) => heir,
        Err(error) => return Err((old, format!("{} cannot be started: {error}", program.display()))),
    };
    if let Err(why) = heir.expect(&Report::Ready, READY, sockets).await {
        heir.bury();
        return Err((old, format!("the new worker is not ready: {why}")));
    }
    match hand_over(&old, &heir, sockets).await {
        Ok(()) => {
            old.retired = Some(std::time::Instant::now());
            old.tell(&Command::Retire, &[]).await;
            Ok((old, heir))
        }
        Err(why) => {
            // First it must be gone: what it holds is what the old one needs.
            heir.bury();
            old.tell(&Command::Keep, &[]).await;
            if let Err(lost) = old.expect(&Report::Kept, STEP, sockets).await {
                tracing::error!(lost, "the old worker cannot go on: it is started again");
                old.terminate();
            }
            Err((old, why))
        }
    }
}

async fn hand_over(old: &Child, heir: &Child, sockets: &mut Sockets) -> Result<(), String> {
    let (elder, younger) = UnixStream::pair().map_err(|error| format!("no socket pair: {error}"))?;
    old.tell(&Command::Yield, &[elder.as_fd()]).await;
    let yielded = old.expect(&Report::Yielded, STEP, sockets).await;
    yielded.map_err(|why| format!("the old worker does not give its place: {why}"))?;
    // From here on the old one opens no port any more, so these are all.
    let mut fds = sockets.tcp_fds();
    fds.push(younger.as_fd());
    heir.tell(&Command::Take { keeps: true }, &fds).await;
    let serving = heir.expect(&Report::Serving, READY, sockets).await;
    serving.map_err(|why| format!("the new worker cannot take over: {why}"))
}

/// Puts `program` in the place of this very process and leaves it everything. Returns only if that is impossible; then nothing has changed.
pub(crate) async fn exec(supervisor: &Supervisor<'_>, program: &Path) -> io::Error {
    let left = async {
        let (ours, theirs) = channel::pair()?;
        let will = Channel::new(ours)?;
        leave(supervisor, &will).await?;
        // The messages stay in the socket when our end closes with the old program.
        Ok(theirs)
    };
    match left.await {
        Ok(end) => replace(program, end),
        Err(error) => error,
    }
}

fn replace(program: &Path, end: OwnedFd) -> io::Error {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| program.into());
    std::process::Command::new(program).arg0(name).args(args).stdin(Stdio::from(end)).exec()
}

async fn leave(supervisor: &Supervisor<'_>, will: &Channel) -> io::Result<()> {
    let sockets = &supervisor.sockets;
    will.send(&Estate::Sockets { plain: sockets.http.len() }, &sockets.fds()).await?;
    for child in supervisor.retired.iter().chain(&supervisor.serving) {
        let retired = child.retired.map(|since| since.elapsed().as_secs());
        let worker = Estate::Worker { pid: child.pid.as_raw(), retired, finished: child.finished };
        will.send(&worker, &[child.channel.end()]).await?;
    }
    will.send(&Estate::End, &sockets.tcp_fds()).await
}

/// Takes what a predecessor has left.
///
/// # Errors
/// If it is not complete.
pub(crate) async fn inherit(supervisor: &mut Supervisor<'_>, will: &Channel) -> io::Result<()> {
    let incomplete = || io::Error::other("the predecessor's estate is not complete");
    loop {
        match will.hear().await?.ok_or_else(incomplete)? {
            (Estate::Sockets { plain }, fds) => supervisor.sockets = Sockets::of(fds, plain, None)?,
            (Estate::Worker { pid, retired, finished }, mut fds) => {
                let retired = retired.map(Duration::from_secs);
                let mut child = Child::adopt(pid, fds.pop().ok_or_else(incomplete)?, retired)?;
                child.finished = finished;
                match child.retired {
                    Some(_) => supervisor.retired.push(child),
                    None => supervisor.serving = Some(child),
                }
            }
            (Estate::End, fds) => {
                supervisor.sockets.tcp = fds.into_iter().map(Into::into).collect();
                return Ok(());
            }
        }
    }
}
