//! What nobody thought of: random requests, faults, latencies, crashes and lost answers; the promises must hold all the same.

use crate::{
    driver::{Do, Driver, Script, When, fresh_rows},
    promises::Memory,
    rng::Rng,
    stories::outcome,
    world::{Chaos, Manners, Sim},
};
use teal_core::deploy::Settings;

const COMMITS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The runs that `cargo test` makes; from here on every legal pair must have been taken.
const FULL: u64 = 20_000;

/// So many broken seeds are enough to know.
pub(crate) const ENOUGH: usize = 8;

fn seeds() -> u64 {
    std::env::var("TEAL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(FULL)
}

fn random_settings(rng: &mut Rng) -> Settings {
    Settings {
        bake_ms: [0, 5_000, 60_000][rng.below(3) as usize],
        disk_after_ms: rng.chance(30).then_some(120_000),
        off_after_ms: [100, 300_000, 900_000][rng.below(3) as usize],
        gone_after_ms: rng.chance(15).then_some(1_800_000),
        instances: 1 + rng.below(3) as u32,
        hold: rng.chance(12),
        cancel_on_push: rng.chance(15),
        build_ms: 60_000,
        start_ms: 60_000,
        ..Settings::default()
    }
}

fn random_manners(rng: &mut Rng) -> fn(&mut Manners) {
    let all: [fn(&mut Manners); 13] = [
        |m| m.task = !m.task,
        |m| m.build_fails = !m.build_fails,
        |m| m.build_hangs = !m.build_hangs,
        |m| m.raise_fails = !m.raise_fails,
        |m| m.check_fails = !m.check_fails,
        |m| m.check_hangs = !m.check_hangs,
        |m| m.sick = !m.sick,
        |m| m.sick = true,
        |m| m.repair_fails = !m.repair_fails,
        |m| m.cannot_sleep = !m.cannot_sleep,
        |m| m.busy_ms = 100_000,
        |m| m.streams_ms = 2_000_000,
        |m| *m = Manners::default(),
    ];
    all[rng.below(all.len() as u64) as usize]
}

fn random_act(rng: &mut Rng) -> Do {
    let commit = COMMITS[rng.below(6) as usize];
    match rng.below(100) {
        0..24 => Do::Push(commit),
        24..34 => Do::Wake,
        34..39 => Do::Redeploy(commit),
        39..43 => Do::Restart,
        43..47 => Do::Config,
        47..51 => Do::Scale(1 + rng.below(3) as u32),
        51..55 => Do::Stop,
        55..60 => Do::Start,
        60..68 => Do::Cancel,
        68..72 => Do::GoLive,
        72..77 => Do::Maintain(["img-2", "img-3"][rng.below(2) as usize]),
        77..85 => Do::Manners(commit, random_manners(rng)),
        85..92 => Do::Kill(commit, rng.below(3) as u32),
        92..94 => Do::Reboot,
        94..96 => Do::Down(rng.below(200_000)),
        96 => Do::Delete,
        97 => Do::Set(|s| s.hold = !s.hold),
        98 => Do::Set(|s| s.bake_ms = 1_000),
        _ => Do::Nothing,
    }
}

fn random_when(rng: &mut Rng) -> When {
    match rng.below(10) {
        0 | 1 => When::Now,
        2..6 => When::After(rng.below(3_000)),
        6..8 => When::After(rng.below(20_000)),
        8 => When::After(rng.below(120_000)),
        _ => When::After(rng.below(1_200_000)),
    }
}

/// One push after the other, each of them replacing an environment whose streams do not end.
fn long_drains(rng: &mut Rng) -> Script {
    let mut script: Script =
        COMMITS.iter().map(|c| (When::Now, Do::Manners(c, |m| m.streams_ms = 5_000_000))).collect();
    script.push((When::Rest, Do::Set(|s| s.bake_ms = 1_000)));
    for n in 0..7 {
        script.push((When::After(20_000 + rng.below(10_000)), Do::Push(COMMITS[n % 6])));
    }
    script
}

fn random_script(rng: &mut Rng) -> Script {
    let mut script = vec![(When::Now, Do::Push(COMMITS[rng.below(6) as usize]))];
    if rng.chance(8) {
        script.extend(long_drains(rng));
    }
    for _ in 0..2 + rng.below(10) {
        script.push((random_when(rng), random_act(rng)));
    }
    // Then the faults stop, or nothing could be expected at rest.
    for commit in COMMITS {
        script.push((When::Now, Do::Manners(commit, |m| *m = Manners::default())));
    }
    script
}

/// One random run: what it remembers, and what it broke.
pub(crate) fn run(seed: u64, trace: bool) -> (Memory, Vec<String>) {
    let mut rng = Rng::new(seed);
    let sim = Sim::new(fresh_rows(random_settings(&mut rng)), seed);
    sim.lock().chaos =
        Chaos { crash: rng.below(4), unknown: rng.below(12), conflict: rng.below(4), jitter: rng.chance(85) };
    let mut driver = Driver::new(&sim, random_script(&mut rng), seed);
    driver.trace = trace;
    driver.run();
    if trace {
        eprintln!("{}", outcome(&sim, &driver));
    }
    drop(driver);
    let mut inner = sim.lock();
    if trace {
        for event in &inner.events {
            eprintln!(
                "{:>9} {:?} {:?} {:?} {}",
                event.at.0 - 1_000_000,
                event.kind,
                event.deployment,
                event.environment,
                event.text
            );
        }
    }
    let violations = std::mem::take(&mut inner.violations);
    (std::mem::take(&mut inner.memory), violations)
}

#[test]
fn random_runs_keep_the_promises_and_reach_the_whole_table() {
    if let Some(seed) = std::env::var("TEAL_SEED").ok().and_then(|n| n.parse().ok()) {
        let (_, violations) = run(seed, true);
        assert!(violations.is_empty(), "{violations:#?}");
        return;
    }
    let mut wrong = Vec::new();
    let mut pairs = std::collections::BTreeSet::new();
    let mut rests = 0;
    for seed in 0..seeds() {
        let (memory, violations) = run(seed, false);
        pairs.extend(memory.pairs);
        rests += memory.rests;
        if !violations.is_empty() {
            wrong.push(format!("TEAL_SEED={seed}: {violations:?}"));
        }
        if wrong.len() >= ENOUGH {
            break;
        }
    }
    let shown = wrong.join("\n");
    assert!(wrong.is_empty(), "{} of at most {} seeds broke a promise, e.g.\n{shown}", wrong.len(), seeds());
    let missing: Vec<_> = crate::tables::legal().into_iter().filter(|pair| !pairs.contains(pair)).collect();
    // Fewer runs are for mutants, which are to be caught by a promise, not by chance.
    assert!(seeds() < FULL || missing.is_empty(), "never reached in {} runs: {missing:?}", seeds());
    eprintln!("{} random runs, {rests} rests, {} pairs of the tables", seeds(), pairs.len());
}
