//! Behaviour 16: workers and crons never run in two environments at once, whatever happens to the app and to the server.

use crate::{at_rest, push_files, quick, until_status};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf};
use teal_core::api::Action;
use teal_e2e::{Behaviour, Host, Options, Repository, python_app, until};

/// Hand-overs with a server that stays alive.
const SWITCHES: usize = 50;
/// The first of them are pushes; then what is there already takes turns, which needs no build.
const PUSHES: usize = 10;

/// Whoever runs holds a lock: a second one finds it held and says so.
const WORKER: &str = r#"
import fcntl, os, signal, sys, time
name = os.environ["LEDGER"]
lock = open(name + ".lock", "a")
def tell(what):
    with open(name, "a") as ledger:
        ledger.write("%s %.3f %s\n" % (what, time.time(), os.environ["INSTANCE_ID"]))
def end(*_):
    tell("end")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    tell("double")
    sys.exit(3)
tell("begin")
while True:
    signal.pause()
"#;

const CRONS: &str = r#"["* * * * * echo cron $(date -u +%d%H%M) $INSTANCE_ID >> $LEDGER"]"#;

struct Stage {
    host: Host,
    repository: Repository,
    ledger: PathBuf,
}

impl Stage {
    fn new() -> Result<Self> {
        // Only where instances see the host's files one file can be everybody's witness.
        let host = Host::start(&Options { config: "runtime = \"process\"".into(), ..Options::default() })?;
        let ledger = host.path().join("ledger");
        fs::write(&ledger, "")?;
        let variables = json!({"LEDGER": ledger, "CC_WORKER_COMMAND": "exec python3 worker.py"});
        host.api().create("shop", quick(), variables)?;
        let repository = Repository::new(&host, "shop")?;
        Ok(Self { host, repository, ledger })
    }

    fn push(&self, version: &str) -> Result<()> {
        let mut files = python_app(version, &Behaviour::Good);
        files.push(("worker.py".into(), WORKER.into()));
        files.push(("clevercloud/cron.json".into(), CRONS.into()));
        let pushed = push_files(&self.repository, version, &files)?;
        assert!(pushed.ok, "{version} did not go live:\n{}", pushed.output);
        self.handed_over()
    }

    fn act(&self, action: &Action) -> Result<()> {
        let before = self.live()?;
        self.host.api().act("shop", action)?;
        until("another environment is live", || (self.live().ok()? != before).then_some(()))?;
        self.handed_over()
    }

    fn live(&self) -> Result<String> {
        let live = self.host.api().status("shop")?.live.context("nothing is live")?;
        Ok(format!("{}-0", live.environment))
    }

    fn lines(&self) -> Result<Vec<Vec<String>>> {
        let text = fs::read_to_string(&self.ledger)?;
        Ok(text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect())
    }

    /// From a worker's end to what the platform noted, and from there to the next one's begin.
    fn parts(&self, lines: &[Vec<String>]) -> Result<String> {
        let events = self.host.api().events("shop")?;
        let of = |kind: &str| -> Vec<f64> {
            let these = events.iter().filter(|event| event.kind == kind);
            these.filter_map(|event| seconds(&event.at.to_string())).collect()
        };
        let (taken, given) = (of("singletons_taken"), of("singletons_given"));
        let mut parts: [Vec<f64>; 3] = Default::default();
        for pair in lines.iter().filter(|line| line[0] != "cron").collect::<Vec<_>>().windows(2) {
            let (Ok(end), Ok(begin)) = (pair[0][1].parse::<f64>(), pair[1][1].parse::<f64>()) else {
                continue;
            };
            // Events are noted to the millisecond.
            let next = |all: &[f64], at: f64| all.iter().copied().find(|one| *one >= at - 0.002);
            let Some(took) = next(&taken, end).filter(|_| pair[0][0] == "end") else { continue };
            parts[0].push(took - end);
            parts[1].push(begin - took);
            parts[2].extend(next(&given, took).map(|gave| begin - gave));
        }
        let told = parts.iter_mut().zip(["end to noted", "noted to begin", "of that, after it was given"]);
        let told = told.map(|(all, what)| {
            all.sort_by(f64::total_cmp);
            let (median, longest) = (all.get(all.len() / 2), all.last());
            format!("{what} {:.3}, {:.3}", median.unwrap_or(&0.0), longest.unwrap_or(&0.0))
        });
        Ok(told.collect::<Vec<_>>().join("; "))
    }

    /// The worker runs where the traffic goes.
    fn handed_over(&self) -> Result<()> {
        until_status(&self.host, "shop", "at rest", at_rest)?;
        let live = self.live()?;
        until("the live environment runs the worker", || {
            let lines = self.lines().ok()?;
            let last = lines.iter().rev().find(|line| line[0] != "cron")?;
            (last[0] == "begin" && last[2] == live).then_some(())
        })
    }
}

