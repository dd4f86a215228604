//! The process runtime with real processes: instances outlive the runtime, sleep, wake, stop and leave nothing. No root needed.
//!
//! This test binary is its own supervisor: started with the role in its environment, it runs only [`supervisor_entry`].

#![allow(clippy::print_stderr, reason = "a skipped test has to be loud")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};
use teal_core::{
    id::InstanceId,
    worker::{Restart, Rule, Worker},
};
use teal_runtime::{
    Command, Exit, Inspection, InstanceSpec, Limits, LogLine, Mount, Outcome, Runtime, State, Tree,
    process::{Config, Process, supervisor},
};

/// Far beyond what any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn supervisor_entry() {
    if std::env::var_os("TEAL_SUPERVISE").is_some() {
        // The test harness would end well whatever a worker's keeper says; workers of these tests fail with 3.
        #[allow(clippy::exit, reason = "this process is a supervisor, no test")]
        if supervisor::main() != std::process::ExitCode::SUCCESS {
            std::process::exit(3);
        }
    }
}

/// A server of one page, with nothing but Python's standard library; bash where there is no Python would need a helper for sockets.
const SERVER: &str = "exec python3 -u -c '
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b\"hello\")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Page).serve_forever()'";

struct Rig {
    runtime: Process,
    dir: tempfile::TempDir,
    tokio: tokio::runtime::Runtime,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let release = dir.path().join("release");
        fs::create_dir(&release).expect("made");
        fs::write(release.join("file"), "sealed").expect("written");
        let mut sealed = fs::metadata(release.join("file")).expect("there").permissions();
        sealed.set_readonly(true);
        fs::set_permissions(release.join("file"), sealed).expect("set");
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self { runtime: open(dir.path()), dir, tokio }
    }

    /// What a restart of the server does: nothing is remembered but what is on disk.
    fn reopen(&mut self) {
        self.runtime = open(self.dir.path());
    }

    fn spec(&self, commands: &[&str]) -> InstanceSpec {
        let command = |(number, script): (usize, &&str)| Command {
            stage: format!("s{number}"),
            script: (*script).to_owned(),
        };
        InstanceSpec {
            id: id("e-1-0"),
            app: "shop".parse().expect("legal"),
            image: None,
            tree: Tree::Sealed(self.dir.path().join("release")),
            commands: commands.iter().enumerate().map(command).collect(),
            workers: Vec::new(),
            variables: BTreeMap::new(),
            port: Some(8080),
            tcp_port: None,
            limits: Limits { memory_mib: 64, cpu_milli: 1000, pids: 64, disk_mib: 64 },
            mounts: Vec::new(),
            egress: true,
        }
    }

    fn ensure(&self, spec: &InstanceSpec) -> Inspection {
        done(self.tokio.block_on(self.runtime.ensure(spec)))
    }

    fn inspect(&self) -> Inspection {
        done(self.tokio.block_on(self.runtime.inspect(&id("e-1-0"))))
    }

    fn remove(&self) {
        done(self.tokio.block_on(self.runtime.remove(&id("e-1-0"))));
    }

    fn list(&self) -> Vec<InstanceId> {
        done(self.tokio.block_on(self.runtime.list()))
    }

    fn log(&self) -> Vec<LogLine> {
        let text = fs::read_to_string(self.runtime.log(&id("e-1-0"))).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of the log")).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.log().into_iter().map(|line| line.text).collect()
    }

    fn exit(&self) -> Exit {
        let mut exit = None;
        wait("the end", || {
            if let State::Exited(found) = self.inspect().state {
                exit = Some(found);
            }
            exit.is_some()
        });
        exit.expect("waited for")
    }

    fn serving(&self, spec: &InstanceSpec) -> SocketAddr {
        let address = self.ensure(spec).address.expect("it has a port");
        wait(
            "it listens",
            || matches!(self.inspect().state, State::Running { listening } if listening.contains(&address)),
        );
        address
    }

    fn instance_dir(&self) -> PathBuf {
        self.dir.path().join("data/instances/e-1-0")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let ids = self.tokio.block_on(self.runtime.list());
        let Outcome::Done(ids) = ids else { return };
        ids.iter().for_each(|id| drop(self.tokio.block_on(self.runtime.remove(id))));
    }
}

