//! Every story again, once for each call that it makes: the process dies before it, after it, or the answer is lost.

use crate::{
    random::ENOUGH,
    stories::{Story, all, run},
    world::Fault,
};

/// The most faulty runs of one story; past it, calls are left out evenly. `TEAL_CRASHES` changes it.
fn most_runs() -> u64 {
    std::env::var("TEAL_CRASHES").ok().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX)
}

/// Every fault of every call of a story must come to the same end. Gives the number of runs.
fn faults_of(story: &Story, wrong: &mut Vec<String>) -> u64 {
    let (expected, calls, _) = run(story, None, false);
    let stride = (calls * 3).div_ceil(most_runs()).max(1) as usize;
    let faults = (1..=calls).flat_map(|n| [Fault::Before(n), Fault::After(n), Fault::Unknown(n)]);
    let mut runs = 0;
    for fault in faults.step_by(stride) {
        if wrong.len() >= ENOUGH {
            break;
        }
        runs += 1;
        let (text, _, violations) = run(story, Some(fault), false);
        let same = if story.timed { live(&text) == live(&expected) } else { text == expected };
        if !same || !violations.is_empty() {
            wrong.push(format!(
                "{} with {fault:?}:\n  expected {expected}\n  came     {text}\n  {violations:?}",
                story.name
            ));
        }
    }
    runs
}

/// Status and the live commit, without its colour.
fn live(outcome: &str) -> Vec<&str> {
    outcome.split(' ').take(3).collect()
}

#[test]
fn every_crash_point_of_every_story_converges() {
    let only = std::env::var("TEAL_STORY").ok();
    let mut wrong = Vec::new();
    let mut runs = 0;
    for story in all().iter().filter(|s| only.as_ref().is_none_or(|name| s.name.contains(name.as_str()))) {
        if wrong.len() < ENOUGH {
            runs += faults_of(story, &mut wrong);
        }
    }
    let shown = wrong.join("\n");
    assert!(wrong.is_empty(), "{} of {runs} runs went wrong, e.g.\n{shown}", wrong.len());
    eprintln!("{runs} runs with one crash or lost answer each");
}
