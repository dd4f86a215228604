//! The process runtime: instances as plain child processes, for hosts where namespaces are forbidden. **No isolation**: whatever runs here can do
//! what the server's user can. Limits are not enforced, and mounts are not made: variables that name their targets are turned to their sources.
//!
//! Each instance has a small supervisor of its own (see [`supervisor`]) that outlives the server. Whether one lives is told by a lock that the
//! kernel releases with it; a pid is only signalled together with its start time. The app is given a free port on 127.0.0.1 by `PORT`.

mod home;
mod log;
mod proc;
pub mod supervisor;
mod wire;

use crate::{Failure, Inspection, InstanceSpec, Outcome, Runtime, State, Tree};
use home::{Home, Record};
use nix::sys::signal::Signal;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use teal_core::id::InstanceId;
use tokio::{io::AsyncWriteExt, sync::Mutex, task, time};
use wire::{Reply, Request};

/// How long a supervisor may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a supervisor may take to begin.
const START_WAIT: Duration = Duration::from_secs(20);
/// How long an instance may take to be gone after it was killed, and workers after they were told to end.
const END_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at a condition that gives no event.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The PATH if the server has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the process runtime is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where instances and logs are kept; made if it is not there, for its owner only.
    pub data: PathBuf,
    /// The program that runs [`supervisor::main`].
    pub program: PathBuf,
    /// Its arguments; the instance's id is added, so that `ps` tells.
    pub arguments: Vec<String>,
}

impl Config {
    /// The running binary itself, with `__instance` as its first argument.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        // Not by its path: that may be another version, or gone, after an upgrade.
        Self { data, program: PathBuf::from("/proc/self/exe"), arguments: vec!["__instance".to_owned()] }
    }
}

/// Runs instances as processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Process {
    config: Arc<Config>,
    /// Held while an instance's directory is made or removed.
    shaping: Arc<Mutex<()>>,
}

/// Why a step did not succeed.
enum Trouble {
    Broke(String),
    Unknown(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Unknown(error.to_string())
    }
}

impl<T> From<Trouble> for Outcome<T> {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Broke(message) => Self::Broke(Failure { message }),
            Trouble::Unknown(text) => Self::Unknown(text),
        }
    }
}

fn outcome<T>(result: Result<T, Trouble>) -> Outcome<T> {
    result.map_or_else(Outcome::from, Outcome::Done)
}

