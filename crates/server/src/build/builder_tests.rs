//! Builds of real commits by real processes. This test binary is also the supervisor of those processes ([`supervisor_entry`]).

use super::*;
use crate::world::now;
use std::time::{Duration, Instant};
use teal_core::{id::AppId, time::Time};
use teal_runtime::{
    Limits, State,
    fake::{Behaviour, Call, Fake, Fault},
    process::{self, Process, supervisor},
};

/// Far beyond what any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn supervisor_entry() {
    if std::env::var_os("TEAL_SUPERVISE").is_some() {
        let _code = supervisor::main();
    }
}

struct Rig {
    directory: tempfile::TempDir,
    logs: Logs,
    runtime: Arc<Process>,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let logs = Logs::open(directory.path().join("logs")).expect("logs");
        let runtime = Arc::new(processes(directory.path()));
        let rig = Self { directory, logs, runtime };
        rig.git(&["init", "-q", "-b", "main", "repository"], ".");
        rig
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn git(&self, arguments: &[&str], directory: &str) -> String {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.invalid"])
            .args(arguments)
            .current_dir(self.at(directory))
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.at("repository").join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        self.git(&["add", "-A"], "repository");
        self.git(&["commit", "-q", "--allow-empty", "-m", "a change"], "repository");
        self.git(&["rev-parse", "HEAD"], "repository")
    }

    fn job(&self, deployment: &str, commit: &str, variables: &[(&str, &str)]) -> Job {
        Job {
            deployment: deployment.parse().expect("legal"),
            app: "app-1".parse::<AppId>().expect("legal"),
            name: "shop".into(),
            commit: commit.to_owned(),
            repository: self.at("repository/.git"),
            variables: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            kept_out: Vec::new(),
            kind: None,
            limits: Limits { memory_mib: 512, cpu_milli: 1000, pids: 200, disk_mib: 512 },
            deadline: now().plus(u64::try_from(PATIENCE.as_millis()).expect("fits")),
            image: "host".into(),
        }
    }

    fn builder<R: Runtime>(&self, runtime: Arc<R>, logs: &Logs) -> Builder<R> {
        let config = Config { data: self.at("data"), ..Config::default() };
        let releases = Releases::open(&self.at("data/releases")).expect("opened");
        let program = std::env::current_exe().expect("a program");
        Builder::new(runtime, Arc::new(releases), logs.clone(), &config, program)
    }

    fn processes(&self) -> Builder<Process> {
        self.builder(Arc::clone(&self.runtime), &self.logs)
    }

    fn lines(&self, deployment: &str) -> Vec<String> {
        let id = deployment.parse().expect("legal");
        let logs = Logs::open(self.at("logs")).expect("logs");
        let lines = logs.read(&id, 0, usize::MAX).expect("read");
        lines.into_iter().map(|line| line.text).collect()
    }

