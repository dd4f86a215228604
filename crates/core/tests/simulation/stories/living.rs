//! Stops, upkeep, outages, retention, holds and deletions.

use super::{Story, ab, set, tell};
use crate::driver::{Do, Script, When};
use teal_core::deploy::Settings;

// long: a table, one entry for each story
pub(super) fn stops() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn upkeep() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn outages() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn retention() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn holds() -> Vec<Story> {
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

// long: a table, one entry for each story
pub(super) fn deletions() -> Vec<Story> {
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
