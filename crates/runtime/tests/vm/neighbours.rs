//! What one machine does with its limits, its neighbour does not notice: processes, disk, CPU, and memory.
//!
//! Each limit is met by a machine of its own beside one neighbour, which is asked all the time. How fast it answers meanwhile is said and
//! never asserted; that it answers each time is.

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

/// When the limit of this machine has been met.
type Met = fn(&Rig, &InstanceId, &State) -> bool;

/// A troublemaker with this share of a processor, in thousandths.
fn limited(rig: &Rig, id: &str, script: &str, share: u64) -> InstanceSpec {
    let mut spec = rig.script(id, script);
    spec.tree = Tree::Sealed(rig.release(&[("forks.py", FORKS)]));
    (spec.limits.pids, spec.limits.memory_mib, spec.limits.cpu_milli) = (32, 96, share);
    spec
}

fn said(rig: &Rig, id: &InstanceId, text: &str) -> bool {
    rig.lines(id).iter().any(|line| line.text.starts_with(text))
}

/// Seconds of the processor that the machine has used on the host.
fn cpu_s(rig: &Rig, id: &InstanceId) -> f64 {
    let used = |pid: &u32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let one = |thread: fs::DirEntry| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        };
        threads.filter_map(one).sum::<f64>() / 1e9
    };
    rig.processes(id).keys().map(used).sum()
}

/// One limit, met while the neighbour is asked all the time.
async fn trouble(rig: &Rig, what: &str, spec: &InstanceSpec, met: Met) {
    let neighbour = done(rig.vm.inspect(&"e-1-0".parse().expect("an id")).await);
    let pings = Pings::start(neighbour.address.expect("an app has an address"), PATIENCE);
    let began = Instant::now();
    done(rig.vm.ensure(spec).await);
    rig.until(&spec.id, |state| met(rig, &spec.id, state)).await;
    // A look at what it used comes before the one at the clock: late, it is only more that it might have used.
    let used = cpu_s(rig, &spec.id);
    let might = began.elapsed().as_secs_f64() * spec.limits.cpu_milli as f64 / 1000.0;
    eprintln!("figure: {what}: met after {:?}", began.elapsed());
    pings.end(what);
    assert!(used <= might * 1.2 + 0.5, "{what}: {used} s of CPU, {might} s were its share");
    done(rig.vm.remove(&spec.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_answered_for_while_limits_are_met() {
    let Some(rig) = Rig::new() else { return };
    rig.serving("e-1-0").await;
    let forks = limited(&rig, "e-2-0", "exec python3 -S forks.py", 1000);
    trouble(&rig, "of one that forks", &forks, |rig, id, _| said(rig, id, "refused")).await;
    let fills = limited(&rig, "e-4-0", FILLS, 1000);
    trouble(&rig, "of one that fills its disk", &fills, |rig, id, _| said(rig, id, "full ")).await;
    let there = rig
        .lines(&fills.id)
        .into_iter()
        .find_map(|line| line.text.strip_prefix("full ")?.parse::<u64>().ok());
    let disk = fills.limits.disk_mib;
    assert!(there.is_some_and(|mib| mib <= disk && mib > disk / 4), "{there:?} MiB of {disk}");
    let spins = limited(&rig, "e-5-0", SPINS, 500);
    // More than what is forgiven: counted in what it was given, not in time.
    trouble(&rig, "of one that spins", &spins, |rig, id, _| said(rig, id, "spins") && cpu_s(rig, id) > 2.0)
        .await;
    rig.close().await;
}

/// Not with every change: in some of its runs the machine is busy for minutes before its kernel ends the app. The neighbour is answered all the while.
/// `TEAL_IMAGE=… cargo test -p teal-runtime --test vm -- --ignored --nocapture eats_memory`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the verdict on an app that takes one MiB after the other comes after 10 s or after minutes; see decision 14"]
async fn a_neighbour_is_answered_for_while_another_eats_memory() {
    let Some(rig) = Rig::new() else { return };
    rig.serving("e-1-0").await;
    let eats = limited(&rig, "e-3-0", EATS, 1000);
    trouble(
        &rig,
        "of one that eats memory",
        &eats,
        |_, _, state| matches!(state, State::Exited(exit) if exit.out_of_memory && exit.code == 137),
    )
    .await;
    rig.close().await;
}
