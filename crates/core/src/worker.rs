//! Workers and crons: what runs beside an app in one colour only, and when it is started (again).
//!
//! Every runtime's supervisor asks here, so that a worker lives by the same rules in a sandbox, a machine and a process. Pure: whoever asks
//! brings the time. Whether they run at all is not decided here: the deployment machine says who has them.

use crate::{cron::Schedule, time::Time};
use serde::{Deserialize, Serialize};

/// What the log calls a worker.
pub const WORKER: &str = "worker";
/// What the log calls a cron.
pub const CRON: &str = "cron";

/// The pause before a worker that ended is started again, unless its app says another one.
pub const DELAY_S: u32 = 1;
/// The longest pause that an app may ask for.
pub const MAX_DELAY_S: u32 = 3_600;

/// A pause is never shorter: a worker that ends at once must not eat a processor.
const MIN_PAUSE_MS: u64 = 100;
/// The pause grows up to this while a worker fails again and again.
const MAX_PAUSE_MS: u64 = 60_000;
/// A worker that ran this long is well again.
const WELL_MS: u64 = 60_000;
/// A cron's clock is looked at this often at least: it may be set meanwhile.
const LOOK_MS: u64 = 30_000;

/// What runs beside the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form")]
pub struct Worker {
    /// What the log calls it.
    pub stage: String,
    /// Given to the shell.
    pub script: String,
    /// When it is started.
    pub rule: Rule,
}

/// When a worker is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Rule {
    /// At once, and again when it ended.
    Lasting {
        /// After which ends.
        restart: Restart,
        /// The pause before, in seconds.
        delay_s: u32,
    },
    /// At these times. One that still runs is not started a second time.
    Timed {
        /// Which.
        schedule: Schedule,
    },
}

/// After which ends a worker is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// After every one.
    Always,
    /// Unless its exit code was 0.
    #[default]
    OnFailure,
    /// Never.
    No,
}

impl Restart {
    /// What users write.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "always" => Some(Self::Always),
            "on-failure" => Some(Self::OnFailure),
            "no" => Some(Self::No),
            _ => None,
        }
    }
}

/// As it is stored; before there were rules a worker was its script alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Script(String),
    Whole { stage: String, script: String, rule: Rule },
}

impl From<Form> for Worker {
    fn from(form: Form) -> Self {
        match form {
            Form::Script(script) => Self::from(script),
            Form::Whole { stage, script, rule } => Self { stage, script, rule },
        }
    }
}

impl From<String> for Worker {
    fn from(script: String) -> Self {
        let rule = Rule::Lasting { restart: Restart::default(), delay_s: DELAY_S };
        Self { stage: WORKER.to_owned(), script, rule }
    }
}

impl From<&str> for Worker {
    fn from(script: &str) -> Self {
        Self::from(script.to_owned())
    }
}

/// How long to wait before a worker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// In milliseconds.
    pub ms: u64,
    /// By the wall clock, for a cron: after the wait, [`Wait::rest`] says whether it has come.
    pub due: Option<Time>,
}

impl Wait {
    fn until(due: Time, now: Time) -> Self {
        Self { ms: due.since(now).min(LOOK_MS), due: Some(due) }
    }

    /// What is left to wait when the wait is over; `None`: it is time.
    #[must_use]
    pub fn rest(&self, now: Time) -> Option<Self> {
        self.due.filter(|due| *due > now).map(|due| Self::until(due, now))
    }
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; 128 + n for signal n.
    pub code: i32,
    /// How long it had run, in milliseconds.
    pub ran_ms: u64,
}

/// What comes after an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// How long to wait; `None`: it is not started again.
    pub wait: Option<Wait>,
    /// Failures in a row, for the next end.
    pub failures: u32,
    /// What the log says of it, if it says anything.
    pub words: Option<String>,
}

impl Worker {
    /// How long to wait when it is told to run; `None`: its schedule has no next time.
    #[must_use]
    pub fn begin(&self, now: Time) -> Option<Wait> {
        match &self.rule {
            Rule::Lasting { .. } => Some(Wait { ms: 0, due: None }),
            Rule::Timed { schedule } => {
                let next = schedule.next_after(now.0 / 1_000)?;
                Some(Wait::until(Time(next.saturating_mul(1_000)), now))
            }
        }
    }

