//! The workers and crons: started and stopped when told, started again when `teal_core::worker` says so.

use crate::pid1::{
    keeper,
    output::{self, Outputs},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use teal_core::{
    time::Time,
    worker::{Ended, Wait, Worker},
};

/// From asking a worker to end until its tree is killed.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Job {
    worker: Worker,
    state: State,
    /// In a row.
    failures: u32,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Wanted, but not to be started again: being told to run once more changes nothing.
    Over,
    /// Started when this wait, which ends at that instant, says so.
    Waiting(Wait, Instant),
    Running {
        keeper: Pid,
        since: Instant,
    },
    /// Asked to end; killed at this instant.
    Ending {
        keeper: Pid,
        by: Instant,
    },
}

/// All workers of an instance.
#[derive(Debug)]
pub(crate) struct Workers {
    all: Vec<Job>,
}

impl Workers {
    /// None of them runs yet.
    pub(crate) fn new(workers: &[Worker]) -> Self {
        let job = |worker: &Worker| Job { worker: worker.clone(), state: State::Idle, failures: 0 };
        Self { all: workers.iter().map(job).collect() }
    }

    /// How many run, also those that are ending.
    pub(crate) fn running(&self) -> u32 {
        let runs = |w: &&Job| matches!(w.state, State::Running { .. } | State::Ending { .. });
        u32::try_from(self.all.iter().filter(runs).count()).unwrap_or(u32::MAX)
    }

    /// Starts those that do not run. One that is still ending is started again when it has ended.
    pub(crate) fn start(&mut self, now: Instant) {
        for job in &mut self.all {
            if matches!(job.state, State::Idle) {
                job.failures = 0;
                job.wait(job.worker.begin(wall()), now);
            }
        }
    }

    /// Asks all to end.
    pub(crate) fn stop(&mut self, now: Instant) {
        for job in &mut self.all {
            job.state = match job.state {
                State::Running { keeper, .. } => {
                    let _ = kill(keeper, keeper::ASK);
                    State::Ending { keeper, by: now + GRACE }
                }
                State::Ending { keeper, by } => State::Ending { keeper, by },
                State::Idle | State::Over | State::Waiting(..) => State::Idle,
            };
        }
    }

    /// Forgets those that wait to be started: the instance ends, and who still runs is ended with it.
    pub(crate) fn give_up(&mut self) {
        for job in &mut self.all {
            if let State::Waiting(..) = job.state {
                job.state = State::Idle;
            }
        }
    }

    /// A child of the agent ended; true if it was a worker's keeper. `again`: workers shall run.
    pub(crate) fn ended(
        &mut self,
        pid: Pid,
        code: i32,
        again: bool,
        outputs: &mut Outputs,
        now: Instant,
    ) -> bool {
        for job in &mut self.all {
            match job.state {
                State::Running { keeper, since } if keeper == pid && again => {
                    job.again(code, since, outputs, now);
                }
                // It was asked to end, and is wanted again since: that was no end of its own.
                State::Ending { keeper, .. } if keeper == pid && again => {
                    job.wait(job.worker.begin(wall()), now);
                }
                State::Running { keeper, .. } | State::Ending { keeper, .. } if keeper == pid => {
                    job.state = State::Idle;
                }
                _ => continue,
            }
            return true;
        }
        false
    }

    /// Starts and kills what is due.
    pub(crate) fn tick(&mut self, variables: &BTreeMap<String, String>, outputs: &mut Outputs, now: Instant) {
        for job in &mut self.all {
            match job.state {
                State::Waiting(wait, at) if at <= now => match wait.rest(wall()) {
                    Some(rest) => job.wait(Some(rest), now),
                    None => job.run(variables, outputs, now),
                },
                State::Ending { keeper, by } if by <= now => {
                    // Again each second, should a signal be lost on a process that is just being stopped.
                    let _ = kill(keeper, keeper::END);
                    job.state = State::Ending { keeper, by: now + Duration::from_secs(1) };
                }
                _ => {}
            }
        }
    }

    /// When [`Workers::tick`] has something to do next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let due = |w: &Job| match w.state {
            State::Waiting(_, at) | State::Ending { by: at, .. } => Some(at),
            State::Idle | State::Over | State::Running { .. } => None,
        };
        self.all.iter().filter_map(due).min()
    }
}

impl Job {
    fn run(&mut self, variables: &BTreeMap<String, String>, outputs: &mut Outputs, now: Instant) {
        let stage = &self.worker.stage;
        let started =
            outputs.pair(stage).and_then(|pair| Ok(keeper::start(&self.worker.script, variables, pair)?));
        match started {
            Ok(keeper) => self.state = State::Running { keeper, since: now },
            Err(error) => {
                outputs.say(stage, &format!("It cannot be started: {error}"));
                self.again(126, now, outputs, now);
            }
        }
    }

    fn again(&mut self, code: i32, since: Instant, outputs: &mut Outputs, now: Instant) {
        let ran = now.saturating_duration_since(since).as_millis();
        let end = Ended { code, ran_ms: u64::try_from(ran).unwrap_or(u64::MAX) };
        let after = self.worker.ended(end, self.failures, wall());
        if let Some(words) = after.words {
            outputs.say(&self.worker.stage, &words);
        }
        self.failures = after.failures;
        self.wait(after.wait, now);
    }

    /// `None`: it is over, until workers are stopped and started again.
    fn wait(&mut self, wait: Option<Wait>, now: Instant) {
        self.state =
            wait.map_or(State::Over, |wait| State::Waiting(wait, now + Duration::from_millis(wait.ms)));
    }
}

/// The time, for crons.
fn wall() -> Time {
    Time(output::now_ms())
}

/// Sends `signal` to every process inside but the agent.
pub(crate) fn signal_all(signal: Signal) {
    // Nobody left is as good.
    let _ = kill(Pid::from_raw(-1), signal);
}