impl Process {
    /// Makes the directories.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn open(config: Config) -> io::Result<Self> {
        for name in ["instances", "logs"] {
            let mut builder = fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.recursive(true).create(config.data.join(name))?;
        }
        let data = fs::canonicalize(&config.data)?;
        Ok(Self { config: Arc::new(Config { data, ..config }), shaping: Arc::default() })
    }

    // Private

    fn home(&self, id: &InstanceId) -> Home {
        Home::of(&self.config.data, id)
    }

    async fn raise(&self, spec: &InstanceSpec) -> Result<Inspection, Trouble> {
        let _shaping = self.shaping.lock().await;
        let home = self.home(&spec.id);
        // Of one that was being stopped when the server died nothing can be counted on: it begins anew.
        if !home.stopping() {
            if home.supervised()? {
                return self.begun(&home).await;
            }
            if home.ending().is_some() {
                return Ok(look_at_rest(&home));
            }
        }
        clear(&home).await?;
        let record = self.prepare(&home, spec).await?;
        self.launch(&home, &record, spec).await?;
        self.begun(&home).await
    }

    /// Everything that has to be on disk before the first process.
    async fn prepare(&self, home: &Home, spec: &InstanceSpec) -> Result<Record, Trouble> {
        fs::create_dir_all(home.user_home())?;
        spec.mounts
            .iter()
            .filter(|mount| mount.writable)
            .try_for_each(|mount| fs::create_dir_all(&mount.source))?;
        match &spec.tree {
            Tree::Sealed(release) => copy(release, &home.tree()).await?,
            Tree::Working(tree) if !tree.is_dir() => {
                return Err(Trouble::Broke(format!(
                    "the working tree {} is not there; build again",
                    tree.display()
                )));
            }
            Tree::Working(_) => {}
        }
        let mark = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
        let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
        let [port, tcp_port] = self.free_ports([spec.port, spec.tcp_port])?;
        // Variables are secrets: they go to the supervisor through a pipe and never into a file.
        let stored = InstanceSpec { variables: BTreeMap::new(), ..spec.clone() };
        let record = Record { spec: stored, port, tcp_port, mark, path, log: self.log(&spec.id) };
        home.write_record(&record)?;
        Ok(record)
    }

    /// For each port that is wanted one that nobody listens on and no other instance was given.
    fn free_ports<const N: usize>(&self, wanted: [Option<u16>; N]) -> io::Result<[Option<u16>; N]> {
        let records = self.ids()?.into_iter().filter_map(|id| self.home(&id).record());
        let mut given: BTreeSet<u16> =
            records.flat_map(|record| [record.port, record.tcp_port]).flatten().collect();
        let mut found = [None; N];
        for (found, _) in found.iter_mut().zip(wanted).filter(|(_, wanted)| wanted.is_some()) {
            let port = free_port(&given)?;
            given.insert(port);
            *found = Some(port);
        }
        Ok(found)
    }

    async fn launch(&self, home: &Home, record: &Record, spec: &InstanceSpec) -> Result<(), Trouble> {
        let mut command = tokio::process::Command::new(&self.config.program);
        command.arg0("teal").args(&self.config.arguments).arg(spec.id.as_str());
        command
            .env(supervisor::ROLE, "launch")
            .env(supervisor::HOME, home.path())
            .env(supervisor::MARK, &record.mark);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = async {
            let mut launcher = command.spawn()?;
            if let Some(mut pipe) = launcher.stdin.take() {
                pipe.write_all(&serde_json::to_vec(&spec.variables)?).await?;
            }
            launcher.wait().await
        };
        let status = time::timeout(START_WAIT, started).await.map_err(io::Error::from)??;
        let failed = || Trouble::Unknown(format!("the supervisor's launcher ended with {status}"));
        if status.success() { Ok(()) } else { Err(failed()) }
    }

    /// Waits until its supervisor answers, or has come and gone.
    async fn begun(&self, home: &Home) -> Result<Inspection, Trouble> {
        let until = time::Instant::now() + START_WAIT;
        loop {
            match wire::ask(home.path(), &Request::Inspect, ANSWER_WAIT).await {
                Ok(reply) => return reply.inspection(addresses(home)).map_err(Trouble::Unknown),
                Err(_) if home.ending().is_some() => return Ok(look_at_rest(home)),
                Err(error) if time::Instant::now() > until => {
                    return Err(Trouble::Unknown(format!(
                        "the instance's supervisor does not answer: {error}"
                    )));
                }
                Err(_) => time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn look(&self, id: &InstanceId) -> Result<Inspection, Trouble> {
        let (home, until) = (self.home(id), time::Instant::now() + ANSWER_WAIT);
        while home.supervised()? {
            match wire::ask(home.path(), &Request::Inspect, ANSWER_WAIT).await {
                Ok(reply) => return reply.inspection(addresses(&home)).map_err(Trouble::Unknown),
                Err(error) if time::Instant::now() > until => return Err(silent(&error)),
                // It begins or ends just now: either is soon over.
                Err(_) => time::sleep(LOOK_AGAIN).await,
            }
        }
        Ok(look_at_rest(&home))
    }

    /// Asks a supervisor that has to be there.
    async fn tell(
        &self,
        id: &InstanceId,
        request: &Request,
        patience: Duration,
    ) -> Result<Inspection, Trouble> {
        let home = self.home(id);
        // Workers can also be told to end in one that is being stopped.
        let counts = matches!(request, Request::Workers { run: false }) || !home.stopping();
        if !counts || !home.supervised()? {
            return Err(Trouble::Broke(gone(&home)));
        }
        match wire::ask(home.path(), request, patience).await {
            Ok(Reply::Done { state: State::Exited(_), .. }) => Err(Trouble::Broke(gone(&home))),
            Ok(reply) => reply.inspection(addresses(&home)).map_err(Trouble::Unknown),
            Err(error) => {
                Err(Trouble::Unknown(format!("the instance's supervisor does not answer: {error}")))
            }
        }
    }

    async fn end(&self, id: &InstanceId, deadline: Duration) -> Result<(), Trouble> {
        let home = self.home(id);
        if home.supervised()? {
            if let Err(error) = home.write_stopping() {
                // On a full disk this end is what makes room.
                tracing::warn!(instance = %id, %error, "it could not be recorded that the instance is being stopped");
            }
            let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).min(24 * 3_600_000);
            // Whatever it answers: what is left is killed below.
            let _answer = wire::ask(home.path(), &Request::Stop { deadline_ms }, deadline + END_WAIT).await;
        }
        self.take_away(id).await
    }

    async fn take_away(&self, id: &InstanceId) -> Result<(), Trouble> {
        let _shaping = self.shaping.lock().await;
        clear(&self.home(id)).await
    }

    fn ids(&self) -> io::Result<Vec<InstanceId>> {
        let names = fs::read_dir(self.config.data.join("instances"))?;
        let mut ids = Vec::new();
        for name in names {
            ids.extend(name?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        ids.sort();
        Ok(ids)
    }
}

impl Runtime for Process {
    async fn ensure(&self, spec: &InstanceSpec) -> Outcome<Inspection> {
        outcome(self.raise(spec).await)
    }

    async fn inspect(&self, id: &InstanceId) -> Outcome<Inspection> {
        outcome(self.look(id).await)
    }

    async fn sleep(&self, id: &InstanceId) -> Outcome<()> {
        outcome(self.tell(id, &Request::Sleep, ANSWER_WAIT).await.map(drop))
    }

    async fn save(&self, _: &InstanceId) -> Outcome<()> {
        Outcome::Broke(Failure {
            message: "a process has no memory of its own that could be saved".to_owned(),
        })
    }

    async fn wake(&self, id: &InstanceId) -> Outcome<Inspection> {
        outcome(self.tell(id, &Request::Wake, ANSWER_WAIT).await)
    }

    async fn stop(&self, id: &InstanceId, deadline: Duration) -> Outcome<()> {
        outcome(self.end(id, deadline).await)
    }

    async fn remove(&self, id: &InstanceId) -> Outcome<()> {
        outcome(self.take_away(id).await)
    }

    async fn forget(&self, id: &InstanceId) -> Outcome<()> {
        let log = self.log(id);
        let gone =
            [log.with_added_extension("1"), log].iter().try_for_each(|path| match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            });
        outcome(gone.map_err(Trouble::from))
    }

    async fn singletons(&self, id: &InstanceId, run: bool) -> Outcome<()> {
        let told = self.tell(id, &Request::Workers { run }, END_WAIT).await.map(drop);
        match told {
            // An instance that has ended has no workers: that is what was asked.
            Err(Trouble::Broke(_)) if !run => Outcome::Done(()),
            told => outcome(told),
        }
    }

    async fn list(&self) -> Outcome<Vec<InstanceId>> {
        outcome(self.ids().map_err(Trouble::from))
    }

    fn log(&self, id: &InstanceId) -> PathBuf {
        self.config.data.join("logs").join(format!("{id}.log"))
    }
}

/// What can be said of an instance without a supervisor.
fn look_at_rest(home: &Home) -> Inspection {
    let state = home.ending().map_or(State::Absent, State::Exited);
    Inspection { state, address: None, tcp_address: None, memory_bytes: None }
}

/// A port that nobody listens on, and none of those that were given.
fn free_port(given: &BTreeSet<u16>) -> io::Result<u16> {
    // Ports that are taken stay held meanwhile, so that each try gives another one.
    let mut held = Vec::new();
    for _ in 0..=given.len() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        if !given.contains(&port) {
            return Ok(port);
        }
        held.push(socket);
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Where its two ports are.
fn addresses(home: &Home) -> [Option<SocketAddr>; 2] {
    let ports = home.record().map_or([None; 2], |record| [record.port, record.tcp_port]);
    ports.map(|port| Some((Ipv4Addr::LOCALHOST, port?).into()))
}

fn silent(error: &io::Error) -> Trouble {
    Trouble::Unknown(format!("the instance's supervisor does not answer: {error}"))
}

fn gone(home: &Home) -> String {
    match home.ending() {
        Some(exit) => {
            format!("the instance has ended: {} exited with {}; start it again", exit.stage, exit.code)
        }
        None => "the instance is not there any more; start it again".to_owned(),
    }
}

/// Ends every process of the instance and removes its directory. Idempotent.
async fn clear(home: &Home) -> Result<(), Trouble> {
    if home.supervised()? {
        let _answer = wire::ask(home.path(), &Request::Kill, END_WAIT).await;
        await_release(home).await?;
    }
    if let Some(record) = home.record() {
        sweep(&record.mark).await?;
    }
    let home = home.clone();
    task::spawn_blocking(move || home.remove()).await.map_err(io::Error::other)??;
    Ok(())
}

/// Waits until the supervisor has ended; one that does not answer is ended.
async fn await_release(home: &Home) -> Result<(), Trouble> {
    let until = time::Instant::now() + END_WAIT;
    let gently = time::Instant::now() + ANSWER_WAIT;
    while home.supervised()? {
        if time::Instant::now() > until {
            return Err(Trouble::Unknown("the instance's supervisor could not be ended".to_owned()));
        }
        if time::Instant::now() > gently {
            home.who().into_iter().for_each(|who| who.signal(Signal::SIGKILL));
        }
        time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Ends what a killed supervisor has left: told by the mark in the environment, so no pid can be mistaken.
async fn sweep(mark: &str) -> Result<(), Trouble> {
    let variable = format!("{}={mark}", supervisor::MARK);
    let until = time::Instant::now() + END_WAIT;
    loop {
        let left = proc::marked(&variable);
        if left.is_empty() {
            return Ok(());
        }
        if time::Instant::now() > until {
            return Err(Trouble::Unknown(format!(
                "{} processes of the instance could not be ended",
                left.len()
            )));
        }
        left.into_iter().for_each(|pid| proc::signal_pid(pid, Signal::SIGKILL));
        time::sleep(LOOK_AGAIN).await;
    }
}

/// A copy of its own: releases are never written to, so no hard links.
async fn copy(release: &Path, tree: &Path) -> Result<(), Trouble> {
    if !release.is_dir() {
        return Err(Trouble::Broke(format!(
            "the release {} is not there; deploy its commit again",
            release.display()
        )));
    }
    let mut command = tokio::process::Command::new("cp");
    command.args(["-a", "-T", "--"]).arg(release).arg(tree);
    let done = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if !done.status.success() {
        let complaint: String = String::from_utf8_lossy(&done.stderr).chars().take(500).collect();
        return Err(Trouble::Unknown(format!("the release could not be copied: {}", complaint.trim())));
    }
    let tree = tree.to_owned();
    Ok(task::spawn_blocking(move || home::open_up(&tree)).await.map_err(io::Error::other)??)
}
