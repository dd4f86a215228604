//! The table of stories: what happens, and what must have come of it when everything is at rest.

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
    let story = retention().into_iter().find(|s| s.name.starts_with("many long drains")).expect("it is told");
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
    let mut stories = pushes();
    stories.extend(failures());
    stories.extend(wakes());
    stories.extend(cancels());
    stories.extend(stops());
    stories.extend(upkeep());
    stories.extend(outages());
    stories.extend(retention());
    stories.extend(holds());
    stories.extend(deletions());
    stories
}

fn pushes() -> Vec<Story> {
    use Do::{Config, Manners, Push, Redeploy, Restart};
    use When::{After, In, Now, Rest};
    vec![
        tell("a first push", vec![(Now, Push("a"))], "running: live a blue, spare none | a"),
        tell("two pushes", ab(vec![]), "running: live b green, spare a off | a, b"),
        tell(
            "a third push keeps only one spare",
            ab(vec![(Rest, Push("c"))]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "a push while another builds waits",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Push("d"))]),
            "running: live d green, spare c off | a, b, c, d",
        ),
        tell(
            "the newest of three waiting wins",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Push("d")), (Now, Push("e"))]),
            "running: live e green, spare c off | a, b, c, d–, e",
        ),
        tell(
            "a built push takes the place of one that still is checked",
            ab(vec![
                (Rest, Manners("c", |m| m.check_hangs = true)),
                (Now, Push("c")),
                (In("c", "checking"), Push("d")),
            ]),
            "running: live d blue, spare b off | a, b, c–, d",
        ),
        tell(
            "nobody waits for a bake to fix a bug",
            ab(vec![(In("b", "live"), Push("c")), (In("c", "live"), Push("d"))]),
            "running: live d green, spare c off | a, b, c, d",
        ),
        set(
            "cancel on push ends a running build",
            |s| s.cancel_on_push = true,
            ab(vec![(Rest, Push("c")), (In("c", "building"), Push("d"))]),
            "running: live d blue, spare b off | a, b, c–, d",
        ),
        Story {
            name: "80 quick pushes",
            settings: no,
            timed: true,
            script: (0..80).map(|n| (After(if n == 0 { 0 } else { 700 }), Push(LETTERS[n % 20]))).collect(),
            expected: "running: live t blue, spare l off | a, b–, c–, d–, e–, f–, g–, h–, i–, j–, k–, l–, m–, n–, o, p–, q–, r–, s–, t–, a–, b–, c–, d–, e–, f–, g–, h–, i, j–, k–, l–, m–, n–, o–, p–, q–, r–, s–, t–, a–, b–, c, d–, e–, f–, g–, h–, i–, j–, k–, l–, m–, n–, o–, p–, q–, r, s–, t–, a–, b–, c–, d–, e–, f–, g–, h–, i–, j–, k–, l, m–, n–, o–, p–, q–, r–, s–, t",
        },
        tell(
            "redeploy an older commit",
            ab(vec![(Rest, Push("c")), (Rest, Redeploy("a"))]),
            "running: live a green, spare c off | a, b, c, redeploy a",
        ),
        tell(
            "redeploy ends a build, a later push lands after it",
            ab(vec![
                (Rest, Push("c")),
                (In("c", "building"), Redeploy("a")),
                (In("a", "starting"), Push("d")),
            ]),
            "running: live d green, spare a off | a, b, c–, redeploy a, d",
        ),
        tell(
            "the same commit again",
            ab(vec![(Rest, Push("b"))]),
            "running: live b blue, spare a off | a, b, b",
        ),
        tell(
            "variables and a push are one deployment each way",
            ab(vec![(Rest, Config), (Now, Push("c"))]),
            "running: live c green, spare b off | a, b, config b, c",
        ),
        tell(
            "variables behind a build",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Config)]),
            "running: live c green, spare b off | a, b, c, config c",
        ),
        tell(
            "variables between two pushes",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Config), (Now, Push("d"))]),
            "running: live d green, spare c off | a, b, c, config ?–, d",
        ),
        tell(
            "restart behind a push acts on the new commit",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Restart)]),
            "running: live c green, spare b off | a, b, c, restart c",
        ),
    ]
}

