//! What every test of virtual machines needs: a runtime of its own, an app, and a look at what is left.

pub(crate) use crate::common::done;

use crate::common;
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use teal_core::id::InstanceId;
use teal_runtime::{
    Command, Image, InstanceSpec, Limits, LogLine, Runtime, State, Tree,
    cgroup::Cgroups,
    vm::{Acceleration, Config, Vm},
};

/// Far beyond what any of these takes on a busy machine that emulates another.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An app of Python's standard library that answers on 8080: its time, random bytes, or what the path says.
pub(crate) const SERVER: &str = r#"
import os, signal, socket, sys, time
def answer(path):
    if path == "/time": return str(time.time())
    if path == "/random": return os.urandom(16).hex()
    if path == "/log": print("logged", flush=True); return "logged"
    return "hello from " + os.environ.get("WHO", "nobody") + path
def stop(*a):
    print("asked to stop", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
listener = socket.create_server((os.environ.get("BIND", "0.0.0.0"), int(os.environ["PORT"])))
while True:
    client, _ = listener.accept()
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(65536)
            if not part: break
            head += part
        else:
            head = head.decode()
        if not head or isinstance(head, bytes): continue
        body = answer(head.split(" ")[1]).encode()
        client.sendall(b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
"#;

/// One test's runtime.
pub(crate) struct Rig {
    pub(crate) vm: Vm,
    pub(crate) config: Config,
    directory: tempfile::TempDir,
}

/// The image under test.
pub(crate) fn image() -> Image {
    let directory = std::env::var_os("TEAL_IMAGE").map(PathBuf::from);
    let directory = directory
        .expect("TEAL_IMAGE names no image: make one with `cargo xtask image` and set it as it says");
    let version = directory.file_name().expect("a version").to_string_lossy().into_owned();
    Image { version, directory }
}

impl Rig {
    /// `None`, and a line that says so, where machines cannot be tested.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: virtual machines need root; run the tests as root to test them");
            return None;
        }
        // The stages of each boot: a second rig in the same process finds it done.
        let _ = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).try_init();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = (std::process::id().wrapping_mul(31).wrapping_add(number)) % 4096;
        let mut config = Config::new(directory.path().join("data"));
        config.sandbox.subtree = format!("teal-test-{}-{number}", std::process::id());
        config.sandbox.table = format!("tealtest{}x{number}", std::process::id());
        config.sandbox.pool = format!("10.{}.{}.0/26", 150 + own / 256, own % 256);
        config.image = Some(image());
        config.acceleration = Acceleration::Tcg;
        let vm = Vm::open(config.clone()).expect("virtual machines work here");
        Some(Self { vm, config, directory })
    }

    /// What a server that starts again would have.
    pub(crate) fn again(&self) -> Vm {
        Vm::open(self.config.clone()).expect("opened again")
    }

    /// A sealed release with these files.
    pub(crate) fn release(&self, files: &[(&str, &str)]) -> PathBuf {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let release = self.directory.path().join(format!("release-{number}"));
        fs::create_dir(&release).expect("made");
        for (name, text) in files {
            fs::write(release.join(name), text).expect("written");
        }
        release
    }

    /// An instance that runs one script over a release with one file.
    pub(crate) fn script(&self, id: &str, script: &str) -> InstanceSpec {
        InstanceSpec {
            id: id.parse().expect("an id"),
            app: "app".parse().expect("an id"),
            image: None,
            tree: Tree::Sealed(self.release(&[("hello.txt", "sealed"), ("server.py", SERVER)])),
            commands: vec![Command { stage: "start".into(), script: script.into() }],
            workers: Vec::new(),
            variables: BTreeMap::from([("WHO".to_owned(), id.to_owned())]),
            port: Some(8080),
            tcp_port: None,
            limits: Limits { memory_mib: 160, cpu_milli: 2000, pids: 64, disk_mib: 64 },
            mounts: Vec::new(),
            egress: false,
        }
    }

    /// An instance that serves HTTP.
    pub(crate) fn python(&self, id: &str) -> InstanceSpec {
        self.script(id, "exec python3 -S server.py")
    }

    /// One that does, once it listens.
    pub(crate) async fn serving(&self, id: &str) -> (InstanceId, SocketAddr) {
        let spec = self.python(id);
        let address = done(self.vm.ensure(&spec).await).address.expect("an app has an address");
        self.until_listening(&spec.id).await;
        (spec.id, address)
    }

    /// Waits until the instance's state is as wanted, and answers it.
    pub(crate) async fn until(&self, id: &InstanceId, wanted: impl Fn(&State) -> bool) -> State {
        common::until(&self.vm, id, PATIENCE, wanted).await
    }

    /// Runs a script to its end; its exit code, whether it was for want of memory, and what it wrote.
    pub(crate) async fn run(&self, spec: &InstanceSpec) -> (i32, bool, String) {
        done(self.vm.ensure(spec).await);
        let State::Exited(exit) = self.until(&spec.id, |s| matches!(s, State::Exited(_))).await else {
            unreachable!()
        };
        let text = self.lines(&spec.id).into_iter().map(|l| l.text).collect::<Vec<_>>().join("\n");
        (exit.code, exit.out_of_memory, text)
    }

    /// The instance's log.
    pub(crate) fn lines(&self, id: &InstanceId) -> Vec<LogLine> {
        common::lines(&self.vm.log(id))
    }

    /// Waits until something listens inside.
    pub(crate) async fn until_listening(&self, id: &InstanceId) {
        self.until(id, |s| matches!(s, State::Running { listening } if !listening.is_empty())).await;
    }

    /// Waits until the log has this line.
    pub(crate) async fn until_line(&self, id: &InstanceId, text: &str) {
        common::until_line(&self.vm.log(id), PATIENCE, text, 1).await;
    }

    /// The body that an app answers to GET.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> std::io::Result<String> {
        let path = path.to_owned();
        let ask = move || common::get(address, &path, (Duration::from_secs(60), PATIENCE));
        tokio::task::spawn_blocking(ask).await.expect("no panic")
    }

    /// The instance's processes on the host with what they run, by their numbers.
    pub(crate) fn processes(&self, id: &InstanceId) -> BTreeMap<u32, String> {
        let cgroups = Cgroups::detect(&self.config.sandbox.subtree).expect("control groups");
        let pids = cgroups.find(id).map(|group| group.pids().expect("known")).unwrap_or_default();
        let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        pids.iter().map(|pid| (*pid, name(pid).trim_end().to_owned())).collect()
    }

    /// The emulator's process.
    pub(crate) fn emulator(&self, id: &InstanceId) -> u32 {
        let all = self.processes(id);
        let found = all.iter().find(|(_, name)| name.starts_with("qemu"));
        *found.unwrap_or_else(|| panic!("no emulator in {all:?}")).0
    }

    /// Where its files are while it is there.
    pub(crate) fn run_directory(&self, id: &InstanceId) -> PathBuf {
        self.config.sandbox.data.join("run/machines").join(id.as_str())
    }

    /// Removes everything, and looks that nothing is left on the host.
    pub(crate) async fn close(self) {
        for id in done(self.vm.list().await) {
            done(self.vm.remove(&id).await);
        }
        assert_eq!(done(self.vm.list().await), []);
        self.nothing_left();
        assert!(self.vm.leave().await.expect("nothing holds it"), "the last one cleans up");
        no_address_left(&self.config.sandbox.pool);
    }

    /// Looks that no instance has left anything on the host.
    pub(crate) fn nothing_left(&self) {
        let machines = self.config.sandbox.data.join("run/machines");
        let left: Vec<_> = fs::read_dir(&machines).expect("there").flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "run directories are left: {left:?}");
        for process in fs::read_dir("/proc").expect("readable").flatten() {
            let cgroup = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
            let own = cgroup.contains(&format!("/{}/", self.config.sandbox.subtree));
            // One that only waits to be reaped has no command line; it is the business of the host's first process.
            let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            assert!(!own || line.is_empty(), "a process is left: {line}");
        }
        let pool: Vec<u8> =
            self.config.sandbox.pool.split(['.', '/']).filter_map(|n| n.parse().ok()).collect();
        let prefix = format!("tl{:02x}{:02x}{:02x}", pool[0], pool[1], pool[2]);
        for interface in fs::read_dir("/sys/class/net").expect("readable").flatten() {
            let name = interface.file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with(&prefix), "an interface is left: {name}");
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
        let (vm, config) = (self.vm.clone(), self.config.clone());
        let clean = move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                for id in done(vm.list().await) {
                    done(vm.remove(&id).await);
                }
            });
            drop(Cgroups::detect(&config.sandbox.subtree).expect("control groups").remove_subtree());
            drop(
                std::process::Command::new("nft")
                    .args(["delete", "table", "inet", &config.sandbox.table])
                    .status(),
            );
        };
        // Not on the test's own runtime, which must not be entered twice; a second failure adds nothing.
        drop(std::thread::spawn(clean).join());
    }
}
