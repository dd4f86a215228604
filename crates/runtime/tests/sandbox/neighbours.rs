//! What one sandbox does with its limits, its neighbour does not notice: processes, memory, disk, CPU.
//!
//! How fast a neighbour answers meanwhile is said and never asserted; that it answers each time is.

use crate::rig::{PATIENCE, Rig, done};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;
use teal_runtime::{InstanceSpec, Runtime, State, Tree};

/// Starts processes until it may not, and goes on trying.
const FORKS: &str = r#"
import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(1000)
    except OSError: print("refused", flush=True); time.sleep(0.1)
"#;

/// Fills its disk, says how much there was, and goes on writing.
const FILLS: &str = "dd if=/dev/zero of=/app/big bs=1M 2>/dev/null; echo full $(($(stat -c %s /app/big) >> 20)); while :; do dd if=/dev/zero of=/app/more bs=1M count=8 2>/dev/null; sleep 0.05; done";

const EATS: &str = "exec python3 -S -c 'x = []\nwhile True: x.append(bytearray(b\"x\") * (1 << 20))'";

const SPINS: &str = "echo spins; while :; do :; done";

/// What the troublemaker is asked to do, and when its limit has been met.
type Met = fn(&Rig, &InstanceId, &State) -> bool;

fn said(rig: &Rig, id: &InstanceId, text: &str) -> bool {
    rig.lines(id).iter().any(|line| line.text.starts_with(text))
}

/// Asks a neighbour again and again until told to stop; every request has to be answered. Answers how long each took.
fn ping(address: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let once = move || {
        let began = Instant::now();
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the neighbour accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        stream.write_all(b"GET / HTTP/1.0\r\nhost: app\r\n\r\n").expect("the neighbour reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the neighbour answers");
        assert!(text.contains(" 200 "), "{text}");
        began.elapsed()
    };
    std::thread::spawn(move || {
        let mut took = vec![once()];
        while !stop.load(Ordering::Acquire) {
            took.push(once());
        }
        took
    })
}

/// How it went, for whoever reads; nothing is asserted of times.
fn tell(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    eprintln!("figure: a neighbour {what}: {} answers, p50 {:?}, p99 {:?}", took.len(), at(50), at(99));
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
    let stop = Arc::new(AtomicBool::new(false));
    let asked = ping(address, Arc::clone(&stop));
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
    stop.store(true, Ordering::Release);
    tell(what, asked.join().expect("every request is answered"));
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
