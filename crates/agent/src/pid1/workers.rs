//! The workers: started and stopped when told, started again when they end by themselves.

use crate::pid1::{keeper, output::Outputs};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What the log calls them.
const STAGE: &str = "worker";

/// Before a worker that ended is started again; doubled each time until [`MAX_DELAY`].
const MIN_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

/// A worker that ran this long is well again.
const WELL: Duration = Duration::from_secs(60);

/// From asking a worker to end until its tree is killed.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Worker {
    script: String,
    state: State,
    delay: Duration,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Started again at this instant.
    Waiting(Instant),
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
    all: Vec<Worker>,
}

impl Workers {
    /// None of them runs yet.
    pub(crate) fn new(scripts: &[String]) -> Self {
        let worker =
            |script: &String| Worker { script: script.clone(), state: State::Idle, delay: MIN_DELAY };
        Self { all: scripts.iter().map(worker).collect() }
    }

    /// How many run, also those that are ending.
    pub(crate) fn running(&self) -> u32 {
        let runs = |w: &&Worker| matches!(w.state, State::Running { .. } | State::Ending { .. });
        u32::try_from(self.all.iter().filter(runs).count()).unwrap_or(u32::MAX)
    }

    /// Starts those that do not run. One that is still ending is started again when it has ended.
    pub(crate) fn start(&mut self, now: Instant) {
        for worker in &mut self.all {
            if matches!(worker.state, State::Idle) {
                worker.state = State::Waiting(now);
                worker.delay = MIN_DELAY;
            }
        }
    }

    /// Asks all to end.
    pub(crate) fn stop(&mut self, now: Instant) {
        for worker in &mut self.all {
            worker.state = match worker.state {
                State::Running { keeper, .. } => {
                    let _ = kill(keeper, keeper::ASK);
                    State::Ending { keeper, by: now + GRACE }
                }
                State::Ending { keeper, by } => State::Ending { keeper, by },
                State::Idle | State::Waiting(_) => State::Idle,
            };
        }
    }

    /// Forgets those that wait to be started: the instance ends, and who still runs is ended with it.
    pub(crate) fn give_up(&mut self) {
        for worker in &mut self.all {
            if let State::Waiting(_) = worker.state {
                worker.state = State::Idle;
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
        for worker in &mut self.all {
            let since = match worker.state {
                State::Running { keeper, since } if keeper == pid => since,
                State::Ending { keeper, .. } if keeper == pid => now,
                _ => continue,
            };
            if again {
                worker.again(code, since, outputs, now);
            } else {
                worker.state = State::Idle;
            }
            return true;
        }
        false
    }

    /// Starts and kills what is due.
    pub(crate) fn tick(&mut self, variables: &BTreeMap<String, String>, outputs: &mut Outputs, now: Instant) {
        for worker in &mut self.all {
            match worker.state {
                State::Waiting(at) if at <= now => worker.run(variables, outputs, now),
                State::Ending { keeper, by } if by <= now => {
                    // Again each second, should a signal be lost on a process that is just being stopped.
                    let _ = kill(keeper, keeper::END);
                    worker.state = State::Ending { keeper, by: now + Duration::from_secs(1) };
                }
                _ => {}
            }
        }
    }

    /// When [`Workers::tick`] has something to do next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let due = |w: &Worker| match w.state {
            State::Waiting(at) | State::Ending { by: at, .. } => Some(at),
            State::Idle | State::Running { .. } => None,
        };
        self.all.iter().filter_map(due).min()
    }
}

impl Worker {
    fn run(&mut self, variables: &BTreeMap<String, String>, outputs: &mut Outputs, now: Instant) {
        let started = outputs.pair(STAGE).and_then(|pair| Ok(keeper::start(&self.script, variables, pair)?));
        match started {
            Ok(keeper) => self.state = State::Running { keeper, since: now },
            Err(error) => {
                outputs.say(STAGE, &format!("The worker cannot be started: {error}"));
                self.wait(now);
            }
        }
    }

    fn again(&mut self, code: i32, since: Instant, outputs: &mut Outputs, now: Instant) {
        if now.saturating_duration_since(since) >= WELL {
            self.delay = MIN_DELAY;
        }
        let seconds = self.delay.as_secs();
        outputs
            .say(STAGE, &format!("The worker ended with exit code {code}; it starts again in {seconds} s"));
        self.wait(now);
    }

    fn wait(&mut self, now: Instant) {
        self.state = State::Waiting(now + self.delay);
        self.delay = (self.delay * 2).min(MAX_DELAY);
    }
}

/// Sends `signal` to every process inside but the agent.
pub(crate) fn signal_all(signal: Signal) {
    // Nobody left is as good.
    let _ = kill(Pid::from_raw(-1), signal);
}