    async fn until_line(&self, deployment: &str, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.lines(deployment).iter().any(|line| line == text) {
            assert!(Instant::now() < until, "never said: {text}; but {:?}", self.lines(deployment));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Nothing is left of any build, neither running nor on the disk.
    async fn nothing_left(&self, builder: &Builder<Process>) {
        assert_eq!(self.runtime.list().await, Outcome::Done(vec![]));
        builder.collect(&HashSet::new());
        let until = Instant::now() + PATIENCE;
        while fs::read_dir(self.at("data/builds")).expect("listed").count() > 0 {
            assert!(Instant::now() < until, "the builds' directories stay");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let runtime = Arc::clone(&self.runtime);
        let removal = std::thread::spawn(move || {
            let tokio =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio.block_on(async {
                if let Outcome::Done(ids) = runtime.list().await {
                    for id in ids {
                        runtime.remove(&id).await;
                    }
                }
            });
        });
        drop(removal.join());
    }
}

fn processes(directory: &Path) -> Process {
    let arguments = ["--exact", "build::builder::tests::supervisor_entry"].map(str::to_owned).to_vec();
    let config = process::Config { arguments, ..process::Config::new(directory.join("processes")) };
    Process::open(config).expect("opens")
}

fn done(outcome: Outcome<Built>) -> Built {
    match outcome {
        Outcome::Done(built) => built,
        other => panic!("not built: {other:?}"),
    }
}

fn broke(outcome: Outcome<Built>) -> String {
    match outcome {
        Outcome::Broke(failure) => failure.message,
        other => panic!("not broken: {other:?}"),
    }
}

/// The position of each text, all of which are there once and in this order.
#[track_caller]
fn in_order(lines: &[String], texts: &[&str]) {
    let mut last = 0;
    for text in texts {
        let found: Vec<_> = lines.iter().enumerate().filter(|(_, line)| line.starts_with(text)).collect();
        assert_eq!(found.len(), 1, "`{text}` in {lines:#?}");
        assert!(found[0].0 >= last, "`{text}` comes too early in {lines:#?}");
        last = found[0].0;
    }
}

const HOOKS: [(&str, &str); 4] = [
    ("CC_PRE_BUILD_HOOK", "echo hook one"),
    ("CC_BUILD_COMMAND", "echo \"$INSTANCE_TYPE $COMMIT_ID $PORT\"; echo; mkdir out; echo made > out/file"),
    ("CC_POST_BUILD_HOOK", "echo hook two; mkfifo pipe"),
    ("CC_RUN_COMMAND", "cat out/file"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_becomes_a_release_and_is_built_once() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a.sh", "echo a"), ("sub/b", "x")]);
    let builder = rig.processes();
    let built = done(builder.build(rig.job("d-1", &commit, &HOOKS)).await);
    assert!(!built.cached);
    let lines = rig.lines("d-1");
    let seen = format!("build {commit} 8080");
    let deploying = format!("Deploying commit ID {commit}");
    let said = [
        "Type linux",
        "hook one",
        &seen,
        "hook two",
        "Left out of the release",
        "Build succeeded in 0 minutes",
    ];
    in_order(&lines, &[[deploying.as_str()].as_slice(), &said].concat());
    let release = builder.releases.get(&built.release).expect("read").expect("there");
    assert_eq!(fs::read_to_string(release.tree.join("out/file")).expect("read"), "made\n");
    assert!(!release.tree.join("pipe").exists() && !release.tree.join(".git").exists());
    assert_eq!(release.meta.run.start, None, "a variable starts it, and no variable is kept in a release");

    let again = done(builder.build(rig.job("d-2", &commit, &HOOKS)).await);
    assert_eq!((again.cached, &again.release), (true, &built.release));
    let lines = rig.lines("d-2");
    in_order(&lines, &[&deploying, "This commit was built before"]);
    assert!(!lines.iter().any(|line| line.contains("hook")), "no hook from the cache: {lines:?}");

    let off = [HOOKS.as_slice(), &[("CC_DISABLE_BUILD_CACHE_UPLOAD", "true")]].concat();
    let third = done(builder.build(rig.job("d-3", &commit, &off)).await);
    assert_eq!((third.cached, &third.release), (false, &built.release), "the same content has the same name");
    let same = done(builder.build(rig.job("d-3", &commit, &off)).await);
    assert!(same.cached && same.release == built.release, "asked again, it is not built again");
    rig.nothing_left(&builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_stage_and_code_and_stays_the_same() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a.sh", "")]);
    let builder = rig.processes();
    let variables = [
        ("CC_RUN_COMMAND", "x"),
        ("CC_BUILD_COMMAND", "echo why >&2; exit 3"),
        ("CC_POST_BUILD_HOOK", "echo no"),
    ];
    let failure = broke(builder.build(rig.job("d-1", &commit, &variables)).await);
    assert!(failure.contains("stage `build`") && failure.contains("exit code 3"), "{failure}");
    let lines = rig.lines("d-1");
    in_order(&lines, &["why", "Build failed in 0 minutes"]);
    assert!(!lines.contains(&"no".to_owned()), "{lines:?}");
    assert_eq!(broke(builder.build(rig.job("d-1", &commit, &variables)).await), failure);
    assert_eq!(rig.lines("d-1"), lines, "asked again, nothing is run or said again");
    let missing = broke(
        builder
            .build(rig.job(
                "d-2",
                &commit,
                &[("CC_RUN_COMMAND", "x"), ("CC_PRE_BUILD_HOOK", "no-such-thing")],
            ))
            .await,
    );
    assert!(
        missing.contains("CC_PRE_BUILD_HOOK") && missing.contains("a command was not found"),
        "{missing}"
    );
    rig.nothing_left(&builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_built_is_said_before_anything_runs() {
    let rig = Rig::new();
    let commit = rig.commit(&[("package.json", "{}")]);
    let fake = Arc::new(Fake::new(rig.at(".")));
    let builder = rig.builder(Arc::clone(&fake), &rig.logs);
    let failure = broke(builder.build(rig.job("d-1", &commit, &[])).await);
    assert!(failure.contains("no scripts.start and no main"), "{failure}");
    let failure = broke(builder.build(rig.job("d-2", &commit, &[("APP_FOLDER", "../x")])).await);
    assert!(failure.contains("APP_FOLDER=../x"), "{failure}");
    let failure = broke(builder.build(rig.job("d-3", &commit, &[("APP_FOLDER", "none")])).await);
    assert!(failure.contains("APP_FOLDER=none"), "{failure}");
    assert!(!fake.calls().iter().any(|(call, _)| *call == Call::Ensure));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_needs_no_build_needs_no_sandbox() {
    let rig = Rig::new();
    let commit = rig.commit(&[("index.html", "hello")]);
    let fake = Arc::new(Fake::new(rig.at(".")));
    let builder = rig.builder(Arc::clone(&fake), &rig.logs);
    let built = done(builder.build(rig.job("d-1", &commit, &[])).await);
    assert!(!fake.calls().iter().any(|(call, _)| *call == Call::Ensure));
    let release = builder.releases.get(&built.release).expect("read").expect("there");
    assert!(release.meta.run.needs_teal);
    assert!(builder.server().join("teal").is_file());
}

const COUNTS: &str = "for i in $(seq 60); do echo line $i; sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_follows_the_same_build() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a", "")]);
    let variables = [("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", COUNTS)];
    let (builder, job) = (rig.processes(), rig.job("d-1", &commit, &variables));
    let first = tokio::spawn(async move { builder.build(job).await });
    rig.until_line("d-1", "line 5").await;
    first.abort();
    assert!(first.await.is_err());
    let logs = Logs::open(rig.at("logs")).expect("logs");
    let builder = rig.builder(Arc::new(processes(rig.directory.path())), &logs);
    done(builder.build(rig.job("d-1", &commit, &variables)).await);
    let lines = rig.lines("d-1");
    in_order(&lines, &["Deploying commit ID", "line 60", "Build succeeded in"]);
    let counted: Vec<_> = lines.iter().filter(|line| line.starts_with("line ")).cloned().collect();
    assert_eq!(counted, (1..=60).map(|i| format!("line {i}")).collect::<Vec<_>>());
    rig.nothing_left(&builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_disappears_is_replaced() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a", "")]);
    let variables =
        [("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", "echo started; [ -e go ] || exec sleep 600")];
    let (builder, job) = (Arc::new(rig.processes()), rig.job("d-1", &commit, &variables));
    let (task, again) = (Arc::clone(&builder), job.clone());
    let first = tokio::spawn(async move { task.build(job).await });
    rig.until_line("d-1", "started").await;
    // The host restarts: server and sandbox are gone.
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(rig.runtime.remove(&again.deployment.build()).await, Outcome::Done(()));
    let (task, job) = (Arc::clone(&builder), again.clone());
    let second = tokio::spawn(async move { task.build(job).await });
    rig.until_line("d-1", "The build's sandbox disappeared (a restart of the host?): it is begun anew").await;
    second.abort();
    let _ = second.await;
    rig.runtime.remove(&again.deployment.build()).await;
    rig.nothing_left(&builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_build_meets_its_deadline() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a", "")]);
    let builder = rig.processes();
    let variables = [("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", "echo waiting; sleep 600")];
    let job = Job { deadline: now().plus(1_000), ..rig.job("d-1", &commit, &variables) };
    let failure = broke(builder.build(job).await);
    assert!(failure.contains("took too long") && failure.contains("`build`"), "{failure}");
    rig.nothing_left(&builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_leaves_nothing() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a", "")]);
    let variables = [("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", "echo waiting; sleep 600 & wait")];
    let (builder, job) = (Arc::new(rig.processes()), rig.job("d-1", &commit, &variables));
    let id = job.deployment.build();
    let task = Arc::clone(&builder);
    let build = tokio::spawn(async move { task.build(job).await });
    rig.until_line("d-1", "waiting").await;
    builder.collect(&HashSet::new());
    assert!(rig.at("data/builds/d-1").exists(), "a build that is worked on is not collected");
    build.abort();
    let _ = build.await;
    assert_eq!(rig.runtime.remove(&id).await, Outcome::Done(()));
    let Outcome::Done(inspection) = rig.runtime.inspect(&id).await else { panic!("no answer") };
    assert_eq!(inspection.state, State::Absent);
    rig.nothing_left(&builder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_known_is_asked_for_again() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a", "")]);
    let fake = Arc::new(Fake::new(rig.at(".")));
    fake.behave("app-1", Behaviour { exits: Some(0), ..Behaviour::default() });
    let builder = rig.builder(Arc::clone(&fake), &rig.logs);
    let job = rig.job("d-1", &commit, &[("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", "y")]);
    for fault in [
        (Call::Ensure, Fault::UnknownBefore),
        (Call::Ensure, Fault::UnknownAfter),
        (Call::Remove, Fault::UnknownAfter),
    ] {
        fake.inject(fault.0, None, fault.1);
        let answer = builder.build(job.clone()).await;
        assert!(matches!(answer, Outcome::Unknown(_)), "{answer:?}");
    }
    let built = done(builder.build(job.clone()).await);
    assert!(!built.cached);
    in_order(&rig.lines("d-1"), &["Deploying commit ID", "Build succeeded in"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_named_when_it_ran_out() {
    let rig = Rig::new();
    let commit = rig.commit(&[("a", "")]);
    let fake = Arc::new(Fake::new(rig.at(".")));
    let builder = Arc::new(rig.builder(Arc::clone(&fake), &rig.logs));
    fake.behave("app-1", Behaviour { exits: Some(137), ..Behaviour::default() });
    let job = rig.job("d-1", &commit, &[("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", "y")]);
    let failure = broke(builder.build(job).await);
    assert!(failure.contains("137") && failure.contains("killed"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dependency_cache_is_kept_only_if_asked_for() {
    let rig = Rig::new();
    let builder = rig.processes();
    let count =
        "echo x >> \"$TEAL_CACHE/count\"; [ -d \"$HOME\" ] && wc -l < \"$TEAL_CACHE/count\" > counted";
    let counted = async |deployment: &str, keep: &str| {
        let commit = rig.commit(&[("a", deployment)]);
        let variables =
            [("CC_RUN_COMMAND", "x"), ("CC_BUILD_COMMAND", count), ("CC_CACHE_DEPENDENCIES", keep)];
        let built = done(builder.build(rig.job(deployment, &commit, &variables)).await);
        let tree = builder.releases.get(&built.release).expect("read").expect("there").tree;
        fs::read_to_string(tree.join("counted")).expect("read").trim().to_owned()
    };
    assert_eq!(counted("d-1", "true").await, "1");
    assert_eq!(counted("d-2", "true").await, "2");
    assert_eq!(counted("d-3", "false").await, "1");
    rig.nothing_left(&builder).await;
}

#[test]
fn the_time_of_a_build_is_told_in_words() {
    assert_eq!(super::super::course::spoken(Time(0), Time(125_900)), "2 minutes and 5 seconds");
}
