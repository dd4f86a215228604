//! What must come out of a rollout, told one by one.

use crate::world::{World, app};
use std::collections::BTreeSet;
use teal_core::{
    deploy::{Deployment, End, Failure, Kind, Phase, Rows, Stage},
    time::Time,
    upkeep::{self, Limits, Look, Ours, Progress, Reason, Seen, State},
};

fn progress(world: &World, n: u64) -> Progress {
    world.rollouts.last().expect("a rollout").member(&app(n)).expect("a member").progress.clone()
}

fn left(world: &World, n: u64) -> Option<Reason> {
    match progress(world, n) {
        Progress::Left { why } => Some(why),
        _ => None,
    }
}

#[test]
fn twenty_apps_move_but_for_those_that_break() {
    let mut world = World::new(20);
    for n in [3, 7, 12] {
        world.apps.get_mut(&app(n)).expect("there").breaks_on = Some("i-1".into());
    }
    world.image = "i-1".into();
    world.rest();
    world.check_rest();
    let tally = world.rollouts[0].tally();
    assert_eq!((tally.moved, tally.failed, tally.left), (17, 3, 0));
    assert_eq!((world.rollouts.len(), world.asked.len()), (1, 20));
    assert_eq!(world.rollouts[0].state, State::Done);
    // Nothing happens to an image that is everywhere already, nor to those that broke on it.
    world.rest();
    assert_eq!((world.rollouts.len(), world.asked.len()), (1, 20));
}

#[test]
fn an_image_that_is_everywhere_is_no_rollout() {
    let mut world = World::new(3);
    world.rest();
    assert!(world.rollouts.is_empty() && world.asked.is_empty());
}

#[test]
fn no_more_begin_than_the_cap_lets_and_users_count() {
    let mut world = World::new(6);
    world.limits.concurrency = 3;
    world.image = "i-1".into();
    world.user_deploys(&app(5), "i-1");
    world.pass(u64::MAX);
    assert_eq!(world.under_way().len(), 2, "a user's deployment takes a place");
    world.pass(u64::MAX);
    assert_eq!(world.under_way().len(), 2);
    let first = world.under_way()[0].clone();
    world.settle_honestly(&first);
    world.pass(u64::MAX);
    assert_eq!(world.under_way().len(), 2);
}

#[test]
fn users_cannot_keep_patches_away_for_ever() {
    let mut world = World::new(4);
    world.image = "i-1".into();
    for n in 0..3 {
        world.user_deploys(&app(n), "i-0");
    }
    world.pass(u64::MAX);
    assert!(world.under_way().is_empty());
    world.now = world.now.plus(700_000);
    world.pass(u64::MAX);
    assert_eq!(world.under_way().len(), 1);
}

#[test]
fn it_halts_goes_on_when_told_and_counts_anew() {
    let mut world = World::new(10);
    world.limits = Limits { concurrency: 1, halt_after: 2, spread_ms: 0 };
    world.apps.values_mut().for_each(|app| app.breaks_on = Some("i-1".into()));
    world.image = "i-1".into();
    world.rest();
    assert!(matches!(&world.rollouts[0].state, State::Halted { why } if why.contains("2 of its")));
    assert_eq!((world.asked.len(), world.halts.len()), (2, 1));
    assert_eq!(world.rollouts[0].ended, None);
    world.rollouts[0] = upkeep::resume(&world.rollouts[0]).expect("halted");
    world.rest();
    assert_eq!((world.asked.len(), world.halts.len()), (4, 2));
    assert!(upkeep::hurry(&world.rollouts[0]).is_err());
    world.rollouts[0] = upkeep::abort(&world.rollouts[0], "ann").expect("not over");
    world.rest();
    world.check_rest();
    assert_eq!(world.asked.len(), 4);
    assert!(upkeep::abort(&world.rollouts[0], "ann").is_err() && upkeep::resume(&world.rollouts[0]).is_err());
}

#[test]
fn who_may_not_move_is_left_with_its_reason() {
    let mut world = World::new(5);
    let until = world.now.plus(86_400_000);
    world.apps.get_mut(&app(0)).expect("there").pinned = Some(until);
    world.apps.get_mut(&app(1)).expect("there").stopped = true;
    world.apps.get_mut(&app(2)).expect("there").live = None;
    world.image = "i-1".into();
    world.rest();
    assert_eq!(left(&world, 0), Some(Reason::Pinned { until }));
    assert_eq!(left(&world, 1), Some(Reason::Stopped));
    assert!(world.rollouts[0].member(&app(2)).is_none(), "nothing of it is live: it is no part");
    assert_eq!(world.rollouts[0].tally().moved, 2);
}

#[test]
fn who_stood_aside_moves_once_it_may() {
    let mut world = World::new(3);
    world.apps.get_mut(&app(0)).expect("there").pinned = Some(world.now.plus(86_400_000));
    world.apps.get_mut(&app(1)).expect("there").breaks_on = Some("i-1".into());
    world.image = "i-1".into();
    world.rest();
    assert_eq!(world.rollouts.len(), 1);
    world.now = world.now.plus(90_000_000);
    world.rest();
    assert_eq!(world.rollouts.len(), 2);
    assert!(matches!(progress(&world, 0), Progress::Moved { .. }));
    assert_eq!(world.rollouts[1].apps.len(), 1, "the one that broke is not tried again by itself");
    world.rest();
    assert_eq!(world.rollouts.len(), 2);
}