const LETTERS: [&str; 20] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

fn failures() -> Vec<Story> {
    use Do::{Kill, Manners, Push};
    use When::{After, In, Now, Rest};
    vec![
        tell(
            "a first build fails",
            vec![(Now, Manners("a", |m| m.build_fails = true)), (Now, Push("a"))],
            "start-failed: live none, spare none | a✗",
        ),
        tell(
            "a first start fails",
            vec![(Now, Manners("a", |m| m.raise_fails = true)), (Now, Push("a"))],
            "start-failed: live none, spare none | a✗",
        ),
        tell(
            "a first check fails",
            vec![(Now, Manners("a", |m| m.check_fails = true)), (Now, Push("a"))],
            "start-failed: live none, spare none | a✗",
        ),
        tell(
            "a build fails",
            ab(vec![(Rest, Manners("c", |m| m.build_fails = true)), (Now, Push("c"))]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        tell(
            "a build hangs",
            ab(vec![(Rest, Manners("c", |m| m.build_hangs = true)), (Now, Push("c"))]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        tell(
            "a start fails",
            ab(vec![(Rest, Manners("c", |m| m.raise_fails = true)), (Now, Push("c"))]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        tell(
            "a check fails",
            ab(vec![(Rest, Manners("c", |m| m.check_fails = true)), (Now, Push("c"))]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        tell(
            "a check hangs",
            ab(vec![(Rest, Manners("c", |m| m.check_hangs = true)), (Now, Push("c"))]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        tell(
            "a candidate exits in its check",
            ab(vec![
                (Rest, Manners("c", |m| m.check_hangs = true)),
                (Now, Push("c")),
                (In("c", "checking"), Kill("c", 0)),
            ]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        tell(
            "a bake fails",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Manners("c", |m| m.sick = true))]),
            "restart-failed: live b green, spare a off | a, b, c✗, rollback b",
        ),
        tell(
            "a bake fails late",
            ab(vec![
                (Rest, Push("c")),
                (In("c", "live"), Do::Nothing),
                (After(58_000), Manners("c", |m| m.sick = true)),
            ]),
            "restart-failed: live b green, spare a off | a, b, c✗, rollback b",
        ),
        tell(
            "an instance exits in the bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Kill("c", 0))]),
            "restart-failed: live b green, spare a off | a, b, c✗, rollback b",
        ),
        tell(
            "a fix after a failed bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Kill("c", 0)), (Rest, Push("d"))]),
            "running: live d blue, spare b off | a, b, c✗, rollback b, d",
        ),
        tell(
            "a fix that is under way when the bake fails",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Push("d")), (In("d", "building"), Kill("c", 0))]),
            "running: live d blue, spare b off | a, b, c✗, d, rollback b",
        ),
        tell(
            "both are broken in the bake: traffic stays",
            ab(vec![
                (Rest, Push("c")),
                (In("c", "live"), Manners("b", |m| m.repair_fails = true)),
                (Now, Kill("b", 0)),
                (After(3_000), Manners("c", |m| m.sick = true)),
                (After(200_000), Manners("c", |m| m.sick = false)),
                (Rest, Do::Nothing),
            ]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "both are broken, then the standby is back: production returns",
            ab(vec![
                (Rest, Push("c")),
                (In("c", "live"), Manners("b", |m| m.repair_fails = true)),
                (Now, Kill("b", 0)),
                (After(3_000), Manners("c", |m| m.sick = true)),
                (After(100_000), Manners("b", |m| m.repair_fails = false)),
            ]),
            "restart-failed: live b green, spare a off | a, b, c✗, rollback b",
        ),
    ]
}

fn wakes() -> Vec<Story> {
    use Do::{Cancel, Kill, Manners, Push, Restart, Wake};
    use When::{In, Is, Now, Rest};
    vec![
        tell("back", ab(vec![(Is("a", "memory"), Wake)]), "running: live a blue, spare b off | a, b, wake a"),
        tell(
            "back from off",
            ab(vec![(Is("a", "off"), Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "back while the spare drains",
            ab(vec![(Now, Manners("a", |m| m.streams_ms = 120_000)), (Is("a", "draining"), Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "back twice",
            ab(vec![(Rest, Wake), (Rest, Wake)]),
            "running: live b green, spare a off | a, b, wake a, wake b",
        ),
        tell(
            "back, then a push",
            ab(vec![(Rest, Wake), (Rest, Push("c"))]),
            "running: live c green, spare a off | a, b, wake a, c",
        ),
        tell(
            "two clicks are one",
            ab(vec![(Rest, Wake), (Now, Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "a wake whose start breaks",
            ab(vec![(Rest, Manners("a", |m| m.raise_fails = true)), (Now, Wake)]),
            "restart-failed: live b green, spare a off | a, b, wake a✗",
        ),
        tell(
            "a wake whose check breaks",
            ab(vec![(Rest, Manners("a", |m| m.check_fails = true)), (Now, Wake)]),
            "restart-failed: live b green, spare a off | a, b, wake a✗",
        ),
        tell(
            "a wake that breaks in its bake",
            ab(vec![(Rest, Wake), (In("a", "live"), Kill("a", 0))]),
            "restart-failed: live b green, spare a off | a, b, wake a✗, rollback b",
        ),
        tell(
            "a wake that is cancelled",
            ab(vec![(Is("a", "memory"), Wake), (In("a", "starting"), Cancel)]),
            "running: live b green, spare a off | a, b, wake a–",
        ),
        tell(
            "a wake that is cancelled in its bake",
            ab(vec![(Is("a", "memory"), Wake), (In("a", "live"), Cancel)]),
            "running: live b green, spare a off | a, b, wake a–",
        ),
        tell(
            "a push during a wake lands after it",
            ab(vec![(Rest, Wake), (In("a", "starting"), Push("c"))]),
            "running: live c green, spare a off | a, b, wake a, c",
        ),
        tell(
            "back while building",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Wake)]),
            "running: live a blue, spare b off | a, b, c–, wake a",
        ),
        tell(
            "back while starting",
            ab(vec![(Rest, Push("c")), (In("c", "starting"), Wake)]),
            "running: live a blue, spare b off | a, b, c–, wake a",
        ),
        tell(
            "back inside a bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Wake)]),
            "running: live b green, spare c off | a, b, c, wake b",
        ),
        tell(
            "back inside a bake that breaks meanwhile",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Wake), (Now, Kill("c", 0))]),
            "restart-failed: live b green, spare a off | a, b, c✗, wake b–, rollback b",
        ),
        tell(
            "back inside the bake of a restart",
            ab(vec![(Rest, Restart), (In("b", "live"), Wake)]),
            "running: live a green, spare b off | a, b, restart b, wake a",
        ),
        tell(
            "no way back",
            vec![(Now, Push("a")), (Rest, Wake)],
            "running: live a blue, spare none | a | [NoSpare]",
        ),
        tell(
            "start last pushed commit after a first failure",
            vec![
                (Now, Manners("a", |m| m.check_fails = true)),
                (Now, Push("a")),
                (Rest, Manners("a", |m| m.check_fails = false)),
                (Now, Wake),
            ],
            "running: live a blue, spare none | a✗, start a",
        ),
        tell(
            "nothing was ever pushed",
            vec![(Now, Wake)],
            "stopped: live none, spare none |  | [NothingPushed]",
        ),
    ]
}

fn cancels() -> Vec<Story> {
    use Do::{Cancel, Kill, Manners, Push};
    use When::{In, Now, Rest};
    vec![
        tell(
            "cancel while queued",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Push("d")), (In("d", "queued"), Cancel)]),
            "running: live c blue, spare b off | a, b, c, d–",
        ),
        tell(
            "cancel while building",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Cancel)]),
            "running: live b green, spare a off | a, b, c–",
        ),
        tell(
            "cancel while starting",
            ab(vec![(Rest, Push("c")), (In("c", "starting"), Cancel)]),
            "running: live b green, spare a off | a, b, c–",
        ),
        tell(
            "cancel while checking",
            ab(vec![(Rest, Push("c")), (In("c", "checking"), Cancel)]),
            "running: live b green, spare a off | a, b, c–",
        ),
        tell(
            "cancel inside the bake goes back at once",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Cancel)]),
            "running: live b green, spare a off | a, b, c–",
        ),
        tell(
            "cancel inside the bake with a broken standby",
            ab(vec![
                (Rest, Push("c")),
                (In("c", "live"), Manners("b", |m| m.repair_fails = true)),
                (Now, Kill("b", 0)),
                (When::After(3_000), Cancel),
            ]),
            "running: live c blue, spare b off | a, b, c | [StandbyBroken]",
        ),
        tell(
            "cancel after the bake",
            ab(vec![(Rest, Push("c")), (Rest, Cancel)]),
            "running: live c blue, spare b off | a, b, c | [AlreadyLive]",
        ),
        tell(
            "cancel the first one",
            vec![(Now, Push("a")), (In("a", "building"), Cancel)],
            "stopped: live none, spare none | a–",
        ),
        tell(
            "cancel, then push again",
            ab(vec![(Rest, Push("c")), (In("c", "checking"), Cancel), (Now, Push("d"))]),
            "running: live d blue, spare b off | a, b, c–, d",
        ),
    ]
}

fn stops() -> Vec<Story> {
    use Do::{Config, Manners, Push, Restart, Scale, Start, Stop, Wake};
    use When::{In, Now, Rest};
    vec![
        tell("stop", ab(vec![(Rest, Stop)]), "stopped: live b off, spare a off | a, b"),
        tell(
            "stop and start",
            ab(vec![(Rest, Stop), (Rest, Start)]),
            "running: live b green, spare a off | a, b, start b",
        ),
        tell(
            "stop and start at once",
            ab(vec![(Rest, Stop), (Now, Start)]),
            "running: live b green, spare a off | a, b, start b",
        ),
        tell(
            "stop twice, start twice",
            ab(vec![(Rest, Stop), (Now, Stop), (Rest, Start), (Rest, Start)]),
            "running: live b green, spare a off | a, b, start b | [AlreadyStopped, AlreadyRunning]",
        ),
        tell(
            "a start that fails",
            ab(vec![(Rest, Stop), (Rest, Manners("b", |m| m.check_fails = true)), (Now, Start)]),
            "start-failed: live b off, spare a off | a, b, start b✗",
        ),
        tell(
            "a start that fails, and again",
            ab(vec![
                (Rest, Stop),
                (Rest, Manners("b", |m| m.check_fails = true)),
                (Now, Start),
                (Rest, Manners("b", |m| m.check_fails = false)),
                (Now, Start),
            ]),
            "running: live b green, spare a off | a, b, start b✗, start b",
        ),
        tell(
            "variables change while it is stopped",
            ab(vec![(Rest, Stop), (Rest, Config), (Rest, Start)]),
            "running: live b blue, spare a off | a, b, start b",
        ),
        tell(
            "scaled while it is stopped",
            ab(vec![(Rest, Stop), (Rest, Scale(2)), (Rest, Start)]),
            "running: live b blue, spare a off | a, b, start b",
        ),
        tell(
            "a restart of a stopped app is refused",
            ab(vec![(Rest, Stop), (Rest, Restart)]),
            "stopped: live b off, spare a off | a, b | [AppStopped]",
        ),
        tell(
            "stop while building",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Stop)]),
            "stopped: live b off, spare a off | a, b, c–",
        ),
        tell(
            "stop while checking",
            ab(vec![(Rest, Push("c")), (In("c", "checking"), Stop)]),
            "stopped: live b off, spare a off | a, b, c–",
        ),
        tell(
            "stop inside a bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Stop)]),
            "stopped: live c off, spare b off | a, b, c",
        ),
        tell(
            "stop inside a bake, then start",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Stop), (Rest, Start)]),
            "running: live c blue, spare b off | a, b, c, start c",
        ),
        tell(
            "stop the first one",
            vec![(Now, Push("a")), (In("a", "building"), Stop)],
            "stopped: live none, spare none | a–",
        ),
        tell(
            "a push to a stopped app starts it",
            ab(vec![(Rest, Stop), (Rest, Push("c"))]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "a failing push to a stopped app leaves it stopped",
            ab(vec![(Rest, Stop), (Rest, Manners("c", |m| m.check_fails = true)), (Now, Push("c"))]),
            "start-failed: live b off, spare a off | a, b, c✗",
        ),
        tell(
            "stop a start",
            ab(vec![(Rest, Stop), (Rest, Start), (In("b", "starting"), Stop)]),
            "stopped: live b off, spare a off | a, b, start b–",
        ),
        tell(
            "start last pushed commit of a stopped app",
            ab(vec![(Rest, Stop), (Rest, Wake)]),
            "running: live b green, spare a off | a, b, start b",
        ),
        tell(
            "start last pushed commit of an app that went back and was stopped",
            ab(vec![(Rest, Wake), (Rest, Stop), (Rest, Wake)]),
            "running: live b green, spare a off | a, b, wake a, wake b",
        ),
        tell("nothing to stop", vec![(Now, Stop)], "stopped: live none, spare none |  | [NothingLive]"),
        tell("nothing to start", vec![(Now, Start)], "stopped: live none, spare none |  | [NothingPushed]"),
    ]
}