#[test]
fn workers_and_crons_never_run_twice() -> Result<()> {
    let mut stage = Stage::new()?;
    for number in 0..PUSHES {
        stage.push(&format!("v{number}"))?;
    }
    let turns = [Action::Restart, Action::Wake, Action::Wake, Action::Wake, Action::Wake];
    for action in turns.iter().cycle().take(SWITCHES - PUSHES - 1) {
        stage.act(action)?;
    }
    stage.act(&Action::Scale { instances: 2 })?;
    stage.act(&Action::Wake)?;
    let switched = stage.lines()?;
    let gaps = judge(&switched);
    assert!(gaps.len() >= SWITCHES, "every switch is a hand-over: {gaps:?}");
    let longest = gaps[gaps.len() - 1];
    println!(
        "{} hand-overs, 0 double runs; gaps, s: median {:.3}, longest {longest:.3} (goal: at most 2)",
        gaps.len(),
        gaps[gaps.len() / 2]
    );
    println!("what they consist of, s (median, longest): {}", stage.parts(&switched)?);
    for nth in [2, 5, 8, 11, 14, 17] {
        crash(&mut stage, nth)?;
    }
    stage.push("last")?;
    until("a cron ran", || stage.lines().ok()?.iter().any(|line| line[0] == "cron").then_some(()))?;
    let all = judge(&stage.lines()?);
    println!("the longest, with the server dead in some: {:.3}", all[all.len() - 1]);
    Ok(())
}

fn seconds(at: &str) -> Option<f64> {
    let at: jiff::Timestamp = at.parse().ok()?;
    Some(at.as_millisecond() as f64 / 1_000.0)
}

/// The server dies at its `nth` step of a restart, and comes back.
fn crash(stage: &mut Stage, nth: u32) -> Result<()> {
    let before = stage.live()?;
    stage.host.kill_server()?;
    let started = stage.host.start_server(&[("TEAL_CRASH_AT", &format!("after:{nth}"))]);
    if started.is_ok() {
        // It may die before it answers.
        let _ = stage.host.api().act("shop", &Action::Restart);
        until("it crashed, or the restart is over", || {
            let over = stage.live().is_ok_and(|live| live != before);
            (stage.host.server_ended() || over).then_some(())
        })?;
        stage.host.kill_server()?;
    }
    stage.host.start_server(&[])?;
    stage.handed_over()
}

/// Nothing ran twice. Gives the gaps between one worker's end and the next one's begin, in seconds, the shortest first.
fn judge(lines: &[Vec<String>]) -> Vec<f64> {
    let told = || lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>().join("\n");
    assert!(lines.iter().all(|line| line[0] != "double"), "two workers at once:\n{}", told());
    let workers: Vec<_> = lines.iter().filter(|line| line[0] != "cron").collect();
    let at = |line: &[String]| line[1].parse::<f64>().unwrap_or_default();
    let mut gaps: Vec<f64> = Vec::new();
    for pair in workers.windows(2) {
        assert_ne!(pair[0][0], pair[1][0], "begin and end take turns:\n{}", told());
        if pair[0][0] == "end" {
            gaps.push(at(pair[1]) - at(pair[0]));
        }
    }
    gaps.sort_by(f64::total_cmp);
    let minutes: Vec<&String> = lines.iter().filter(|line| line[0] == "cron").map(|line| &line[1]).collect();
    let once: BTreeSet<_> = minutes.iter().collect();
    assert_eq!(once.len(), minutes.len(), "a cron ran twice in a minute:\n{}", told());
    gaps
}

#[test]
fn a_cron_that_means_nothing_stops_the_push_before_the_build() -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create("shop", quick(), Value::Object(serde_json::Map::new()))?;
    let repository = Repository::new(&host, "shop")?;
    let mut files = python_app("one", &Behaviour::Good);
    files.push(("clevercloud/cron.json".into(), r#"["61 * * * * x"]"#.into()));
    let pushed = push_files(&repository, "one", &files)?;
    assert!(!pushed.ok);
    assert!(pushed.output.contains("entry 1: the minute `61`"), "{}", pushed.output);
    files.pop();
    files.push(("teal.toml".into(), "[worker]\nrestart = \"perhaps\"\n".into()));
    files.push(("clevercloud/cron.json".into(), "[]".into()));
    let pushed = push_files(&repository, "two", &files)?;
    assert!(!pushed.ok && pushed.output.contains("line 2, column 11"), "{}", pushed.output);
    Ok(())
}