    /// What comes after it ended by itself, having failed so often in a row before.
    #[must_use]
    pub fn ended(&self, end: Ended, failures: u32, now: Time) -> After {
        let failed = end.code != 0;
        match &self.rule {
            Rule::Timed { .. } => After {
                wait: self.begin(now),
                failures: 0,
                words: failed.then(|| format!("The cron ended with exit code {}", end.code)),
            },
            Rule::Lasting { restart, delay_s } => {
                let before = if end.ran_ms >= WELL_MS { 0 } else { failures };
                let again = match restart {
                    Restart::Always => true,
                    Restart::OnFailure => failed,
                    Restart::No => false,
                };
                let ms = pause_ms(*delay_s, if failed { before } else { 0 });
                let what = if again { format!("starts again in {} s", ms / 1_000) } else { stays(*restart) };
                After {
                    wait: again.then_some(Wait { ms, due: None }),
                    failures: if failed { before.saturating_add(1) } else { 0 },
                    words: Some(format!("The worker ended with exit code {}; it {what}", end.code)),
                }
            }
        }
    }
}

fn stays(restart: Restart) -> String {
    let word = if restart == Restart::No { "no" } else { "on-failure" };
    format!("is not started again (CC_WORKER_RESTART is {word})")
}

/// The pause before the next start after so many failures in a row before this end: doubled each time up to a minute, never less than
/// was asked for.
fn pause_ms(delay_s: u32, failures: u32) -> u64 {
    let asked = (u64::from(delay_s) * 1_000).max(MIN_PAUSE_MS);
    let grown = asked.max(1_000) << failures.min(6);
    if failures == 0 { asked } else { grown.min(MAX_PAUSE_MS).max(asked) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(restart: Restart, delay_s: u32) -> Worker {
        Worker { rule: Rule::Lasting { restart, delay_s }, ..Worker::from("work") }
    }

    fn pauses(worker: &Worker, ends: &[(i32, u64)]) -> Vec<Option<u64>> {
        let mut failures = 0;
        let pause = |(code, ran_ms): &(i32, u64)| {
            let after = worker.ended(Ended { code: *code, ran_ms: *ran_ms }, failures, Time(0));
            failures = after.failures;
            after.wait.map(|wait| wait.ms)
        };
        ends.iter().map(pause).collect()
    }

    #[test]
    fn the_rule_says_after_which_ends_a_worker_starts_again() {
        let of = |restart| pauses(&lasting(restart, 1), &[(0, 0), (1, 0), (143, 0)]);
        assert_eq!(of(Restart::Always), [Some(1_000), Some(1_000), Some(2_000)]);
        assert_eq!(of(Restart::OnFailure), [None, Some(1_000), Some(2_000)]);
        assert_eq!(of(Restart::No), [None, None, None]);
    }

    #[test]
    fn failures_in_a_row_cost_more_each_time_and_a_clean_end_never_does() {
        let worker = lasting(Restart::Always, 5);
        let failing = pauses(&worker, &[(1, 0); 6]);
        assert_eq!(failing, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000].map(Some));
        assert_eq!(pauses(&worker, &[(0, 0); 3]), [Some(5_000); 3]);
        assert_eq!(
            pauses(&worker, &[(1, 0), (1, 0), (1, WELL_MS), (1, 0)])[2..],
            [Some(5_000), Some(10_000)]
        );
        assert_eq!(pauses(&lasting(Restart::Always, 300), &[(1, 0); 2]), [Some(300_000); 2]);
        assert_eq!(pauses(&lasting(Restart::Always, 0), &[(1, 0); 3]), [Some(100), Some(2_000), Some(4_000)]);
    }

    #[test]
    fn a_cron_waits_for_its_minute_by_the_wall_clock() {
        let schedule = "* * * * *".parse().expect("understood");
        let cron = Worker { stage: CRON.into(), script: "x".into(), rule: Rule::Timed { schedule } };
        let wait = cron.begin(Time(61_500)).expect("comes");
        assert_eq!(wait, Wait { ms: 30_000, due: Some(Time(120_000)) });
        assert_eq!(wait.rest(Time(91_500)), Some(Wait { ms: 28_500, due: Some(Time(120_000)) }));
        assert_eq!(wait.rest(Time(120_000)), None);
        let after = cron.ended(Ended { code: 0, ran_ms: 90_000 }, 0, Time(210_000));
        assert_eq!(
            after.wait.and_then(|wait| wait.due),
            Some(Time(240_000)),
            "the one that it missed is not made up for"
        );
        assert_eq!(after.words, None);
    }

    #[test]
    fn a_worker_of_an_older_server_is_its_script() {
        let old: Worker = serde_json::from_str("\"work\"").expect("parses");
        assert_eq!(old, Worker::from("work"));
        let json = serde_json::to_string(&old).expect("serialises");
        assert_eq!(serde_json::from_str::<Worker>(&json).expect("parses"), old);
    }
}
