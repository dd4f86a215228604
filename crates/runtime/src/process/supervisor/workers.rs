//! An instance's workers: started when they are wanted, again with growing pauses when they end, and ended wholly before that is acknowledged.

use super::children::Children;
use crate::process::proc;
use nix::sys::signal::Signal;
use std::{collections::BTreeSet, io, time::Duration};
use tokio::time::Instant;

/// How long a worker may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// The pauses before a worker is started again grow up to this, in seconds.
const MAX_PAUSE_S: u64 = 60;

/// One worker.
#[derive(Debug)]
struct Worker {
    script: String,
    /// Its keeper, while there is one.
    keeper: Option<i32>,
    begun: Instant,
    /// When to start it (again).
    due: Instant,
    pause_s: u64,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Workers {
    all: Vec<Worker>,
    wanted: bool,
    /// When those that were asked to end are made to.
    deadline: Option<Instant>,
    /// Those that were asked to end.
    asked: BTreeSet<i32>,
}

impl Workers {
    pub(crate) fn new(scripts: &[String]) -> Self {
        let now = Instant::now();
        let worker = |script: &String| Worker {
            script: script.clone(),
            keeper: None,
            begun: now,
            due: now,
            pause_s: 1,
        };
        Self {
            all: scripts.iter().map(worker).collect(),
            wanted: false,
            deadline: None,
            asked: BTreeSet::new(),
        }
    }

    /// They shall run.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
        self.deadline = None;
    }

    /// They shall not: SIGTERM to all that runs below their keepers.
    pub(crate) fn unwant(&mut self) {
        self.wanted = false;
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + GRACE);
            self.asked.clear();
            self.ask();
        }
    }

    /// Does none run, nor will one?
    pub(crate) fn none(&self) -> bool {
        !self.wanted && self.all.iter().all(|worker| worker.keeper.is_none())
    }

    /// Is one being waited for that should end?
    pub(crate) fn ending(&self) -> bool {
        !self.wanted && !self.none()
    }

    /// Asks what was born meanwhile, and ends what did not end in time.
    pub(crate) fn enforce(&mut self) {
        if !self.ending() {
            return;
        }
        self.ask();
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            self.living().into_iter().for_each(|pid| proc::signal_pid(pid, Signal::SIGKILL));
        }
    }

    /// When the next one has to be started.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.all.iter().filter(|worker| self.wanted && worker.keeper.is_none());
        waiting.map(|worker| worker.due).min()
    }

    /// Starts those that are due.
    pub(crate) fn start(&mut self, children: &mut Children) {
        let now = Instant::now();
        for worker in self.all.iter_mut().filter(|worker| worker.keeper.is_none() && worker.due <= now) {
            match children.start_worker(&worker.script) {
                Ok(pid) => (worker.keeper, worker.begun) = (Some(pid), now),
                Err(error) => worker.failed(children, &error),
            }
        }
    }

    /// Takes note that a child ended; true if it was a keeper.
    pub(crate) fn ended(&mut self, pid: i32, code: i32, children: &Children) -> bool {
        let Some(worker) = self.all.iter_mut().find(|worker| worker.keeper == Some(pid)) else {
            return false;
        };
        worker.keeper = None;
        worker.pause();
        if self.wanted {
            children.note("worker", &format!("worker ended with {code}; it starts again"));
        }
        true
    }

    /// SIGTERM, once to each.
    fn ask(&mut self) {
        for pid in self.living() {
            if self.asked.insert(pid) {
                proc::signal_pid(pid, Signal::SIGTERM);
            }
        }
    }

    /// Everything below the keepers, without themselves.
    fn living(&self) -> Vec<i32> {
        self.all.iter().filter_map(|worker| worker.keeper).flat_map(proc::living_below).collect()
    }
}

impl Worker {
    fn failed(&mut self, children: &Children, error: &io::Error) {
        children.note("worker", &format!("worker could not be started: {error}"));
        self.pause();
    }

    /// One that ran for long has earned a quick start.
    fn pause(&mut self) {
        let now = Instant::now();
        let long = now.duration_since(self.begun) > Duration::from_secs(MAX_PAUSE_S);
        self.pause_s = if long { 1 } else { self.pause_s };
        self.due = now + Duration::from_secs(self.pause_s);
        self.pause_s = (self.pause_s * 2).min(MAX_PAUSE_S);
    }
}
