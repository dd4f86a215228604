//! What one sandbox does with its limits, its neighbour does not notice: processes, memory, disk, CPU.
//!
//! How fast a neighbour answers meanwhile is said and never asserted; that it answers each time is.

use crate::{
    common::{
        pings::Pings,
        trouble::{EATS, FILLS, FORKS, SPINS},
    },
    rig::{PATIENCE, Rig, done},
};
use std::{fs, time::Instant};
use teal_core::id::InstanceId;
use teal_runtime::{InstanceSpec, Runtime, State, Tree};

/// What the troublemaker is asked to do, and when its limit has been met.
type Met = fn(&Rig, &InstanceId, &State) -> bool;

fn said(rig: &Rig, id: &InstanceId, text: &str) -> bool {
    rig.lines(id).iter().any(|line| line.text.starts_with(text))
}

/// Seconds of CPU that these processes have used.
fn cpu_s(pids: impl IntoIterator<Item = u32>) -> f64 {
    let used = |pid: u32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let one = |thread: fs::DirEntry| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        };
        threads.filter_map(one).sum::<f64>() / 1e9
    };
    pids.into_iter().map(used).sum()
}

/// One limit, met while a neighbour is asked all the time.
async fn trouble(rig: &Rig, what: &str, spec: InstanceSpec, met: Met) {
    let neighbour = rig.python("e-1-0");
    let address = done(rig.sandbox.ensure(&neighbour).await).address.expect("an app has an address");
    rig.until_listening(&neighbour.id).await;
    let neighbour = neighbour.id;
    let pings = Pings::start(address, PATIENCE);
    let began = Instant::now();
    done(rig.sandbox.ensure(&spec).await);
    rig.until(&spec.id, |state| {
        assert!(rig.pids(&spec.id).len() <= 32, "more processes than it may have");
        met(rig, &spec.id, state)
    })
    .await;
    // A look at what it used comes before the one at the clock: late, it is only more that it might have used.
    let used = cpu_s(rig.pids(&spec.id));
    let might = began.elapsed().as_secs_f64() * spec.limits.cpu_milli as f64 / 1000.0;
    pings.end(what);
    assert!(used <= might * 1.2 + 0.5, "{what}: {used} s of CPU, {might} s were its share");
    for id in [spec.id, neighbour] {
        done(rig.sandbox.remove(&id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_answered_for_while_every_limit_is_met() {
    let Some(rig) = Rig::new() else { return };
    let limited = |id: &str, script: &str| {
        let mut spec = rig.script(id, script);
        spec.tree = Tree::Sealed(rig.release(&[("forks.py", FORKS)]));
        (spec.limits.pids, spec.limits.memory_mib, spec.limits.cpu_milli) = (32, 96, 500);
        spec
    };
    let forks = limited("e-2-0", "exec python3 -S forks.py");
    trouble(&rig, "of one that forks", forks, |rig, id, _| said(rig, id, "refused")).await;
    let eats = limited("e-3-0", EATS);
    trouble(
        &rig,
        "of one that eats memory",
        eats,
        |_, _, state| matches!(state, State::Exited(exit) if exit.out_of_memory),
    )
    .await;
    let fills = limited("e-4-0", FILLS);
    let disk = fills.limits.disk_mib;
    trouble(&rig, "of one that fills its disk", fills, |rig, id, _| said(rig, id, "full ")).await;
    let line = rig
        .lines(&"e-4-0".parse().expect("an id"))
        .into_iter()
        .find_map(|line| line.text.strip_prefix("full ")?.parse::<u64>().ok());
    assert!(line.is_some_and(|mib| mib <= disk && mib > disk / 4), "{line:?} MiB of {disk}");
    let spins = limited("e-5-0", SPINS);
    // Long enough that the share is more than what is forgiven: counted in what the neighbour was asked, not in time.
    trouble(&rig, "of one that spins", spins, |rig, id, _| said(rig, id, "spins") && used_enough(rig, id))
        .await;
    rig.close().await;
}

/// It has had as much of the processor as shows whether it is held back.
fn used_enough(rig: &Rig, id: &InstanceId) -> bool {
    cpu_s(rig.pids(id)) > 2.0
}
