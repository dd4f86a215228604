//! "Run this release under this id": the one trait behind which virtual machines, sandboxes and processes stand.
//!
//! Every call is idempotent and keyed by an [`InstanceId`] chosen beforehand. Instances outlive the server that started them and are found again
//! by [`Runtime::list`]. Nothing here decides *whether* something should run; it only makes it so. This is the only crate where `unsafe` is allowed.

pub mod agent;
pub mod any;
pub mod cgroup;
mod dns;
pub mod doctor;
pub mod fake;
mod holds;
pub mod network;
pub mod process;
pub mod sandbox;
pub mod vm;
mod whole;

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, future::Future, net::SocketAddr, path::PathBuf, time::Duration};
use teal_core::id::{AppId, InstanceId};
pub use teal_core::{agent::LogLine, worker::Worker};

/// What an effect answers. It reports failure only when it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is so.
    Done(T),
    /// It is definitely broken: trying again with the same input would not help.
    Broke(Failure),
    /// Not known; try again. The text is for the operator's log.
    Unknown(String),
}

/// Why an instance cannot be had, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened, why, and what to do next.
    pub message: String,
}

/// Everything that is needed to run one instance; saved beside it, so that a later server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Its name, chosen beforehand.
    pub id: InstanceId,
    /// The app whose code it runs: instances of one app may share a dependency cache, never an address.
    pub app: AppId,
    /// The base system that it runs on; `None`: what the runtime has without one (the host's own `/usr`, or nothing at all).
    #[serde(default)]
    pub image: Option<Image>,
    /// What becomes the app's directory (`/app` in a sandbox).
    pub tree: Tree,
    /// Run by `/bin/bash -c` in the app's directory as the unprivileged user, one after another; the first that fails ends the instance.
    /// The last one is the app itself (in a build: the last command of the build).
    pub commands: Vec<Command>,
    /// Started beside the app once [`Runtime::singletons`] says so: workers, crons.
    #[serde(default)]
    pub workers: Vec<Worker>,
    /// The environment of every command. `HOME`, `PATH`, `PORT` and `APP_HOME` are the runtime's and are added by it if they are not here.
    pub variables: BTreeMap<String, String>,
    /// The port that the app is expected to listen on *inside*; the process runtime assigns another one by `PORT`. `None`: a build, nothing listens.
    pub port: Option<u16>,
    /// A second port inside that the app is expected to listen on, for what is no HTTP; every command finds it in `TCP_PORT`, where the process
    /// runtime says another one.
    #[serde(default)]
    pub tcp_port: Option<u16>,
    /// What it may use.
    pub limits: Limits,
    /// Further host directories, e.g. a dependency cache.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// May it reach the outside? (DNS and NAT; never the host, its neighbours or private ranges.)
    pub egress: bool,
}

/// One version of an image, as it lies on this host; what its files are called says [`teal_core::image`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its version.
    pub version: String,
    /// The directory that its files are in.
    pub directory: PathBuf,
}

/// A command and how the log calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// A short word for the log and for failures: `dependencies`, `build`, `CC_PRE_RUN_HOOK`, `start`.
    pub stage: String,
    /// Given to `/bin/bash -c`. Written by the app's owner: hostile, but theirs.
    pub script: String,
}

/// The directory that becomes the app's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// A sealed release: never written to; writes land in a layer that goes with the instance.
    Sealed(PathBuf),
    /// A build's own working tree: writes stay in it. The runtime sees to it that the app's user owns it while the build runs.
    Working(PathBuf),
}

/// A further host directory inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the host; made if it is not there.
    pub source: PathBuf,
    /// Inside.
    pub target: PathBuf,
    /// May the app write there?
    pub writable: bool,
}

/// What one instance may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in MiB; past it the kernel ends the app (reported as out of memory).
    pub memory_mib: u64,
    /// CPU, in thousandths of a core.
    pub cpu_milli: u64,
    /// Processes and threads.
    pub pids: u64,
    /// The writable layer, in MiB.
    pub disk_mib: u64,
}

