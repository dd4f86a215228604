//! The wish that a build ends now, and the program that runs for it: whoever wishes ends that program. It must never signal a process that has
//! been waited for: its number may be another's by then.

use super::Error;
use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use std::{
    io,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Whether a build is to end. Clones are of one build.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Who wished it.
    by: Option<String>,
    /// The program that runs, not waited for yet.
    running: Option<Pid>,
}

impl Stop {
    /// Ends the program that runs, and lets no other begin.
    pub fn stop(&self, by: &str) {
        let mut state = self.lock();
        state.by.get_or_insert_with(|| by.to_owned());
        if let Some(program) = state.running {
            // It was not waited for, so the number is its own; that it has ended by itself is as good.
            if let Err(error) = kill(program, Signal::SIGKILL) {
                tracing::debug!(%error, "a program of a build has ended by itself");
            }
        }
    }

    /// Who wished that it ends.
    #[must_use]
    pub fn by(&self) -> Option<String> {
        self.lock().by.clone()
    }

    /// Refuses to go on once it is to end.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.by() {
            Some(by) => Err(Error::Cancelled(by)),
            None => Ok(()),
        }
    }

    /// Starts a program, unless it is to end.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut state = self.lock();
        if state.by.is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let child = command.spawn()?;
        state.running = Some(pid(&child));
        Ok(child)
    }

    /// Waits for a program that was started here.
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while let Err(Errno::EINTR) = waitid(Id::Pid(pid(child)), flags) {}
        // It has ended, and its number is still its own.
        self.lock().running = None;
        child.wait()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn the_program_that_runs_ends_and_no_other_begins() {
        let stop = Stop::default();
        let mut child = stop.spawn(Command::new("sleep").arg("1000").stdin(Stdio::null())).expect("started");
        assert!(stop.check().is_ok());
        let other = stop.clone();
        let wisher = std::thread::spawn(move || other.stop("ada"));
        assert!(!stop.wait(&mut child).expect("ends").success());
        wisher.join().expect("ends");
        assert!(stop.check().is_err_and(|error| error.to_string().contains("ada")));
        assert!(stop.spawn(&mut Command::new("true")).is_err());
        stop.stop("bob");
        assert_eq!(stop.by().as_deref(), Some("ada"), "the first has wished it");
    }
}
