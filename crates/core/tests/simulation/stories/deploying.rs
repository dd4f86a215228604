//! Pushes, failures, wakes and cancels.

use super::no;
use super::{Story, ab, set, tell};
use crate::driver::{Do, When};

const LETTERS: [&str; 20] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

// long: a table, one entry for each story
pub(super) fn pushes() -> Vec<Story> {
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
            "a task ends and leaves nothing behind",
            vec![(Now, Manners("a", |m| m.task = true)), (Now, Push("a"))],
            "stopped: live none, spare none | a",
        ),
        tell(
            "a task beside what is live changes nothing of it",
            ab(vec![(Rest, Manners("c", |m| m.task = true)), (Now, Push("c")), (Rest, Redeploy("c"))]),
            "running: live b green, spare a off | a, b, c, redeploy c",
        ),
        tell(
            "a push after a task goes live",
            vec![(Now, Manners("a", |m| m.task = true)), (Now, Push("a")), (Rest, Push("b"))],
            "running: live b blue, spare none | a, b",
        ),
        tell(
            "a task that fails is a failed deployment",
            vec![
                (
                    Now,
                    Manners("a", |m| {
                        m.task = true;
                        m.raise_fails = true;
                    }),
                ),
                (Now, Push("a")),
            ],
            "start-failed: live none, spare none | a✗",
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

// long: a table, one entry for each story
pub(super) fn failures() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn wakes() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn cancels() -> Vec<Story> {
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
