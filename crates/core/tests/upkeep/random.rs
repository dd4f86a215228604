//! Thousands of random runs: crashes, verdicts, users, pins, halts, orders and newer images in any order.

use crate::{
    rng::Rng,
    world::{World, app, pick},
};
use teal_core::upkeep::{self, Limits, Ours, State};

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_done_twice() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TEAL_SEED") {
        run(seed, true);
        return;
    }
    for seed in 0..number("TEAL_SEEDS").unwrap_or(4_000) {
        if std::panic::catch_unwind(|| run(seed, false)).is_err() {
            panic!("TEAL_SEED={seed} fails; run it again to read its story");
        }
    }
}

fn run(seed: u64, told: bool) {
    let mut rng = Rng::new(seed);
    let apps = 1 + rng.below(12);
    let mut world = World::new(apps);
    world.limits = Limits {
        concurrency: u32::try_from(1 + rng.below(4)).expect("small"),
        halt_after: u32::try_from(rng.below(4)).expect("small"),
        spread_ms: rng.below(3) * 30_000,
    };
    for n in 0..apps {
        let app = world.apps.get_mut(&app(n)).expect("there");
        match rng.below(10) {
            0 => app.live = None,
            1 => app.stopped = true,
            2 => app.pinned = Some(world.now.plus(rng.below(5_000_000))),
            3 => app.breaks_on = Some("i-1".into()),
            4 => app.breaks_on = Some("i-2".into()),
            _ => {}
        }
    }
    let mut images = 0;
    for _ in 0..200 {
        let event = event(&mut rng, &mut world, apps, &mut images);
        if told {
            eprintln!("{event}: {:?}", world.rollouts.last().map(|r| (r.state.clone(), r.tally())));
        }
        world.check();
    }
    world.open = true;
    world.limits.halt_after = 0;
    let last = world.rollouts.last_mut();
    if let Some(resumed) = last.as_ref().and_then(|rollout| upkeep::resume(rollout).ok()) {
        *last.expect("there") = resumed;
    }
    world.rest();
    world.check_rest();
}

fn event(rng: &mut Rng, world: &mut World, apps: u64, images: &mut u64) -> String {
    let one = app(rng.below(apps));
    match rng.below(20) {
        0..=8 => {
            let steps = if rng.chance(50) { 1 + rng.below(4) } else { u64::MAX };
            world.pass(steps);
            return format!("a pass of {steps} steps");
        }
        9..=11 => {
            if let Some(id) = pick(rng, &world.under_way()) {
                world.settle_honestly(&id);
            }
        }
        12 => {
            if let Some(id) = pick(rng, &world.under_way()) {
                world.settle(&id, Ours::Cancelled("cancelled by ann".into()));
            }
        }
        13 => {
            // A push builds on the present image, a restart keeps the live one's.
            let stays = world.apps.get(&one).and_then(|app| app.live.clone());
            let image = if rng.chance(50) { None } else { stays };
            let image = image.unwrap_or_else(|| world.image.clone());
            world.user_deploys(&one, &image);
        }
        14 => world.user_lands(&one),
        15 if rng.chance(30) && *images < 2 => {
            *images += 1;
            world.image = format!("i-{images}");
        }
        16 => {
            let stops = world.apps.get_mut(&one).expect("there");
            stops.stopped = !stops.stopped;
        }
        17 => orders(rng, world),
        18 => world.open = rng.chance(60),
        _ => world.now = world.now.plus(rng.below(400_000)),
    }
    format!("an event about {one}")
}

fn orders(rng: &mut Rng, world: &mut World) {
    let Some(last) = world.rollouts.last_mut() else { return };
    let ordered = match rng.below(6) {
        0 => upkeep::abort(last, "ann"),
        1 => upkeep::hurry(last),
        _ => upkeep::resume(last),
    };
    match ordered {
        Ok(rollout) => *last = rollout,
        // By hand, for those that are behind: only once the one before is over.
        Err(_) if last.state.is_final() && last.state != (State::Aborted { by: "ann".into() }) => {
            if rng.chance(10) {
                world.start(None, true);
            }
        }
        Err(_) => {}
    }
}