/// What an instance is doing, as far as a fresh look tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// What it is doing.
    pub state: State,
    /// Where the router reaches the app, if it has a port.
    pub address: Option<SocketAddr>,
    /// Where the router reaches its second port, if it has one.
    pub tcp_address: Option<SocketAddr>,
    /// Memory that it holds, in bytes, where that can be told.
    pub memory_bytes: Option<u64>,
}

/// What an instance has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time since it was made, in microseconds.
    pub cpu_us: u64,
    /// Memory that it holds now (page cache included; a virtual machine's with what executes it), in bytes.
    pub memory_bytes: u64,
}

/// The states of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A command before the last one runs (hooks; or a build's steps).
    Preparing {
        /// Its [`Command::stage`].
        stage: String,
    },
    /// The last command runs. `listening`: what listens inside, as `address:port` texts, for verdicts ("127.0.0.1:3000").
    Running {
        /// All listening sockets of the app, as seen from inside.
        listening: Vec<SocketAddr>,
    },
    /// Asleep: it uses no CPU. It holds memory, unless that is on disk ([`Runtime::save`]).
    Frozen,
    /// It ended by itself, or a command failed.
    Exited(Exit),
    /// There is no such instance (never was, was removed, or the host rebooted).
    Absent,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The [`Command::stage`] that ended.
    pub stage: String,
    /// Its exit code; 128 + n for signal n.
    pub code: i32,
    /// The kernel ended it for its memory limit.
    pub out_of_memory: bool,
}

/// Runs instances. All calls are idempotent; all of them may be called by a server that did not start the instance.
pub trait Runtime: Send + Sync {
    /// Starts the instance, or finds the one that was started before under this id (also half-started: finished or replaced).
    /// `Done` as soon as its agent runs: whether the app listens is seen by [`Runtime::inspect`].
    fn ensure(&self, spec: &InstanceSpec) -> impl Future<Output = Outcome<Inspection>> + Send;
    /// A fresh look; for a sandbox it is the agent that answers. `Unknown` if it does not answer in time.
    fn inspect(&self, id: &InstanceId) -> impl Future<Output = Outcome<Inspection>> + Send;
    /// Freezes it. `Broke` if it is not there any more.
    fn sleep(&self, id: &InstanceId) -> impl Future<Output = Outcome<()>> + Send;
    /// Moves the memory of a sleeper to disk, so that it holds none. Idempotent. `Broke` where that cannot be, or if it does not sleep.
    fn save(&self, id: &InstanceId) -> impl Future<Output = Outcome<()>> + Send;
    /// Lets a sleeper go on, wherever its memory is, and waits until its agent answers. `Broke` if it is not there any more, or if what was saved
    /// cannot be trusted: then it has to be started from its release.
    fn wake(&self, id: &InstanceId) -> impl Future<Output = Outcome<Inspection>> + Send;
    /// Thaws if frozen, SIGTERM to the app, SIGKILL at the deadline, then as [`Runtime::remove`].
    fn stop(&self, id: &InstanceId, deadline: Duration) -> impl Future<Output = Outcome<()>> + Send;
    /// Ends it at once, with everything it had (processes, mounts, cgroups, links, addresses); its log stays until [`Runtime::forget`].
    fn remove(&self, id: &InstanceId) -> impl Future<Output = Outcome<()>> + Send;
    /// Removes what [`Runtime::remove`] left: the log.
    fn forget(&self, id: &InstanceId) -> impl Future<Output = Outcome<()>> + Send;
    /// Whether its workers run. Acknowledged by the agent: after `Done` with `false` none of them does.
    fn singletons(&self, id: &InstanceId, run: bool) -> impl Future<Output = Outcome<()>> + Send;
    /// What it has used so far, without asking its agent; `None` where nobody counts, or it is not there.
    fn usage(&self, _: &InstanceId) -> impl Future<Output = Option<Usage>> + Send {
        async { None }
    }
    /// Every instance of this host, running or not, that has not been removed.
    fn list(&self) -> impl Future<Output = Outcome<Vec<InstanceId>>> + Send;
    /// The file that its log is in ([`LogLine`]s; when it is full it is renamed to the same name with `.1` and begun anew).
    fn log(&self, id: &InstanceId) -> PathBuf;
}
