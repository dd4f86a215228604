//! An instance's workers and crons: started when they are wanted, again when `teal_core::worker` says so, and ended wholly before that is
//! acknowledged.

use super::children::Children;
use crate::process::proc;
use nix::sys::signal::Signal;
use std::{
    collections::BTreeSet,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use teal_core::{
    time::Time,
    worker::{Ended, Wait, Worker},
};
use tokio::time::Instant;

/// How long a worker may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// One worker.
#[derive(Debug)]
struct Job {
    worker: Worker,
    /// Its keeper, while there is one.
    keeper: Option<i32>,
    begun: Instant,
    /// It was asked to end.
    asked: bool,
    /// When to start it (again); `None`: not before they are wanted anew.
    due: Option<(Wait, Instant)>,
    /// In a row.
    failures: u32,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Workers {
    all: Vec<Job>,
    wanted: bool,
    /// When those that were asked to end are made to.
    deadline: Option<Instant>,
    /// Those that were asked to end.
    asked: BTreeSet<i32>,
}

impl Workers {
    pub(crate) fn new(workers: &[Worker]) -> Self {
        let begun = Instant::now();
        let job = |worker: &Worker| Job {
            worker: worker.clone(),
            keeper: None,
            begun,
            asked: false,
            due: None,
            failures: 0,
        };
        Self { all: workers.iter().map(job).collect(), wanted: false, deadline: None, asked: BTreeSet::new() }
    }

    /// They shall run. Wanted already is as good: what is over stays over.
    pub(crate) fn want(&mut self) {
        self.deadline = None;
        if !self.wanted {
            self.wanted = true;
            self.all.iter_mut().for_each(Job::begin);
        }
    }

    /// They shall not: SIGTERM to all that runs below their keepers.
    pub(crate) fn unwant(&mut self) {
        self.wanted = false;
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + GRACE);
            self.asked.clear();
            self.all.iter_mut().for_each(|job| job.asked = job.keeper.is_some());
            self.ask();
        }
    }

    /// Does none run, nor will one?
    pub(crate) fn none(&self) -> bool {
        !self.wanted && self.all.iter().all(|job| job.keeper.is_none())
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
        let waiting = self.all.iter().filter(|job| self.wanted && job.keeper.is_none());
        waiting.filter_map(|job| job.due).map(|(_, at)| at).min()
    }

    /// Starts those that are due.
    pub(crate) fn start(&mut self, children: &mut Children) {
        let now = Instant::now();
        for job in &mut self.all {
            if !job.is_due(now) {
                continue;
            }
            match children.start_worker(&job.worker) {
                Ok(pid) => (job.keeper, job.begun) = (Some(pid), now),
                Err(error) => job.failed(children, &error),
            }
        }
    }

    /// Takes note that a child ended; true if it was a keeper.
    pub(crate) fn ended(&mut self, pid: i32, code: i32, children: &Children) -> bool {
        let Some(job) = self.all.iter_mut().find(|job| job.keeper == Some(pid)) else { return false };
        job.keeper = None;
        // Whoever was asked to end, and is wanted again since, has its place in `due` already.
        if self.wanted && !job.asked {
            job.ended(code, children);
        }
        job.asked = false;
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
        self.all.iter().filter_map(|job| job.keeper).flat_map(proc::living_below).collect()
    }
}

impl Job {
    fn begin(&mut self) {
        self.failures = 0;
        self.wait(self.worker.begin(wall()));
    }

    /// A cron whose time has not come yet is given the rest of its wait.
    fn is_due(&mut self, now: Instant) -> bool {
        let Some((wait, _)) = self.due.filter(|(_, at)| self.keeper.is_none() && *at <= now) else {
            return false;
        };
        let rest = wait.rest(wall());
        if rest.is_some() {
            self.wait(rest);
        }
        rest.is_none()
    }

    fn failed(&mut self, children: &Children, error: &io::Error) {
        children.note(&self.worker.stage, &format!("It cannot be started: {error}"));
        self.begun = Instant::now();
        self.ended(126, children);
    }

    fn ended(&mut self, code: i32, children: &Children) {
        let ran_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let after = self.worker.ended(Ended { code, ran_ms }, self.failures, wall());
        if let Some(words) = after.words {
            children.note(&self.worker.stage, &words);
        }
        self.failures = after.failures;
        self.wait(after.wait);
    }

    fn wait(&mut self, wait: Option<Wait>) {
        self.due = wait.map(|wait| (wait, Instant::now() + Duration::from_millis(wait.ms)));
    }
}

/// The time, for crons.
fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