#[test]
fn a_users_deployment_goes_first_and_ours_comes_again() {
    let mut world = World::new(1);
    world.image = "i-1".into();
    world.pass(u64::MAX);
    world.user_deploys(&app(0), "i-0");
    world.pass(u64::MAX);
    assert_eq!(progress(&world, 0), Progress::Waiting);
    world.user_lands(&app(0));
    world.pass(u64::MAX);
    assert_eq!(world.asked.len(), 2, "a restart kept the old image");
    let again = world.under_way()[0].clone();
    assert!(!world.asked[&again].app.as_str().is_empty());
    world.user_deploys(&app(0), "i-1");
    world.rest();
    assert_eq!(left(&world, 0), Some(Reason::Already), "a push brought it there itself");
    assert_eq!(world.asked.len(), 2);
}

#[test]
fn a_newer_image_takes_the_place_and_the_cap_holds_over_both() {
    let mut world = World::new(6);
    world.image = "i-1".into();
    world.pass(u64::MAX);
    let old = world.under_way();
    assert_eq!(old.len(), 2);
    world.image = "i-2".into();
    world.pass(u64::MAX);
    assert_eq!(world.under_way(), old, "nothing begins while these are under way");
    assert!(matches!(world.rollouts[0].state, State::Replaced { .. }));
    world.rest();
    world.check_rest();
    assert!(world.apps.values().all(|app| app.live.as_deref() == Some("i-2")));
    assert_eq!(world.asked.len(), 8);
}

#[test]
fn it_begins_in_its_window_only_unless_it_is_told_to_hurry() {
    let mut world = World::new(2);
    world.image = "i-1".into();
    world.open = false;
    world.rest();
    assert!(world.asked.is_empty() && world.rollouts[0].state == State::Running);
    world.rollouts[0] = upkeep::hurry(&world.rollouts[0]).expect("it waits");
    world.rest();
    assert_eq!(world.rollouts[0].tally().moved, 2);
}

#[test]
fn beginnings_are_spread() {
    let mut world = World::new(30);
    world.limits = Limits { concurrency: 30, halt_after: 0, spread_ms: 60_000 };
    world.image = "i-1".into();
    let mut begun = BTreeSet::new();
    for second in 0..120 {
        world.pass(u64::MAX);
        if world.asked.len() > begun.len() {
            begun.insert(second);
        }
        world.now = world.now.plus(1_000);
    }
    assert!((3..20).contains(&world.asked.len()), "{} in two minutes", world.asked.len());
    assert_eq!(begun.len(), world.asked.len(), "never two at once");
}

#[test]
fn a_look_after_the_first_changes_nothing() {
    let mut world = World::new(3);
    world.image = "i-1".into();
    world.pass(u64::MAX);
    let seen = world.seen(world.rollouts.last());
    let look = Look { now: world.now, open: true, apps: &seen };
    let fresh = || panic!("no id is taken in vain");
    assert_eq!(upkeep::advance(&world.rollouts[0], &look, &world.limits, fresh), None);
}

#[test]
fn rows_survive_their_own_json() {
    let mut world = World::new(4);
    world.apps.get_mut(&app(0)).expect("there").pinned = Some(Time(u64::MAX));
    world.apps.get_mut(&app(1)).expect("there").breaks_on = Some("i-1".into());
    world.image = "i-1".into();
    world.rest();
    let json = serde_json::to_string(&world.rollouts).expect("serialises");
    let again: Vec<upkeep::Rollout> = serde_json::from_str(&json).expect("parses");
    assert_eq!(again, world.rollouts);
}

#[test]
fn verdicts_are_read_from_rows() {
    let text = r#"{"id":"d-1","request":1,"kind":"maintenance","cause":"Maintenance","author":null,"commit":null,"image":"i-1","config":0,"instances":1,
        "release":null,"cached":false,"environment":null,"phase":"building","times":{"queued":1}}"#;
    let row: Deployment = serde_json::from_str(text).expect("parses");
    let of = |phase: Phase| Ours::of(Some(&Deployment { phase, ..row.clone() }));
    let failure = Failure::new(Stage::Check, "it broke".to_owned());
    assert_eq!(Ours::of(None), Ours::Absent);
    assert_eq!(of(Phase::Live { turn: 1, since: Time(1) }), Ours::UnderWay);
    assert_eq!(of(Phase::Baked { turn: 1 }), Ours::Landed);
    assert_eq!(of(Phase::Ended { end: End::Failed { failure } }), Ours::Failed);
    assert_eq!(
        of(Phase::Ended { end: End::Superseded { by: "d-2".parse().expect("legal") } }),
        Ours::Superseded
    );
    let app = teal_core::deploy::App::new(
        "a-1".parse().expect("legal"),
        "shop".into(),
        Vec::new(),
        Default::default(),
    );
    let mut rows = Rows::new(app);
    rows.deployments.push(row.clone());
    let seen = Seen::of(&rows, Some(&row), None).expect("there");
    assert!(seen.maintained && !seen.users && !seen.works && seen.live.is_none());
    rows.deployments.push(Deployment { kind: Kind::Push, phase: Phase::Held, ..row });
    let seen = Seen::of(&rows, None, None).expect("there");
    assert!(seen.users && !seen.works, "one that is held waits for a person");
    rows.app.deleted = Some(1);
    assert_eq!(Seen::of(&rows, None, None), None);
}
