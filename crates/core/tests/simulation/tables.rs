//! The legal pairs of the transition tables, found by trying all of them.

use std::collections::BTreeSet;
use teal_core::{
    deploy::{
        End, Failure, Phase, Stage, State,
        phases::{self, Happening},
        states::{self, Motion},
    },
    time::Time,
};

fn phases() -> Vec<Phase> {
    use Phase as P;
    let end = End::Cancelled { why: "a user".into() };
    let live = P::Live { turn: 1, since: Time(1) };
    vec![
        P::Queued,
        P::Building,
        P::Ready,
        P::Starting,
        P::Checking,
        P::Held,
        live,
        P::Baked { turn: 1 },
        P::Ended { end },
    ]
}

fn happenings() -> Vec<Happening> {
    use Happening as H;
    let by = "d-2".parse().expect("legal");
    vec![
        H::BuildBegins,
        H::Built,
        H::StartBegins,
        H::Raised,
        H::Holds,
        H::GoesLive { turn: 1, since: Time(1) },
        H::StartsAgain,
        H::Bakes,
        H::Ends { end: End::Failed { failure: Failure::new(Stage::Build, "no") } },
        H::Ends { end: End::Cancelled { why: "a user".into() } },
        H::Ends { end: End::Superseded { by } },
        H::Ends { end: End::Finished },
    ]
}

fn draining(drained: bool) -> State {
    State::Draining { deadline: Time(1), cap: Time(2), drained }
}

fn states() -> Vec<State> {
    use State as S;
    vec![S::New, S::Rising, S::Up, draining(false), draining(true), S::Memory, S::Disk, S::Off, S::Gone]
}

fn motions() -> Vec<Motion> {
    use Motion as M;
    let drains = M::Drains { deadline: Time(1), cap: Time(2) };
    let capped = M::IsCapped { cap: Time(1) };
    vec![
        M::Rises,
        M::Raised,
        drains,
        capped,
        M::Drained,
        M::Sleeps,
        M::IsFiled,
        M::IsOff,
        M::IsGone,
        M::Vanishes,
    ]
}

/// Every pair that the tables allow, by words.
pub(crate) fn legal() -> BTreeSet<(&'static str, &'static str)> {
    let mut pairs = BTreeSet::new();
    for phase in phases() {
        for happening in happenings() {
            let word = happening.word();
            if phases::apply(&phase, happening).is_ok() {
                pairs.insert((phase.word(), word));
            }
        }
    }
    for state in states() {
        for motion in motions() {
            if states::apply(state, motion).is_ok() {
                pairs.insert((state.word(), motion.word()));
            }
        }
    }
    pairs
}

#[test]
fn the_tables_have_no_way_out_of_what_is_final() {
    for final_word in ["baked", "ended", "gone"] {
        assert!(!legal().iter().any(|(from, _)| *from == final_word), "{final_word}");
    }
    assert!(legal().len() > 40, "{}", legal().len());
}

#[test]
fn a_refused_pair_is_named() {
    let refused = phases::apply(&Phase::Queued, Happening::Bakes).expect_err("not in the table");
    assert!(refused.to_string().contains("`bakes`") && refused.to_string().contains("`queued`"), "{refused}");
}