fn upkeep() -> Vec<Story> {
    use Do::{Config, Kill, Maintain, Manners, Push, Restart, Scale, Set, Wake};
    use When::{In, Is, Now, Rest};
    vec![
        tell(
            "restart keeps the spare of the other commit",
            ab(vec![(Rest, Restart)]),
            "running: live b blue, spare a off | a, b, restart b",
        ),
        tell(
            "restart, then back",
            ab(vec![(Rest, Restart), (Rest, Wake)]),
            "running: live a green, spare b off | a, b, restart b, wake a",
        ),
        tell(
            "a restart that fails",
            ab(vec![(Rest, Manners("b", |m| m.check_fails = true)), (Now, Restart)]),
            "restart-failed: live b green, spare a off | a, b, restart b✗",
        ),
        tell(
            "restart after a revert runs the reverted commit",
            ab(vec![(Rest, Wake), (Rest, Restart)]),
            "running: live a green, spare b off | a, b, wake a, restart a",
        ),
        tell(
            "restart inside a bake waits",
            ab(vec![(In("b", "live"), Restart)]),
            "running: live b blue, spare a off | a, b, restart b",
        ),
        tell(
            "restart inside a bake that fails",
            ab(vec![(In("b", "live"), Restart), (Now, Kill("b", 0))]),
            "running: live a green, spare none | a, b✗, restart a, rollback a",
        ),
        tell("variables", ab(vec![(Rest, Config)]), "running: live b blue, spare a off | a, b, config b"),
        tell("scale up", ab(vec![(Rest, Scale(3))]), "running: live b blue, spare a off | a, b, scale b"),
        tell(
            "scale up, kill one",
            ab(vec![(Rest, Scale(3)), (Rest, Kill("b", 1)), (Rest, Do::Nothing)]),
            "running: live b blue, spare a off | a, b, scale b",
        ),
        tell(
            "scale to nothing is refused",
            ab(vec![(Rest, Scale(0))]),
            "running: live b green, spare a off | a, b | [BadCount]",
        ),
        tell(
            "a restart of nothing is refused",
            vec![(Now, Restart)],
            "stopped: live none, spare none |  | [NothingLive]",
        ),
        tell(
            "maintenance",
            ab(vec![(Rest, Maintain("img-2"))]),
            "running: live b blue, spare a off | a, b, maintain b",
        ),
        tell(
            "maintenance on the same image",
            ab(vec![(Rest, Maintain("img-1"))]),
            "running: live b green, spare a off | a, b | [SameImage]",
        ),
        tell(
            "maintenance keeps the way back",
            ab(vec![(Rest, Maintain("img-2")), (Rest, Wake)]),
            "running: live a green, spare b off | a, b, maintain b, wake a",
        ),
        tell(
            "maintenance after a revert",
            ab(vec![(Rest, Wake), (Rest, Maintain("img-2"))]),
            "running: live a green, spare b off | a, b, wake a, maintain a",
        ),
        tell(
            "maintenance before a revert",
            ab(vec![(Rest, Maintain("img-2")), (In("b", "building"), Wake)]),
            "running: live a blue, spare b off | a, b, maintain b–, wake a",
        ),
        tell(
            "maintenance behind a push",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Maintain("img-2"))]),
            "running: live c green, spare b off | a, b, c, maintain c",
        ),
        tell(
            "maintenance yields to a push",
            ab(vec![(Rest, Maintain("img-2")), (In("b", "checking"), Push("c"))]),
            "running: live c blue, spare b off | a, b, maintain b–, c",
        ),
        tell(
            "maintenance that fails",
            ab(vec![(Rest, Manners("b", |m| m.check_fails = true)), (Now, Maintain("img-2"))]),
            "restart-failed: live b green, spare a off | a, b, maintain b✗",
        ),
        tell(
            "an instance dies",
            ab(vec![(Rest, Kill("b", 0)), (Rest, Do::Nothing)]),
            "running: live b green, spare a off | a, b",
        ),
        tell(
            "an instance dies again and again",
            ab(vec![
                (Rest, Kill("b", 0)),
                (Rest, Kill("b", 0)),
                (Rest, Kill("b", 0)),
                (Rest, Kill("b", 0)),
                (Rest, Do::Nothing),
            ]),
            "running: live b green, spare a off | a, b",
        ),
        tell(
            "an instance dies and cannot be restarted for a while",
            ab(vec![
                (Rest, Manners("b", |m| m.repair_fails = true)),
                (Now, Kill("b", 0)),
                (When::After(300_000), Manners("b", |m| m.repair_fails = false)),
                (Rest, Do::Nothing),
            ]),
            "running: live b green, spare a off | a, b",
        ),
        tell(
            "a dead app is fixed by a push",
            ab(vec![
                (Rest, Manners("b", |m| m.repair_fails = true)),
                (Now, Kill("b", 0)),
                (When::After(10_000), Push("c")),
            ]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "a dead app is fixed by going back",
            ab(vec![
                (Rest, Manners("b", |m| m.repair_fails = true)),
                (Now, Kill("b", 0)),
                (When::After(10_000), Wake),
            ]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "a sleeping instance dies",
            ab(vec![(Is("a", "memory"), Kill("a", 0)), (Now, Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "settings change",
            ab(vec![(Rest, Set(|s| s.bake_ms = 5_000)), (Now, Push("c"))]),
            "running: live c blue, spare b off | a, b, c",
        ),
    ]
}

fn outages() -> Vec<Story> {
    use Do::{Down, Push, Reboot, Wake};
    use When::{In, Is, Now, Rest};
    vec![
        tell(
            "the server is down through a whole bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Down(300_000))]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "the server is down through retention",
            ab(vec![(Is("a", "memory"), Down(3_600_000))]),
            "running: live b green, spare a off | a, b",
        ),
        tell(
            "reboot at rest",
            ab(vec![(Is("a", "memory"), Reboot), (Rest, Do::Nothing)]),
            "running: live b green, spare a off | a, b",
        ),
        tell(
            "reboot, then back",
            ab(vec![(Is("a", "memory"), Reboot), (Rest, Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "reboot while building",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Reboot)]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "reboot while starting",
            ab(vec![(Rest, Push("c")), (In("c", "starting"), Reboot)]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "reboot while checking",
            ab(vec![(Rest, Push("c")), (In("c", "checking"), Reboot)]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "reboot inside a bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Reboot)]),
            "running: live c blue, spare b off | a, b, c",
        ),
        tell(
            "reboot while the old one drains",
            ab(vec![(Now, Do::Manners("a", |m| m.streams_ms = 120_000)), (Is("a", "draining"), Reboot)]),
            "running: live b green, spare a off | a, b",
        ),
        tell(
            "reboot of a stopped app",
            ab(vec![(Rest, Do::Stop), (Rest, Reboot), (Now, Do::Start)]),
            "running: live b green, spare a off | a, b, start b",
        ),
        tell(
            "reboot in a wake inside a bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Wake), (Now, Reboot)]),
            "running: live b green, spare c off | a, b, c, wake b",
        ),
    ]
}

fn retention() -> Vec<Story> {
    use Do::{Manners, Push, Wake};
    use When::{After, In, Is, Now, Rest};
    vec![
        set(
            "memory, disk, off, gone",
            |s| {
                s.disk_after_ms = Some(300_000);
                s.gone_after_ms = Some(3_600_000);
            },
            ab(vec![
                (Is("a", "memory"), Do::Nothing),
                (Is("a", "disk"), Do::Nothing),
                (Is("a", "off"), Do::Nothing),
                (Is("a", "gone"), Do::Nothing),
            ]),
            "running: live b green, spare none | a, b",
        ),
        set(
            "back from disk",
            |s| s.disk_after_ms = Some(120_000),
            ab(vec![(Is("a", "disk"), Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        set(
            "nothing to wake once it is gone",
            |s| s.gone_after_ms = Some(3_600_000),
            ab(vec![(Is("a", "gone"), Wake)]),
            "running: live b green, spare none | a, b | [NoSpare]",
        ),
        tell(
            "it cannot sleep: off instead",
            ab(vec![(Now, Manners("a", |m| m.cannot_sleep = true)), (Is("a", "off"), Wake)]),
            "running: live a blue, spare b off | a, b, wake a",
        ),
        tell(
            "a long drain",
            ab(vec![
                (
                    Now,
                    Manners("a", |m| {
                        m.busy_ms = 100_000;
                        m.streams_ms = 5_000_000;
                    }),
                ),
                (Is("a", "draining"), Do::Nothing),
                (Is("a", "memory"), Do::Nothing),
            ]),
            "running: live b green, spare a off | a, b",
        ),
        set(
            "many long drains: the oldest is cut early",
            |s| s.bake_ms = 1_000,
            {
                let long: fn(&mut crate::world::Manners) = |m| m.streams_ms = 5_000_000;
                let mut script = vec![];
                for name in ["a", "b", "c", "d", "e", "f"] {
                    script.push((Now, Manners(name, long)));
                    script.push((Now, Push(name)));
                    script.push((In(name, "baked"), Do::Nothing));
                    script.push((After(500), Do::Nothing));
                }
                script
            },
            "running: live f green, spare e off | a, b, c, d, e, f",
        ),
        tell(
            "the old spare is kept until the bake ends",
            ab(vec![
                (Is("a", "memory"), Push("c")),
                (In("c", "live"), Do::Nothing),
                (Is("a", "memory"), Do::Nothing),
                (Rest, Do::Nothing),
                (Is("a", "gone"), Do::Nothing),
            ]),
            "running: live c blue, spare b off | a, b, c",
        ),
    ]
}

fn holds() -> Vec<Story> {
    use Do::{Cancel, GoLive, Kill, Push, Reboot, Set, Stop, Wake};
    use When::{In, Now, Rest};
    let hold: fn(&mut Settings) = |s| s.hold = true;
    let held = |mut rest: Script| {
        let mut script = vec![
            (Now, Push("a")),
            (In("a", "held"), GoLive),
            (Rest, Push("b")),
            (In("b", "held"), GoLive),
            (Rest, Push("c")),
            (In("c", "held"), Do::Nothing),
        ];
        script.append(&mut rest);
        script
    };
    vec![
        set(
            "held until a user says so",
            hold,
            held(vec![(When::After(3_600_000), GoLive)]),
            "running: live c blue, spare b off | a, b, c",
        ),
        set("held for ever", hold, held(vec![]), "restarting: live b green, spare a off | a, b, c…"),
        set(
            "a held one is cancelled",
            hold,
            held(vec![(Now, Cancel)]),
            "running: live b green, spare a off | a, b, c–",
        ),
        set(
            "a held one dies",
            hold,
            held(vec![(Now, Kill("c", 0))]),
            "restart-failed: live b green, spare a off | a, b, c✗",
        ),
        set(
            "a newer push takes the place of a held one",
            hold,
            held(vec![(Now, Push("d")), (In("d", "held"), GoLive)]),
            "running: live d blue, spare b off | a, b, c–, d",
        ),
        set(
            "a wake ends a held one",
            hold,
            held(vec![(Now, Wake)]),
            "running: live a blue, spare b off | a, b, c–, wake a",
        ),
        set(
            "a stop ends a held one",
            hold,
            held(vec![(Now, Stop)]),
            "stopped: live b off, spare a off | a, b, c–",
        ),
        set(
            "a held one is rebooted",
            hold,
            held(vec![(Now, Reboot), (In("c", "starting"), Do::Nothing), (In("c", "held"), GoLive)]),
            "running: live c blue, spare b off | a, b, c",
        ),
        set(
            "nobody has to say so any more",
            hold,
            held(vec![(Now, Set(|s| s.hold = false))]),
            "running: live c blue, spare b off | a, b, c",
        ),
        set(
            "go live is only for held ones",
            hold,
            held(vec![(Now, GoLive), (Rest, GoLive)]),
            "running: live c blue, spare b off | a, b, c | [NotHeld]",
        ),
    ]
}

fn deletions() -> Vec<Story> {
    use Do::{Delete, Push, Stop, Wake};
    use When::{In, Is, Now, Rest};
    vec![
        tell("delete at rest", ab(vec![(Rest, Delete)]), "stopped: live none, spare none | a, b"),
        tell(
            "delete with a spare in memory",
            ab(vec![(Is("a", "memory"), Delete)]),
            "stopped: live none, spare none | a, b",
        ),
        tell(
            "delete while building",
            ab(vec![(Rest, Push("c")), (In("c", "building"), Delete)]),
            "stopped: live none, spare none | a, b, c–",
        ),
        tell(
            "delete while checking",
            ab(vec![(Rest, Push("c")), (In("c", "checking"), Delete)]),
            "stopped: live none, spare none | a, b, c–",
        ),
        tell(
            "delete inside a bake",
            ab(vec![(Rest, Push("c")), (In("c", "live"), Delete)]),
            "stopped: live none, spare none | a, b, c",
        ),
        tell(
            "delete inside a wake",
            ab(vec![(Rest, Wake), (In("a", "starting"), Delete)]),
            "stopped: live none, spare none | a, b, wake a–",
        ),
        tell(
            "delete a stopped app",
            ab(vec![(Rest, Stop), (Rest, Delete)]),
            "stopped: live none, spare none | a, b",
        ),
        tell(
            "delete twice, then push",
            ab(vec![(Rest, Delete), (Now, Delete), (Now, Push("c"))]),
            "stopped: live none, spare none | a, b | [Deleted]",
        ),
        tell("delete an empty app", vec![(Now, Delete)], "stopped: live none, spare none |"),
    ]
}
