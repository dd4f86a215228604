//! A keeper: between the supervisor and one worker, so that nothing the worker starts can outlive it. When a keeper has ended, its worker's
//! whole tree has: that is what makes "none of them runs" true. It is never signalled itself but stopped with the rest.

use crate::process::proc;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::getpid,
};
use std::{
    env, io,
    os::unix::process::CommandExt,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

/// The worker's script.
pub(crate) const SCRIPT: &str = "TEAL_SUPERVISE_SCRIPT";

/// Between two looks at a tree that is being ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(crate) fn main() -> ExitCode {
    ExitCode::from(keep().unwrap_or(126))
}

fn keep() -> io::Result<u8> {
    let script = env::var_os(SCRIPT).ok_or(io::ErrorKind::InvalidInput)?;
    prctl::set_child_subreaper(true)?;
    let mut command = Command::new("/bin/bash");
    command
        .arg("-c")
        .arg(script)
        .env_remove(SCRIPT)
        .env_remove(super::ROLE)
        .stdin(Stdio::null())
        .process_group(0);
    let worker = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    let mut code = None;
    loop {
        let flags = code.map(|_| WaitPidFlag::WNOHANG);
        match waitpid(None, flags) {
            Ok(WaitStatus::Exited(pid, status)) if pid.as_raw() == worker => code = Some(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == worker => {
                code = Some(128 + signal as i32)
            }
            Ok(WaitStatus::StillAlive) => end_the_rest(),
            Err(Errno::ECHILD) => return Ok(u8::try_from(code.unwrap_or(0)).unwrap_or(255)),
            Ok(_) | Err(_) => {}
        }
    }
}

fn end_the_rest() {
    proc::living_below(getpid().as_raw()).into_iter().for_each(|pid| proc::signal_pid(pid, Signal::SIGKILL));
    thread::sleep(LOOK_AGAIN);
}
