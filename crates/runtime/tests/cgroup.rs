//! Control groups on the real kernel: freezing, ending, limits, and that nothing is left. Needs root; skipped loudly without.

#![allow(clippy::print_stderr, reason = "a skipped test has to be loud")]

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;
use teal_runtime::{
    Limits,
    cgroup::{Cgroups, Group},
};

/// Far beyond what any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A subtree of this test alone, with one group; both go when it is dropped, also after a failed assertion.
struct Rig {
    cgroups: Option<Cgroups>,
    group: Group,
    id: InstanceId,
    children: Vec<Child>,
}

impl Rig {
    fn new(name: &str, limits: &Limits) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: `{name}` needs root to make control groups");
            return None;
        }
        let cgroups = Cgroups::detect(&format!("teal-test-{}-{name}", std::process::id()))
            .expect("this host has control groups");
        let id: InstanceId = "e-1-0".parse().expect("an id");
        let group = cgroups.create(&id, limits).expect("a group");
        Some(Self { cgroups: Some(cgroups), group, id, children: Vec::new() })
    }

    /// A shell that joins the group before it runs the script, as an instance does.
    fn run(&mut self, script: &str) -> u32 {
        let files: Vec<String> =
            self.group.procs_files().iter().map(|file| file.display().to_string()).collect();
        let join = format!("for file in {}; do echo 0 > $file || exit 99; done; {script}", files.join(" "));
        let child =
            Command::new("/bin/bash").args(["-c", &join]).stdin(Stdio::null()).spawn().expect("bash starts");
        self.children.push(child);
        let pid = self.children[self.children.len() - 1].id();
        wait("the shell joins every hierarchy", || joined(&self.group, pid));
        pid
    }

    fn cgroups(&self) -> &Cgroups {
        self.cgroups.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let ended = self.group.kill();
        for child in &mut self.children {
            let _reaped = child.wait();
        }
        let removed = ended.and_then(|()| self.group.remove());
        let gone = removed.and_then(|()| self.cgroups.take().map_or(Ok(()), Cgroups::remove_subtree));
        if !thread::panicking() {
            gone.expect("nothing is left");
        }
    }
}

fn limits() -> Limits {
    Limits { memory_mib: 64, cpu_milli: 500, pids: 16, disk_mib: 1 }
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "never came: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn joined(group: &Group, pid: u32) -> bool {
    let listed = |file: &Path| {
        fs::read_to_string(file).unwrap_or_default().lines().any(|line| line == pid.to_string())
    };
    group.procs_files().iter().all(|file| listed(file)) || !Path::new(&format!("/proc/{pid}")).exists()
}

/// CPU that a process has used, in clock ticks: it grows while the process runs.
fn ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let after = text.rsplit(") ").next().expect("the fields after the name");
    after.split(' ').nth(11).and_then(|field| field.parse().ok()).expect("utime")
}

#[test]
fn a_frozen_group_uses_no_cpu_and_goes_on_where_it_was() {
    let Some(mut rig) = Rig::new("freeze", &limits()) else { return };
    let pid = rig.run("while :; do :; done");
    wait("it spins", || ticks(pid) > 1);
    for _ in 0..2 {
        rig.group.freeze().expect("freezes, twice the same");
    }
    assert!(rig.group.frozen().expect("tells"));
    let before = ticks(pid);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(ticks(pid), before, "a frozen process ran");
    for _ in 0..2 {
        rig.group.thaw().expect("thaws, twice the same");
    }
    assert!(!rig.group.frozen().expect("tells"));
    wait("it spins again", || ticks(pid) > before);
}

#[test]
fn a_frozen_group_dies_wholly_and_leaves_nothing() {
    let Some(mut rig) = Rig::new("kill", &limits()) else { return };
    rig.run("sleep 1000 & setsid sleep 1000 & trap '' TERM INT HUP; wait");
    wait("all three run", || rig.group.pids().expect("tells").len() == 3);
    rig.group.freeze().expect("freezes");
    rig.group.kill().expect("ends them");
    assert_eq!(rig.group.pids().expect("tells"), Vec::<u32>::new());
    let status = rig.children[0].wait().expect("reaped");
    assert_eq!(status.signal(), Some(9));
    rig.group.kill().expect("nothing to end is fine");
    rig.group.remove().expect("removed");
    rig.group.remove().expect("removing twice is fine");
    assert!(rig.cgroups().find(&rig.id).is_none());
    assert!(rig.cgroups().list().is_empty());
}

#[test]
fn the_memory_limit_ends_the_app_and_is_told() {
    let Some(mut rig) = Rig::new("memory", &limits()) else { return };
    assert_eq!(rig.group.oom_kills(), 0);
    // `tail` keeps the last line in memory, and this one never ends.
    rig.run("tail /dev/zero & wait $!; exit $?");
    let status = rig.children[0].wait().expect("it ends");
    assert!(rig.group.oom_kills() >= 1, "ended with {status} but the kernel counted nothing");
    assert!(!status.success());
}

#[test]
fn the_pids_limit_holds() {
    let Some(mut rig) = Rig::new("pids", &limits()) else { return };
    rig.run("for i in $(seq 40); do sleep 1000 & done 2>/dev/null; wait");
    wait("some run", || rig.group.pids().expect("tells").len() >= 8);
    for _ in 0..50 {
        assert!(rig.group.pids().expect("tells").len() <= 16);
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_group_is_made_once_and_its_limits_can_change() {
    let Some(mut rig) = Rig::new("again", &limits()) else { return };
    for memory_mib in [32, 256, 64] {
        let again = Limits { memory_mib, ..limits() };
        rig.cgroups().create(&rig.id, &again).expect("up and down");
    }
    let pid = rig.run("exec sleep 1000");
    assert_eq!(rig.cgroups().list(), std::slice::from_ref(&rig.id));
    let found = rig.cgroups().find(&rig.id).expect("found by its name alone");
    assert_eq!(found.pids().expect("tells"), [pid]);
    assert!(found.memory_bytes() > 0);
    let used = found.usage().expect("counted");
    assert!(used.cpu_us > 0 && used.memory_bytes > 0, "{used:?}");
    rig.group.freeze().expect("freezes");
    assert!(found.reclaim() <= 64 << 20);
}

#[test]
fn names_that_leave_the_root_are_refused() {
    for name in ["", "..", "a/b", "Teal"] {
        assert!(Cgroups::detect(name).is_err(), "{name:?}");
    }
}
