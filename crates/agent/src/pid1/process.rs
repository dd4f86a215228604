//! Starting a command as the app's user.

use crate::sys;
use nix::{
    sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask},
    unistd::{Gid, Uid, setresgid, setresuid, setsid},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};
use teal_core::agent::APP_USER;

/// Starts `script` in a session of its own and returns its process id, which is also its group's.
pub(crate) fn start(
    script: &str,
    variables: &BTreeMap<String, String>,
    (output, error): (OwnedFd, OwnedFd),
) -> io::Result<i32> {
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let mut command = Command::new(shell);
    command.arg("-c").arg(script).env_clear().envs(variables);
    command.stdin(Stdio::null()).stdout(output).stderr(error);
    // SAFETY: only system calls between fork and exec; nothing allocates, and this process has one thread anyway.
    unsafe { command.pre_exec(become_app) };
    // The child is reaped with all others by whoever called; std's handle holds no descriptor that matters.
    let child = command.spawn()?;
    Ok(child.id().cast_signed())
}

/// Where an app's processes enter their group, in a virtual machine: writing `0` moves whoever writes.
static GROUP: OnceLock<File> = OnceLock::new();

/// From now on, whatever [`start`] starts is in this group.
pub(crate) fn confine_to(group: File) {
    // Set once, by the first process of a machine, before anything is started.
    let _ = GROUP.set(group);
}

/// In the child: what the agent may and the app may not ends here.
fn become_app() -> io::Result<()> {
    setsid()?;
    // The file belongs to this process only while it is dumpable; the next change of user ends that.
    sys::set_dumpable(true)?;
    // Whatever the server's own score: for want of memory the app goes first, never its agent.
    std::fs::write("/proc/self/oom_score_adj", b"300")?;
    if let Some(mut group) = GROUP.get() {
        group.write_all(b"0")?;
    }
    let (user, group) = (Uid::from_raw(APP_USER), Gid::from_raw(APP_USER));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    // As the app's user: it may have closed its directory to everyone else.
    nix::unistd::chdir(c"/app")?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    // SAFETY: restores the default for a signal that the Rust runtime ignores.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) }?;
    Ok(())
}