fn open(dir: &Path) -> Process {
    // A directory whose own name is longer than a socket's path may be.
    let arguments = ["--exact", "supervisor_entry"].map(str::to_owned).to_vec();
    Process::open(Config { arguments, ..Config::new(dir.join("data")) }).expect("opens")
}

fn id(text: &str) -> InstanceId {
    text.parse().expect("legal")
}

fn done<T: std::fmt::Debug>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Done(value) => value,
        other => panic!("not done: {other:?}"),
    }
}

fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Is python3 there? It is needed for a real server.
fn python(name: &str) -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    let there =
        *THERE.get_or_init(|| std::process::Command::new("python3").arg("--version").output().is_ok());
    if !there {
        eprintln!("SKIPPED: `{name}` needs python3 (apt-get install -y python3)");
    }
    there
}

fn get(address: SocketAddr, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Processes whose environment names this directory: all that belongs to the rig, supervisors included.
fn processes(needle: &Path) -> Vec<i32> {
    let needle = needle.to_str().expect("text").as_bytes().to_vec();
    let pids = fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let own = i32::try_from(std::process::id()).expect("a pid");
    let belongs = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.windows(needle.len()).any(|part| part == needle))
    };
    pids.filter(|pid| *pid != own).filter(belongs).collect()
}

#[test]
fn an_instance_serves_outlives_the_server_and_leaves_nothing() {
    if !python("an_instance_serves") {
        return;
    }
    let mut rig = Rig::new();
    let spec = rig.spec(&["echo prepared; echo changed > file", SERVER]);
    let address = rig.serving(&spec);
    assert!(get(address, PATIENCE).expect("an answer").ends_with("hello"));
    rig.reopen();
    assert_eq!(rig.list(), [id("e-1-0")]);
    assert_eq!(rig.ensure(&spec).address, Some(address), "the same one, on the same port");
    assert!(rig.inspect().memory_bytes.expect("told") > 1 << 20);
    assert_eq!(fs::read_to_string(rig.dir.path().join("release/file")).expect("there"), "sealed");
    rig.remove();
    rig.remove();
    assert_eq!(rig.inspect().state, State::Absent);
    assert!(rig.list().is_empty() && !rig.instance_dir().exists());
    assert_eq!(processes(rig.dir.path()), Vec::<i32>::new());
    assert_eq!(rig.texts(), ["prepared"], "the log stays");
    done(rig.tokio.block_on(rig.runtime.forget(&id("e-1-0"))));
    assert!(!rig.runtime.log(&id("e-1-0")).exists());
}

#[test]
fn a_sleeper_answers_nothing_and_goes_on_after_waking() {
    if !python("a_sleeper") {
        return;
    }
    let rig = Rig::new();
    let address = rig.serving(&rig.spec(&[SERVER]));
    for _ in 0..2 {
        done(rig.tokio.block_on(rig.runtime.sleep(&id("e-1-0"))));
        assert_eq!(rig.inspect().state, State::Frozen);
    }
    assert_eq!(get(address, Duration::from_millis(500)), None, "a stopped process answered");
    done(rig.tokio.block_on(rig.runtime.wake(&id("e-1-0"))));
    assert!(get(address, PATIENCE).expect("an answer").ends_with("hello"));
    done(rig.tokio.block_on(rig.runtime.sleep(&id("e-1-0"))));
    rig.remove();
    assert_eq!(processes(rig.dir.path()), Vec::<i32>::new(), "sleepers can be ended");
}

