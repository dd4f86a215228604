//! The supervisor, with real processes: this test binary starts itself again as supervisor, and that one as worker.

use crate::{
    app::App,
    client::{Client, get},
    rig::{Control, options, route, until},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::spawn,
};
use teal_core::{
    access::LogForm,
    control::{Reply, Request, VERSION},
};
use teal_router::{AccessLog, Options, Ready};

/// Names the directory; set in the processes that the tests start, and only there.
const PLACE: &str = "TEAL_TEST_ROUTER";

fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// With TLS, too.
fn everywhere(place: &Path) -> Options {
    let mut options = options(place);
    options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    options
}

/// Not a test of its own: the supervisor's process.
#[test]
fn supervisor_process() {
    let Some(place) = place() else { return };
    let argv = ["--exact", "supervisor::worker_process", "--nocapture"].map(Into::into);
    teal_router::supervise(&everywhere(&place), &argv).expect("supervises");
}

/// Not a test of its own: the worker's process.
#[test]
fn worker_process() {
    let Some(place) = place() else { return };
    let mut options = everywhere(&place);
    options.inherited = true;
    options.ready = Ready::File(place.join("ready"));
    options.access_log = AccessLog { form: LogForm::Json, file: Some(place.join("access.log")) };
    teal_router::run(options).expect("runs");
}

pub(crate) struct Supervised {
    directory: tempfile::TempDir,
    supervisor: Child,
    worker: Option<Pid>,
    https: Option<SocketAddr>,
}

impl Supervised {
    pub(crate) fn start() -> Self {
        Self::of(&std::env::current_exe().expect("this binary"))
    }

    /// The program, which is this binary, in whatever place.
    pub(crate) fn of(program: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(program);
        command.args(["--exact", "supervisor::supervisor_process", "--nocapture"]);
        command.env(PLACE, directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = command.spawn().expect("starts");
        let mut supervised = Self { directory, supervisor, worker: None, https: None };
        supervised.wait_for_worker();
        supervised
    }

    pub(crate) fn place(&self) -> &Path {
        self.directory.path()
    }

    /// Waits for a worker that serves; it tells its process in the hello.
    pub(crate) fn wait_for_worker(&mut self) -> SocketAddr {
        let (ready, socket) = (self.place().join("ready"), self.place().join("control"));
        until("a worker serves", || {
            ready.exists() && std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        let mut control = Control::connect(&socket);
        let Reply::Hello { http, https, pid, .. } =
            control.ask(&Request::Hello { version: VERSION, requires: vec![] })
        else {
            panic!("no hello");
        };
        self.worker = Some(Pid::from_raw(i32::try_from(pid).expect("a process")));
        self.https = https.first().copied();
        http[0]
    }

    /// Where TLS is served.
    pub(crate) fn https(&self) -> SocketAddr {
        self.https.expect("known")
    }

    /// The worker's process.
    pub(crate) fn worker(&self) -> i32 {
        self.worker.expect("known").as_raw()
    }

    /// The supervisor's process.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.supervisor.id()).expect("a process")
    }

    pub(crate) fn kill_worker(&mut self) {
        std::fs::remove_file(self.place().join("ready")).expect("removes");
        kill(self.worker.expect("known"), Signal::SIGKILL).expect("kills");
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let _ = self.supervisor.wait();
    }
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None).is_err()
}

#[test]
fn clients_wait_while_a_killed_worker_starts_again() {
    let mut supervised = Supervised::start();
    let app = App::version("v");
    let address = supervised.wait_for_worker();
    Control::connect(&supervised.place().join("control")).replace(vec![route("e-1", &[app.address])]);
    assert_eq!(get(address, "/").text(), "v");
    for _ in 0..3 {
        let before = supervised.worker.expect("known");
        supervised.kill_worker();
        // Connections that are made from the first instant on: each waits, none is refused.
        let clients: Vec<_> = (0..10)
            .map(|_| {
                spawn(move || {
                    let mut client = Client::connect(address).expect("not refused");
                    client.get("/").expect("served").text().to_owned()
                })
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().expect("no panic"), "v", "from the saved table");
        }
        assert_eq!(supervised.wait_for_worker(), address);
        assert_ne!(supervised.worker, Some(before));
    }
}

#[test]
fn stopping_the_supervisor_stops_its_worker() {
    let mut supervised = Supervised::start();
    let address = supervised.wait_for_worker();
    let worker = supervised.worker.expect("known");
    kill(Pid::from_raw(supervised.pid()), Signal::SIGTERM).expect("signals");
    assert!(supervised.supervisor.wait().expect("ends").success());
    assert!(is_gone(worker));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_worker_does_not_outlive_a_killed_supervisor_for_long() {
    let mut supervised = Supervised::start();
    let address = supervised.wait_for_worker();
    supervised.supervisor.kill().expect("kills");
    supervised.supervisor.wait().expect("ends");
    // So that the next supervisor can have the address.
    until("the address is free", || std::net::TcpListener::bind(address).is_ok());
}

#[test]
fn the_supervisor_has_a_session_of_its_own() {
    let supervised = Supervised::start();
    let pid = Pid::from_raw(supervised.pid());
    assert_eq!(nix::unistd::getsid(Some(pid)).expect("a session"), pid);
}

#[test]
fn a_hangup_ends_nobody_and_the_log_goes_on_in_a_new_file() {
    let mut supervised = Supervised::start();
    let app = App::version("one");
    let address = supervised.wait_for_worker();
    Control::connect(&supervised.place().join("control")).replace(vec![route("e-1", &[app.address])]);
    let (log, old) = (supervised.place().join("access.log"), supervised.place().join("old.log"));
    let has = |file: &Path, path: &str| std::fs::read_to_string(file).is_ok_and(|text| text.contains(path));
    let mut client = Client::connect(address).expect("connects");
    client.get("/before").expect("an answer");
    until("the first line is written", || has(&log, "/before"));
    std::fs::rename(&log, &old).expect("renames");
    let (supervisor, worker) = (Pid::from_raw(supervised.pid()), Pid::from_raw(supervised.worker()));
    kill(worker, Signal::SIGHUP).expect("told");
    kill(supervisor, Signal::SIGHUP).expect("told");
    until("a new file is begun", || log.exists());
    // On the same connection: the worker is still the same.
    client.get("/after").expect("an answer");
    until("the second line is in a new file", || has(&log, "/after"));
    assert!(!has(&old, "/after") && !has(&log, "/before"));
    kill(supervisor, Signal::SIGTERM).expect("told");
    assert!(supervised.supervisor.wait().expect("ends").success());
}
