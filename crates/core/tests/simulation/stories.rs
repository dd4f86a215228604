//! The table of stories: what happens, and what must have come of it when everything is at rest.

mod deploying;
mod living;

use crate::{
    driver::{Do, Driver, Script, When, fresh_rows},
    world::{Fault, Sim},
};
use teal_core::{
    deploy::{EventKind, Kind, Settings, State, Verdict},
    id::EnvironmentId,
};

pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) settings: fn(&mut Settings),
    pub(crate) script: Script,
    /// It is told by the clock: a crash may change which of its deployments come to pass, but not what is live in the end.
    pub(crate) timed: bool,
    /// As [`outcome`] puts it.
    pub(crate) expected: &'static str,
}

/// What came of a run, in one line: status, live, spare, every deployment with its verdict, refusals.
pub(crate) fn outcome(sim: &Sim, driver: &Driver<'_>) -> String {
    let inner = sim.lock();
    let Some(rows) = &inner.rows else { return "no app".into() };
    let place = |e: Option<&teal_core::deploy::Environment>| match e {
        Some(e) if e.state == State::Up => format!("{} {}", e.commit.id, e.colour.word()),
        Some(e) => format!("{} {}", e.commit.id, e.state.word()),
        None => "none".into(),
    };
    let mut all: Vec<_> = rows.deployments.iter().collect();
    all.sort_by_key(|d| d.request);
    let verdict = |v: Verdict| match v {
        Verdict::Wip => "…",
        Verdict::Ok => "",
        Verdict::Fail => "✗",
        Verdict::Cancelled => "–",
    };
    let kind = |k: Kind| match k {
        Kind::Push => "",
        Kind::Wake => "wake ",
        Kind::Redeploy => "redeploy ",
        Kind::Restart => "restart ",
        Kind::Config => "config ",
        Kind::Scale => "scale ",
        Kind::Start => "start ",
        Kind::Maintenance => "maintain ",
        Kind::Rollback => "rollback ",
    };
    let list: Vec<String> = all
        .iter()
        .map(|d| {
            format!("{}{}{}", kind(d.kind), d.commit.as_ref().map_or("?", |c| &c.id), verdict(d.verdict()))
        })
        .collect();
    let mut text = format!(
        "{}: live {}, spare {} | {}",
        rows.status(),
        place(rows.live()),
        place(rows.way_back()),
        list.join(", ")
    );
    if !driver.refusals.is_empty() {
        text += &format!(" | {:?}", driver.refusals);
    }
    text.trim_end().to_owned()
}

/// One run of a story, with at most one fault. Gives what came of it and how many calls it made.
pub(crate) fn run(story: &Story, fault: Option<Fault>, trace: bool) -> (String, u64, Vec<String>) {
    let mut settings = Settings::default();
    (story.settings)(&mut settings);
    let sim = Sim::new(fresh_rows(settings), 0);
    sim.lock().fault = fault;
    let mut driver = Driver::new(&sim, story.script.clone(), 0);
    driver.trace = trace;
    driver.run();
    let text = outcome(&sim, &driver);
    drop(driver);
    let inner = sim.lock();
    (text, inner.calls, inner.violations.clone())
}

#[test]
fn every_story_ends_as_it_must() {
    let only = std::env::var("TEAL_STORY").ok();
    let mut wrong = Vec::new();
    for story in all() {
        if only.as_ref().is_some_and(|name| !story.name.contains(name.as_str())) {
            continue;
        }
        let (text, _, violations) = run(&story, None, only.is_some());
        if text != story.expected || !violations.is_empty() {
            wrong.push(format!(
                "{}\n  expected {}\n  came     {text}\n  {violations:?}",
                story.name, story.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{} stories went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_failing_push_never_touches_what_is_live() {
    for break_it in [
        Do::Manners("b", |m| m.build_fails = true),
        Do::Manners("b", |m| m.raise_fails = true),
        Do::Manners("b", |m| m.check_fails = true),
    ] {
        let sim = Sim::new(fresh_rows(Settings::default()), 0);
        let script = vec![(When::Now, Do::Push("a")), (When::Rest, break_it), (When::Now, Do::Push("b"))];
        Driver::new(&sim, script, 0).run();
        let inner = sim.lock();
        let live: EnvironmentId = "e-1".parse().expect("legal");
        let thing = &inner.things[&live];
        let ports: Vec<u16> = thing.instances.values().map(|i| i.address.port()).collect();
        assert_eq!(
            (ports.len(), inner.things.len()),
            (1, 1),
            "only the first environment's one instance is there"
        );
        assert_eq!(inner.mails.len(), 1);
        assert_eq!(inner.mails[0].serving.as_ref().map(|s| s.commit.id.as_str()), Some("a"));
        assert!(inner.violations.is_empty(), "{:?}", inner.violations);
    }
}

#[test]
fn retention_counts_from_when_it_was_replaced() {
    let settings =
        Settings { disk_after_ms: Some(300_000), gone_after_ms: Some(3_600_000), ..Settings::default() };
    let sim = Sim::new(fresh_rows(settings), 0);
    Driver::new(&sim, ab(vec![]), 0).run();
    let inner = sim.lock();
    let first: EnvironmentId = "e-1".parse().expect("legal");
    let of = |kind: EventKind| {
        inner.events.iter().rfind(|e| e.kind == kind && e.environment.as_ref() == Some(&first))
    };
    let replaced = inner.events.iter().rfind(|e| e.kind == EventKind::WentLive).expect("b went live").at;
    for (kind, due) in [(EventKind::OnDisk, 300_000), (EventKind::Off, 900_000), (EventKind::Gone, 3_600_000)]
    {
        let late = of(kind).expect("it came to pass").at.since(replaced) - due;
        assert!(late <= 1_000, "{kind:?} came {late} ms late on a clock that nothing disturbs");
    }
}

#[test]
fn the_drain_of_the_oldest_is_cut_when_too_many_drain() {
    let story =
        living::retention().into_iter().find(|s| s.name.starts_with("many long drains")).expect("it is told");
    let mut settings = Settings::default();
    (story.settings)(&mut settings);
    let sim = Sim::new(fresh_rows(settings), 0);
    Driver::new(&sim, story.script, 0).run();
    let inner = sim.lock();
    let early = inner.events.iter().filter(|e| e.kind == EventKind::Draining && e.text.contains("too many"));
    assert!(early.count() >= 1);
}

fn no(_: &mut Settings) {}

fn tell(name: &'static str, script: Script, expected: &'static str) -> Story {
    Story { name, settings: no, script, timed: false, expected }
}

fn set(name: &'static str, settings: fn(&mut Settings), script: Script, expected: &'static str) -> Story {
    Story { name, settings, script, timed: false, expected }
}

/// Commits a and b went live one after the other: b is live, a is the spare.
fn ab(mut rest: Script) -> Script {
    let mut script = vec![(When::Now, Do::Push("a")), (When::Rest, Do::Push("b"))];
    script.append(&mut rest);
    script
}

pub(crate) fn all() -> Vec<Story> {
    let mut stories = deploying::pushes();
    stories.extend(deploying::failures());
    stories.extend(deploying::wakes());
    stories.extend(deploying::cancels());
    stories.extend(living::stops());
    stories.extend(living::upkeep());
    stories.extend(living::outages());
    stories.extend(living::retention());
    stories.extend(living::holds());
    stories.extend(living::deletions());
    stories
}