#[test]
fn a_second_port_has_its_own_variable_and_address() {
    if !python("a_second_port_has_its_own_variable_and_address") {
        return;
    }
    let mut rig = Rig::new();
    let script = SERVER.replace("PORT", "TCP_PORT");
    let spec = InstanceSpec { tcp_port: Some(5432), ..rig.spec(&[&script]) };
    let first = rig.ensure(&spec);
    let (http, tcp) = (first.address.expect("one"), first.tcp_address.expect("two"));
    assert_ne!(http, tcp);
    let listens =
        |rig: &Rig| matches!(rig.inspect().state, State::Running { listening } if listening == [tcp]);
    wait("it listens on its second port", || listens(&rig));
    assert!(get(tcp, PATIENCE).expect("an answer").ends_with("hello"));
    rig.reopen();
    assert_eq!((rig.inspect().address, rig.inspect().tcp_address), (Some(http), Some(tcp)));
    rig.remove();
    assert_eq!(rig.ensure(&rig.spec(&["printenv TCP_PORT; sleep 1000"])).tcp_address, None);
}

#[test]
fn the_first_command_that_fails_ends_it_and_is_told() {
    let rig = Rig::new();
    rig.ensure(&rig.spec(&["echo one", "echo two >&2; exit 7", "echo never"]));
    assert_eq!(rig.exit(), Exit { stage: "s1".to_owned(), code: 7, out_of_memory: false });
    let log = rig.log();
    assert_eq!(rig.texts(), ["one", "two"]);
    assert!(!log[0].error && log[1].error && log[1].stage == "s1");
    let told = rig.tokio.block_on(rig.runtime.wake(&id("e-1-0")));
    assert!(
        matches!(told, Outcome::Broke(ref failure) if failure.message.contains("s1 exited with 7")),
        "{told:?}"
    );
    assert_eq!(
        rig.ensure(&rig.spec(&["echo again"])).state,
        State::Exited(rig.exit()),
        "it is not run twice"
    );
}

#[test]
fn a_build_works_in_its_own_tree_and_signals_count_from_128() {
    let rig = Rig::new();
    let tree = rig.dir.path().join("work");
    let cache = rig.dir.path().join("cache");
    fs::create_dir(&tree).expect("made");
    let mut spec = rig.spec(&["pwd > out; echo $APP_HOME $CACHE >> out; touch $CACHE/x", "kill -9 $$"]);
    spec.tree = Tree::Working(tree.clone());
    spec.port = None;
    spec.variables = BTreeMap::from([
        ("APP_HOME".to_owned(), "/app".to_owned()),
        ("CACHE".to_owned(), "/cache".to_owned()),
    ]);
    spec.mounts = vec![Mount { source: cache.clone(), target: "/cache".into(), writable: true }];
    assert_eq!(rig.ensure(&spec).address, None);
    assert_eq!(rig.exit().code, 137);
    let expected = format!("{0}\n{0} {1}\n", tree.display(), cache.display());
    assert_eq!(fs::read_to_string(tree.join("out")).expect("written"), expected);
    assert!(cache.join("x").exists());
    let record = fs::read_to_string(rig.instance_dir().join("record.json")).expect("there");
    assert!(!record.contains("\"/app\""), "variables are secrets");
    rig.remove();
    assert!(tree.join("out").exists(), "a working tree is its owner's");
}

#[test]
fn stopping_is_gentle_first_and_final_at_the_deadline() {
    let rig = Rig::new();
    let gentle = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let deaf = "trap 'echo ignored' TERM; echo up; while :; do sleep 0.01; done";
    for (script, last) in [(gentle, "bye"), (deaf, "ignored")] {
        rig.ensure(&rig.spec(&[script]));
        wait("it is up", || rig.texts().contains(&"up".to_owned()));
        done(rig.tokio.block_on(rig.runtime.sleep(&id("e-1-0"))));
        let deadline = if last == "bye" { PATIENCE } else { Duration::from_millis(300) };
        done(rig.tokio.block_on(rig.runtime.stop(&id("e-1-0"), deadline)));
        assert_eq!(rig.texts().last().map(String::as_str), Some(last));
        assert!(rig.list().is_empty());
        assert_eq!(processes(rig.dir.path()), Vec::<i32>::new());
        done(rig.tokio.block_on(rig.runtime.forget(&id("e-1-0"))));
    }
}

