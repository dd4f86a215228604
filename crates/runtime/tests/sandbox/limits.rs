//! What an instance may use, and that the host does not notice when it wants more.

use crate::rig::{Rig, done};
use teal_core::agent::MAX_LOG;
use teal_runtime::{Runtime, State, Tree};

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_told_as_such() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.script("e-1-0", "exec python3 -c 'x = [bytearray(1 << 20).replace(bytes(1), bytes([1])) for _ in range(4096)]; print(len(x))'");
    spec.limits.memory_mib = 64;
    done(rig.sandbox.ensure(&spec).await);
    let State::Exited(exit) = rig.until(&spec.id, |s| matches!(s, State::Exited(_))).await else {
        unreachable!()
    };
    assert_eq!((exit.stage.as_str(), exit.code, exit.out_of_memory), ("start", 137, true));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_the_apps_own() {
    let Some(rig) = Rig::new() else { return };
    let script = "dd if=/dev/zero of=/app/big bs=1M count=500 2>/dev/null; echo app $?; stat -c %s /app/big; \
                  dd if=/dev/zero of=/tmp/more bs=1M count=500 2>/dev/null; echo tmp $?; cat hello.txt";
    let spec = rig.script("e-1-0", script);
    let (_, text) = rig.run(&spec).await;
    let lines: Vec<&str> = text.lines().collect();
    let size: u64 = lines[1].parse().expect("a size");
    assert_eq!((lines[0], lines[2], lines[3]), ("app 1", "tmp 1", "sealed"), "{text}");
    assert!(size < 64 * 1024 * 1024 && size > 32 * 1024 * 1024, "{size}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_writes_without_end_is_ended() {
    let Some(rig) = Rig::new() else { return };
    let script = "while :; do dd if=/dev/zero of=/app/$RANDOM bs=1M count=4 2>/dev/null; sleep 0.05; done";
    let mut spec = rig.script("b-1", script);
    spec.tree = Tree::Working(rig.release(&[]));
    (spec.port, spec.limits.disk_mib) = (None, 32);
    let (code, text) = rig.run(&spec).await;
    assert_ne!(code, 0);
    assert!(text.contains("32 MiB is all it may use"), "{text}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_counted() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.script("e-1-0", "exec python3 forks.py");
    let forks = "import os, time\nfor n in range(200):\n    if os.fork() == 0: time.sleep(1000)\n";
    spec.tree = Tree::Sealed(rig.release(&[("forks.py", forks)]));
    spec.limits.pids = 30;
    done(rig.sandbox.ensure(&spec).await);
    rig.until(&spec.id, |state| {
        assert!(rig.pids(&spec.id).len() <= 30, "the limit holds");
        matches!(state, State::Exited(exit) if exit.code != 0)
    })
    .await;
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_stays_bounded_and_ends() {
    let Some(rig) = Rig::new() else { return };
    let script = "yes 'a line of a flood that nobody wants to read' | head -c 100000000; echo the end >&2";
    let spec = rig.script("e-1-0", script);
    let (code, _) = rig.run(&spec).await;
    assert_eq!(code, 0);
    let log = rig.sandbox.log(&spec.id);
    let size = std::fs::metadata(&log).expect("a log").len();
    let old = std::fs::metadata(log.with_extension("1")).map_or(0, |m| m.len());
    assert!(size <= MAX_LOG && old <= MAX_LOG, "{size} and {old}");
    assert!(rig.lines(&spec.id).iter().any(|l| l.text.contains("lines were dropped here")));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_kernel_are_only_lowered() {
    let Some(rig) = Rig::new() else { return };
    let script =
        "ulimit -Hc; ulimit -Hn; grep -E '^(NoNewPrivs|Seccomp|CapEff|CapPrm|CapBnd):' /proc/self/status";
    let (_, text) = rig.run(&rig.script("e-1-0", script)).await;
    let lines: Vec<String> = text.lines().map(|l| l.replace('\t', " ")).collect();
    assert_eq!(lines[0], "0", "no core files");
    assert!(lines[1].parse::<u64>().expect("a number") <= 65_536, "{text}");
    assert_eq!(
        &lines[2..],
        [
            "CapPrm: 0000000000000000",
            "CapEff: 0000000000000000",
            "CapBnd: 00000000000000e0",
            "NoNewPrivs: 1",
            "Seccomp: 2"
        ]
    );
    rig.close().await;
}
