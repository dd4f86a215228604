//! What every test of sandboxes needs: a runtime of its own, an app, and a look at what is left.

pub(crate) use crate::common::done;

use crate::common;
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;
use teal_runtime::{
    Command, InstanceSpec, Limits, LogLine, Outcome, Runtime, State, Tree,
    cgroup::Cgroups,
    sandbox::{Config, Sandbox},
};

/// Far beyond what any of these takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An app of Python's standard library that answers on 8080 and says what it is asked.
pub(crate) const SERVER: &str = r#"
import http.server, os, sys, signal
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("hello from " + os.environ.get("WHO", "nobody") + self.path).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
def stop(*a):
    print("asked to stop", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.ThreadingHTTPServer((os.environ.get("BIND", "0.0.0.0"), int(os.environ["PORT"])), H).serve_forever()
"#;

/// One test's runtime.
pub(crate) struct Rig {
    pub(crate) sandbox: Sandbox,
    pub(crate) config: Config,
    directory: tempfile::TempDir,
}

impl Rig {
    /// `None`, and a line that says so, where sandboxes cannot be tested.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: sandboxes need root; run the tests as root to test them");
            return None;
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = (std::process::id().wrapping_mul(31).wrapping_add(number)) % 16_000;
        let mut config = Config::new(directory.path().join("data"));
        config.subtree = format!("teal-test-{}-{number}", std::process::id());
        config.table = format!("tealtest{}x{number}", std::process::id());
        config.pool = format!("10.{}.{}.0/26", 190 + own / 256 / 4, own % 256);
        let sandbox = Sandbox::open(config.clone()).expect("sandboxes work here");
        Some(Self { sandbox, config, directory })
    }

    /// What a server that starts again would have.
    pub(crate) fn again(&self) -> Sandbox {
        Sandbox::open(self.config.clone()).expect("opened again")
    }

    /// A sealed release with these files.
    pub(crate) fn release(&self, files: &[(&str, &str)]) -> PathBuf {
        let release =
            self.directory.path().join(format!("release-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&release).expect("made");
        for (name, text) in files {
            fs::write(release.join(name), text).expect("written");
        }
        release
    }

    /// An instance that runs one script over an empty release.
    pub(crate) fn script(&self, id: &str, script: &str) -> InstanceSpec {
        InstanceSpec {
            id: id.parse().expect("an id"),
            app: "app".parse().expect("an id"),
            image: None,
            tree: Tree::Sealed(self.release(&[("hello.txt", "sealed")])),
            commands: vec![Command { stage: "start".into(), script: script.into() }],
            workers: Vec::new(),
            variables: BTreeMap::from([("WHO".to_owned(), id.to_owned())]),
            port: Some(8080),
            tcp_port: None,
            limits: Limits { memory_mib: 256, cpu_milli: 1000, pids: 64, disk_mib: 64 },
            mounts: Vec::new(),
            egress: false,
        }
    }

    /// An instance that serves HTTP.
    pub(crate) fn python(&self, id: &str) -> InstanceSpec {
        let mut spec = self.script(id, "exec python3 server.py");
        spec.tree = Tree::Sealed(self.release(&[("server.py", SERVER)]));
        spec
    }

    /// Waits until the instance's state is as wanted, and answers it.
    pub(crate) async fn until(&self, id: &InstanceId, wanted: impl Fn(&State) -> bool) -> State {
        common::until(&self.sandbox, id, PATIENCE, wanted).await
    }

    /// Runs a script to its end; its exit code and what it wrote.
    pub(crate) async fn run(&self, spec: &InstanceSpec) -> (i32, String) {
        done(self.sandbox.ensure(spec).await);
        let State::Exited(exit) = self.until(&spec.id, |s| matches!(s, State::Exited(_))).await else {
            unreachable!()
        };
        let text = self.lines(&spec.id).into_iter().map(|l| l.text).collect::<Vec<_>>().join("\n");
        (exit.code, text)
    }

    /// The instance's log.
    pub(crate) fn lines(&self, id: &InstanceId) -> Vec<LogLine> {
        common::lines(&self.sandbox.log(id))
    }

    /// Waits until something listens inside.
    pub(crate) async fn until_listening(&self, id: &InstanceId) {
        self.until(id, |s| matches!(s, State::Running { listening } if !listening.is_empty())).await;
    }

    /// Waits until the log has this line.
    pub(crate) async fn until_line(&self, id: &InstanceId, text: &str) {
        self.until_line_count(id, text, 1).await;
    }

    /// Waits until the log has this line so many times.
    pub(crate) async fn until_line_count(&self, id: &InstanceId, text: &str, count: usize) {
        common::until_line(&self.sandbox.log(id), PATIENCE, text, count).await;
    }

    /// The body that an app answers to GET.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> std::io::Result<String> {
        let path = path.to_owned();
        let ask = move || common::get(address, &path, (Duration::from_secs(5), PATIENCE));
        tokio::task::spawn_blocking(ask).await.expect("no panic")
    }

    /// The instance's processes, by their numbers on the host.
    pub(crate) fn pids(&self, id: &InstanceId) -> Vec<u32> {
        let cgroups = Cgroups::detect(&self.config.subtree).expect("control groups");
        let mut pids = cgroups.find(id).map(|group| group.pids().expect("known")).unwrap_or_default();
        pids.sort_unstable();
        pids
    }

    /// How many of its processes have `text` in their arguments.
    pub(crate) fn count(&self, id: &InstanceId, text: &str) -> usize {
        let arguments = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        self.pids(id).iter().filter(|pid| arguments(pid).split('\0').any(|a| a == text)).count()
    }

    /// Who its processes are on the host.
    pub(crate) fn users(&self, id: &InstanceId) -> Vec<u32> {
        let user = |pid: &u32| fs::metadata(format!("/proc/{pid}")).ok().map(|m| m.uid());
        self.pids(id).iter().filter_map(user).collect()
    }

    /// Kills all of its processes at once, as an operator might.
    pub(crate) fn kill_all(&self, id: &InstanceId) {
        for pid in self.pids(id) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }

    /// Runs a shell command on the host in the instance's mount namespace, as the host's root.
    pub(crate) fn inside(&self, id: &InstanceId, script: &str) {
        let pid = self.pids(id).first().copied().expect("it runs");
        let status = std::process::Command::new("nsenter")
            .args(["-t", &pid.to_string(), "-m", "/bin/sh", "-c", script])
            .status()
            .expect("nsenter runs");
        assert!(status.success());
    }

    /// Removes everything, and looks that nothing is left on the host.
    pub(crate) async fn close(self) {
        for id in done(self.sandbox.list().await) {
            removed(&self.sandbox, &id).await;
        }
        assert_eq!(done(self.sandbox.list().await), []);
        self.nothing_left();
        assert!(self.sandbox.leave().await.expect("nothing holds it"), "the last one cleans up");
        no_address_left(&self.config.pool);
        let tables =
            std::process::Command::new("nft").args(["list", "tables"]).output().expect("nft runs").stdout;
        let left = String::from_utf8_lossy(&tables).split_whitespace().any(|name| name == self.config.table);
        assert!(!left, "a table is left");
    }

    /// Looks that no instance has left anything on the host.
    pub(crate) fn nothing_left(&self) {
        let data = self.config.data.canonicalize().expect("there");
        let instances = data.join("run/instances");
        assert_eq!(fs::read_dir(&instances).expect("there").count(), 0, "run directories are left");
        let mine = |text: &str| text.contains(data.to_str().expect("UTF-8"));
        for table in ["/proc/self/mountinfo", "/proc/swaps"] {
            assert!(!mine(&fs::read_to_string(table).expect("readable")), "a mount is left");
        }
        for device in fs::read_dir("/sys/block").expect("readable").flatten() {
            let backing = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            assert!(!mine(&backing), "a loop device is left: {backing}");
        }
        let own = |path: &Path| {
            fs::read_link(path.join("exe"))
                .is_ok_and(|exe| exe.to_string_lossy().contains("memfd:teal-agent"))
        };
        for process in fs::read_dir("/proc").expect("readable").flatten().filter(|p| own(&p.path())) {
            let cgroup = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
            assert!(!cgroup.contains(&format!("/{}/", self.config.subtree)), "an agent is left");
        }
    }
}

/// Looks that no gateway's address is left on the host, once the last server has gone.
fn no_address_left(pool: &str) {
    let pool: Vec<u8> = pool.split(['.', '/']).filter_map(|n| n.parse().ok()).collect();
    for held in nix::ifaddrs::getifaddrs().expect("readable") {
        let ip = held.address.as_ref().and_then(|a| Some(a.as_sockaddr_in()?.ip()));
        assert!(ip.is_none_or(|ip| ip.octets()[..3] != pool[..3]), "an address is left: {ip:?}");
    }
}

impl Drop for Rig {
    /// A test that failed leaves nothing either.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (sandbox, config) = (self.sandbox.clone(), self.config.clone());
        let clean = move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                for id in done(sandbox.list().await) {
                    removed(&sandbox, &id).await;
                }
            });
            drop(Cgroups::detect(&config.subtree).expect("control groups").remove_subtree());
            drop(std::process::Command::new("nft").args(["delete", "table", "inet", &config.table]).status());
        };
        // Not on the test's own runtime, which must not be entered twice; a second failure adds nothing.
        drop(std::thread::spawn(clean).join());
    }
}

/// Removes an instance as a server does: what is not known is tried again. On a busy disk the last mount takes its time to go.
pub(crate) async fn removed(sandbox: &Sandbox, id: &InstanceId) {
    let end = Instant::now() + PATIENCE;
    loop {
        match sandbox.remove(id).await {
            Outcome::Done(()) => return,
            Outcome::Unknown(why) if Instant::now() < end => eprintln!("once more: {why}"),
            other => panic!("not removed: {other:?}"),
        }
    }
}