#[test]
fn a_stop_that_broke_off_leaves_nothing_to_count_on() {
    let mut rig = Rig::new();
    let spec = rig.spec(&["trap 'echo told' TERM; echo up; while :; do sleep 0.01; done"]);
    let ups = |rig: &Rig| rig.texts().iter().filter(|text| *text == "up").count();
    rig.ensure(&spec);
    wait("it is up", || ups(&rig) == 1);
    let before = processes(&rig.instance_dir());
    let runtime = rig.runtime.clone();
    let stop = rig.tokio.spawn(async move { runtime.stop(&id("e-1-0"), PATIENCE * 10).await });
    wait("it is told to stop", || rig.texts().contains(&"told".to_owned()));
    stop.abort();
    let stopped = rig.tokio.block_on(stop);
    assert!(stopped.is_err_and(|end| end.is_cancelled()), "the server dies before the app has ended");
    rig.reopen();
    assert!(matches!(rig.inspect().state, State::Running { .. }), "what still runs is not denied");
    let told = rig.tokio.block_on(rig.runtime.sleep(&id("e-1-0")));
    assert!(matches!(told, Outcome::Broke(_)), "it is nothing to come back to: {told:?}");
    rig.ensure(&spec);
    wait("it is up again", || ups(&rig) == 2);
    assert!(processes(&rig.instance_dir()).iter().all(|pid| !before.contains(pid)), "the old ones are gone");
}

#[test]
fn workers_run_when_wanted_and_none_is_left_when_not() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["exec sleep 1000"]);
    // It leaves its session and its parents, and ignores what asks it to end.
    let pids = rig.dir.path().join("pids");
    spec.workers = vec![format!(
        "trap '' TERM; setsid bash -c 'trap \"\" TERM; echo $$ >> {}; while :; do sleep 1; done' & exit 0",
        pids.display()
    )
    .into()];
    let lasting = format!("echo $$ >> {}; exec sleep 1000", pids.display());
    spec.workers.push(lasting.into());
    rig.ensure(&spec);
    let living = || -> Vec<String> {
        let text = fs::read_to_string(&pids).unwrap_or_default();
        text.lines().filter(|pid| Path::new("/proc").join(pid).exists()).map(str::to_owned).collect()
    };
    assert!(living().is_empty());
    for _ in 0..2 {
        done(rig.tokio.block_on(rig.runtime.singletons(&id("e-1-0"), true)));
        wait("the lasting one runs", || !living().is_empty());
        done(rig.tokio.block_on(rig.runtime.singletons(&id("e-1-0"), false)));
        assert_eq!(living(), Vec::<String>::new(), "acknowledged, but some run");
    }
    assert!(matches!(rig.inspect().state, State::Running { .. }), "the app itself goes on");
}

#[test]
fn a_worker_starts_again_as_its_rule_says_and_telling_it_twice_changes_nothing() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["exec sleep 1000"]);
    let lasting = |script: &str, restart| Worker {
        rule: Rule::Lasting { restart, delay_s: 0 },
        ..Worker::from(script)
    };
    spec.workers = vec![
        lasting("echo always", Restart::Always),
        lasting("echo failing; exit 3", Restart::OnFailure),
        lasting("echo once", Restart::OnFailure),
        lasting("echo never; exit 3", Restart::No),
    ];
    rig.ensure(&spec);
    let count = |text: &str| rig.texts().iter().filter(|line| *line == text).count();
    let told = |text: &str| rig.texts().iter().any(|line| line == text);
    let run = |wanted| done(rig.tokio.block_on(rig.runtime.singletons(&id("e-1-0"), wanted)));
    run(true);
    wait("the others start again", || count("always") >= 3 && count("failing") >= 2);
    wait("both ends were told", || {
        told("The worker ended with exit code 0; it is not started again (CC_WORKER_RESTART is on-failure)")
            && told("The worker ended with exit code 3; it is not started again (CC_WORKER_RESTART is no)")
    });
    run(true);
    let seen = count("always");
    wait("the others go on", || count("always") > seen + 1);
    assert_eq!((count("once"), count("never")), (1, 1));
    run(false);
    run(true);
    wait("stopped and started they run once more", || (count("once"), count("never")) == (2, 2));
}

#[test]
fn a_cron_runs_at_its_minute_and_not_before() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["exec sleep 1000"]);
    let schedule = "* * * * *".parse().expect("understood");
    let script = "echo minute $(date -u +%M) of $PORT";
    spec.workers =
        vec![Worker { stage: "cron".into(), script: script.into(), rule: Rule::Timed { schedule } }];
    rig.ensure(&spec);
    done(rig.tokio.block_on(rig.runtime.singletons(&id("e-1-0"), true)));
    let asked = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after").as_secs();
    let until = std::time::Instant::now() + Duration::from_secs(150);
    let ran_at = || rig.texts().into_iter().filter(|line| line.starts_with("minute ")).collect::<Vec<_>>();
    while ran_at().is_empty() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ran = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after").as_secs();
    assert_eq!(ran_at().len(), 1, "{:?}", rig.texts());
    assert!(!ran_at()[0].ends_with("of "), "it has the app's variables: {:?}", ran_at());
    assert!(ran / 60 > asked / 60, "not in the minute in which it was told to run");
}

#[test]
fn a_killed_supervisor_is_found_out_and_its_orphans_do_not_stay() {
    let rig = Rig::new();
    let spec = rig.spec(&["echo up; exec sleep 1000"]);
    rig.ensure(&spec);
    wait("it is up", || !rig.texts().is_empty());
    let who: serde_json::Value =
        serde_json::from_slice(&fs::read(rig.instance_dir().join("who.json")).expect("told")).expect("json");
    let pid = who["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a pid");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
        .expect("killed");
    wait("nobody holds the lock", || rig.inspect().state == State::Absent);
    assert!(!processes(&rig.instance_dir()).is_empty(), "the orphan runs on");
    rig.ensure(&spec);
    wait("it is up again", || rig.texts().len() == 2);
    rig.remove();
    assert_eq!(processes(rig.dir.path()), Vec::<i32>::new());
}

#[test]
fn what_cannot_work_is_told_as_broken() {
    let rig = Rig::new();
    let mut spec = rig.spec(&["true"]);
    spec.tree = Tree::Sealed(rig.dir.path().join("nowhere"));
    let told = rig.tokio.block_on(rig.runtime.ensure(&spec));
    assert!(matches!(told, Outcome::Broke(_)), "{told:?}");
    let told = rig.tokio.block_on(rig.runtime.sleep(&id("e-9-0")));
    assert!(matches!(told, Outcome::Broke(_)), "{told:?}");
    let quiet = rig.tokio.block_on(rig.runtime.singletons(&id("e-9-0"), false));
    assert_eq!(quiet, Outcome::Done(()), "nothing runs, as asked");
}

#[test]
fn half_made_instances_are_made_anew() {
    let rig = Rig::new();
    fs::create_dir_all(rig.instance_dir().join("tree/half")).expect("made");
    fs::write(rig.instance_dir().join("record.json"), "{").expect("written");
    assert_eq!(rig.list(), [id("e-1-0")]);
    assert_eq!(rig.inspect().state, State::Absent);
    rig.ensure(&rig.spec(&["ls"]));
    assert_eq!(rig.exit().code, 0);
    assert_eq!(rig.texts(), ["file"]);
}
