//! The sandbox runtime: Linux namespaces and control groups, no daemon and no image.
//!
//! ```text
//!  server ──► launcher (embedded agent, as root) ──► namespaces, root, overlay ──► fork ──► agent, PID 1 inside
//!     │            ends when the agent runs                                             (outlives everybody)
//!     └── afterwards: agent.sock (status, stop, workers) · cgroup (freeze, kill, memory) · veth
//! ```
//!
//! What there is of an instance is found by its id alone: run directory, cgroup, network link. Nothing is kept in memory that a later server
//! would need. This module decides nothing about *whether* an instance should run.

mod blocks;
mod config;
mod images;
pub(crate) mod launcher;
pub(crate) mod layer;
pub(crate) mod operator;
mod places;
mod probe;
pub(crate) mod record;
mod seccomp;
pub(crate) mod socket;
pub(crate) mod spec;
mod start;
mod teardown;
mod usage;

use crate::{
    Exit, Failure, Inspection, InstanceSpec, Outcome, Runtime, State, Usage,
    cgroup::{self, Cgroups},
    holds::Holds,
    network::{self, Network},
};
pub use config::Config;
use layer::Layers;
use places::Places;
pub(crate) use places::private;
use record::Record;
use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use teal_core::{
    agent::{Phase, Reply, Request},
    error::in_full,
    id::InstanceId,
};
use tokio::sync::OwnedMutexGuard;

/// How long an agent may take to answer what costs it nothing.
const ANSWER: Duration = Duration::from_secs(3);

/// What an agent may take beyond a deadline until all is dead, before it is ended from outside.
const MARGIN: Duration = Duration::from_secs(5);

/// Workers have ten seconds to end; then the agent kills them.
const WORKERS: Duration = Duration::from_secs(20);

/// Why there are no sandboxes here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not root.
    #[error(
        "sandboxes need root: run the server as root, or choose the runtime `process`, which isolates nothing"
    )]
    NotRoot,
    /// A range is not written as one.
    #[error("`{0}` is not an address range; write it like 10.177.0.0/16")]
    Range(String),
    /// The data directory.
    #[error("the data directory {path} cannot be used")]
    Data {
        /// Which one.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// This architecture has no system call filter.
    #[error("sandboxes do not run on this kind of processor")]
    Architecture(#[source] seccompiler::BackendError),
    /// A sandbox was tried and could not be made.
    #[error(
        "this host does not let Teal make a sandbox ({source}); a container needs --privileged, a kernel must be 5.19 or newer"
    )]
    Unusable {
        /// What was refused.
        source: io::Error,
    },
    /// Control groups.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    /// Network.
    #[error(transparent)]
    Network(#[from] network::Error),
}

/// Runs instances in sandboxes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    places: Places,
    image: PathBuf,
    boot: String,
    cgroups: Cgroups,
    network: Network,
    layers: Layers,
    program: launcher::Program,
    filters: Vec<Vec<u64>>,
    blocks: Mutex<()>,
    /// One mounts or unmounts an image at a time.
    images: Mutex<()>,
    counts: usage::Counts,
    busy: Holds,
}

impl Sandbox {
    /// Proves that sandboxes work here by making one, and removes what instances of an earlier boot left. Blocks for a moment.
    ///
    /// # Errors
    /// One sentence that says what the host lacks; the server then falls back or stops.
    pub fn open(config: Config) -> Result<Self, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        let data = |source| Error::Data { path: config.data.clone(), source };
        let places = Places::make(config.data.clone()).map_err(data)?;
        let mut inner = Inner {
            image: config.image.clone().unwrap_or_else(|| PathBuf::from("/")),
            boot: record::boot_id().map_err(data)?,
            cgroups: Cgroups::detect(&config.subtree()?)?,
            network: Network::open(config.network(places.network())?)?,
            layers: Layers::detect(),
            program: launcher::Program::load().map_err(|source| Error::Unusable { source })?,
            filters: seccomp::programs().map_err(Error::Architecture)?,
            blocks: Mutex::default(),
            images: Mutex::default(),
            counts: usage::Counts::default(),
            busy: Holds::default(),
            places,
        };
        inner.forget_earlier_boots().map_err(data)?;
        probe::run(&mut inner)?;
        if let Layers::Directories(why) = &inner.layers {
            tracing::warn!("the disk limits of apps are not enforced: {why}");
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Removes what all instances share on the host (the table of rules, the control group subtree) if no instance is left, and answers whether
    /// it did. For a server that ends for good: no instance can be started through this value afterwards.
    ///
    /// # Errors
    /// What the host refused; nothing that matters is left then either.
    pub async fn leave(&self) -> Result<bool, Error> {
        if !matches!(self.list().await, Outcome::Done(left) if left.is_empty()) {
            return Ok(false);
        }
        if let Err(error) = self.inner.release_images() {
            tracing::warn!(%error, "images stay mounted; the next start finds them");
        }
        self.inner.network.uninstall().await?;
        self.inner.cgroups.clone().remove_subtree()?;
        Ok(true)
    }

    /// Lets go of an image that no instance is to be started on any more.
    ///
    /// # Errors
    /// If somebody on this host is in it.
    pub async fn release_image(&self, version: &str) -> Result<(), String> {
        let (inner, version) = (Arc::clone(&self.inner), version.to_owned());
        let release = move || {
            let what = format!("the image {version} could not be unmounted");
            inner.release_image(&version).map_err(|error| Trouble::io(&what, error))
        };
        blocking(release).await.map_err(|trouble| trouble.to_string())
    }

    /// Its control groups, network and program: a machine has the same as a sandbox.
    pub(crate) fn parts(&self) -> (&Cgroups, &Network, &launcher::Program) {
        (&self.inner.cgroups, &self.inner.network, &self.inner.program)
    }

    /// One instance's log directory: a machine's is where a sandbox's is.
    pub(crate) fn log_directory(&self, id: &InstanceId) -> PathBuf {
        self.inner.places.log_directory(id)
    }

    /// One call per instance at a time: effects on the same id never interleave.
    async fn hold(&self, id: &InstanceId) -> OwnedMutexGuard<()> {
        self.inner.busy.hold(id).await
    }

    async fn look(&self, id: &InstanceId) -> Result<Inspection, Trouble> {
        let inner = Arc::clone(&self.inner);
        let wanted = id.clone();
        let look = blocking(move || inner.look_from_outside(&wanted)).await?;
        let (record, memory_bytes) = match look {
            Look::Told(inspection) => return Ok(inspection),
            Look::Ask(record, memory_bytes) => (record, memory_bytes),
            Look::Excess(record, memory_bytes, reason) => {
                let run = self.inner.places.run(id);
                // Its end is seen by the look that follows, or by the next.
                if let Err(error) = socket::ask(&run, &Request::End { reason }, ANSWER).await {
                    tracing::warn!(instance = %id, %error, "an instance that writes too much could not be ended");
                }
                (record, memory_bytes)
            }
        };
        let reply = socket::ask(&self.inner.places.run(id), &Request::Status, ANSWER).await;
        let state = match reply {
            Ok(Reply::Status { phase, .. }) => self.inner.state(id, phase),
            Ok(other) => return Err(Trouble::Unknown(format!("the agent of {id} answered {other:?}"))),
            Err(error) => return Err(Trouble::io(&format!("the agent of {id} could not be asked"), error)),
        };
        Ok(record.inspection(state, memory_bytes))
    }

    /// Work on the control group of an instance that is there.
    async fn with_group(
        &self,
        id: &InstanceId,
        work: impl FnOnce(&cgroup::Group) -> Result<(), cgroup::Error> + Send + 'static,
    ) -> Result<(), Trouble> {
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        blocking(move || {
            let running = inner.running(&id).map_err(|e| Trouble::io("the record could not be read", e))?;
            match (running, inner.cgroups.find(&id)) {
                (Some(_), Some(group)) => work(&group).map_err(Trouble::cgroup),
                _ => Err(Trouble::Broke(Failure {
                    message: format!("the instance {id} does not run any more"),
                })),
            }
        })
        .await
    }

    async fn end_gently(&self, id: &InstanceId, deadline: Duration) -> Result<(), Trouble> {
        let (inner, ending) = (Arc::clone(&self.inner), id.clone());
        let lives = blocking(move || {
            let living = inner.living(&ending).map_err(|e| Trouble::io("the record could not be read", e))?;
            let Some(record) = living else { return Ok(false) };
            inner.mark_ending(&ending, record);
            Ok(inner.cgroups.find(&ending).is_some_and(|group| group.thaw().is_ok()))
        });
        if lives.await? {
            let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            let (run, request) = (self.inner.places.run(id), Request::Stop { deadline_ms });
            if let Err(error) = socket::ask(&run, &request, deadline.saturating_add(MARGIN)).await {
                tracing::warn!(instance = %id, %error, "the agent did not confirm the stop; the instance is killed");
            }
        }
        teardown::all(&self.inner, id).await
    }
}

/// What a look from outside tells.
enum Look {
    Told(Inspection),
    Ask(Record, u64),
    /// It must be ended, for this reason.
    Excess(Record, u64, String),
}

impl Inner {
    fn look_from_outside(&self, id: &InstanceId) -> Result<Look, Trouble> {
        let told =
            |state| Look::Told(Inspection { state, address: None, tcp_address: None, memory_bytes: None });
        let record =
            Record::load(&self.places.run(id)).map_err(|e| Trouble::io("the record could not be read", e))?;
        let Some(record) = record.filter(|r| r.boot == self.boot) else { return Ok(told(State::Absent)) };
        let Some(agent) = &record.agent else { return Ok(told(State::Absent)) };
        let group = self.cgroups.find(id);
        if !agent.alive() {
            let out_of_memory = group.is_some_and(|g| g.oom_kills() > 0);
            return Ok(told(State::Exited(Exit { stage: record.stage, code: 137, out_of_memory })));
        }
        let Some(group) = group else {
            return Err(Trouble::Unknown(format!("the control group of {id} is gone though its agent runs")));
        };
        let memory = group.memory_bytes();
        if group.frozen().map_err(Trouble::cgroup)? {
            return Ok(Look::Told(record.inspection(State::Frozen, memory)));
        }
        let excess = record.working.as_ref().and_then(|(tree, limit)| {
            let held = self.counts.excess(id, tree, *limit)?;
            Some(format!(
                "The build is ended: its directory holds {held} MiB, and {limit} MiB is all it may use"
            ))
        });
        Ok(match excess {
            Some(reason) => Look::Excess(record, memory, reason),
            None => Look::Ask(record, memory),
        })
    }

    fn state(&self, id: &InstanceId, phase: Phase) -> State {
        match phase {
            Phase::Preparing { stage } => State::Preparing { stage },
            Phase::Running { listening } => State::Running { listening },
            Phase::Exited { stage, code, .. } => {
                // Of a clean end memory was not the cause, whatever happened before.
                let killed = || self.cgroups.find(id).is_some_and(|group| group.oom_kills() > 0);
                State::Exited(Exit { stage, code, out_of_memory: code != 0 && killed() })
            }
        }
    }

    fn every_id(&self) -> io::Result<Vec<InstanceId>> {
        let mut all = BTreeSet::new();
        for entry in fs::read_dir(self.places.instances())? {
            all.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        all.extend(self.cgroups.list());
        all.extend(self.network.list().into_iter().map(|(id, _)| id));
        Ok(all.into_iter().collect())
    }
}

impl Record {
    fn inspection(&self, state: State, memory_bytes: u64) -> Inspection {
        let [address, tcp_address] = [self.port, self.tcp_port].map(|port| self.socket(port));
        Inspection { state, address, tcp_address, memory_bytes: Some(memory_bytes) }
    }

    fn socket(&self, port: Option<u16>) -> Option<SocketAddr> {
        Some(SocketAddr::new(IpAddr::V4(self.address?), port?))
    }
}

impl Runtime for Sandbox {
    async fn ensure(&self, spec: &InstanceSpec) -> Outcome<Inspection> {
        let _held = self.hold(&spec.id).await;
        if let Err(failure) = spec::check(spec) {
            return Outcome::Broke(failure);
        }
        let running = match self.inner.running(&spec.id) {
            Ok(running) => running,
            Err(error) => return Trouble::io("the record could not be read", error).into(),
        };
        if running.is_none()
            && let Err(trouble) = start::start(&self.inner, spec).await
        {
            return trouble.into();
        }
        outcome(self.look(&spec.id).await)
    }

    async fn inspect(&self, id: &InstanceId) -> Outcome<Inspection> {
        outcome(self.look(id).await)
    }

    async fn sleep(&self, id: &InstanceId) -> Outcome<()> {
        let _held = self.hold(id).await;
        outcome(self.with_group(id, cgroup::Group::freeze).await)
    }

    async fn save(&self, _: &InstanceId) -> Outcome<()> {
        Outcome::Broke(Failure {
            message: "a sandbox has no memory of its own that could be saved".to_owned(),
        })
    }

    async fn wake(&self, id: &InstanceId) -> Outcome<Inspection> {
        let _held = self.hold(id).await;
        match self.with_group(id, cgroup::Group::thaw).await {
            Ok(()) => outcome(self.look(id).await),
            Err(trouble) => trouble.into(),
        }
    }

    async fn stop(&self, id: &InstanceId, deadline: Duration) -> Outcome<()> {
        let _held = self.hold(id).await;
        outcome(self.end_gently(id, deadline).await)
    }

    async fn remove(&self, id: &InstanceId) -> Outcome<()> {
        let _held = self.hold(id).await;
        outcome(teardown::all(&self.inner, id).await)
    }

    async fn forget(&self, id: &InstanceId) -> Outcome<()> {
        let directory = self.inner.places.log_directory(id);
        let removed = blocking(move || match fs::remove_dir_all(directory) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Trouble::io("the log could not be removed", e))
            }
            _ => Ok(()),
        });
        outcome(removed.await)
    }

    async fn singletons(&self, id: &InstanceId, run: bool) -> Outcome<()> {
        let _held = self.hold(id).await;
        match self.inner.living(id) {
            // Nothing runs in what is not there.
            Ok(None) if !run => return Outcome::Done(()),
            Ok(Some(record)) if !(run && record.ending) => {}
            Ok(_) => return Trouble::gone(id).into(),
            Err(error) => return Trouble::io("the record could not be read", error).into(),
        }
        socket::workers(&self.inner.places.run(id), id, run, WORKERS).await
    }

    async fn usage(&self, id: &InstanceId) -> Option<Usage> {
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        blocking(move || Ok(inner.cgroups.find(&id).and_then(|group| group.usage()))).await.ok().flatten()
    }

    async fn list(&self) -> Outcome<Vec<InstanceId>> {
        let inner = Arc::clone(&self.inner);
        outcome(
            blocking(move || {
                inner.every_id().map_err(|e| Trouble::io("the instances could not be listed", e))
            })
            .await,
        )
    }

    fn log(&self, id: &InstanceId) -> PathBuf {
        self.inner.places.log(id)
    }
}

/// Why a call did not get what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It never will.
    #[error(transparent)]
    Broke(Failure),
    /// It may, another time.
    #[error("{0}")]
    Unknown(String),
}

impl Trouble {
    pub(crate) fn io(what: &str, error: io::Error) -> Self {
        Self::chain(what, &error)
    }

    pub(crate) fn cgroup(error: cgroup::Error) -> Self {
        Self::chain("control groups", &error)
    }

    pub(crate) fn network(error: network::Error) -> Self {
        Self::chain("the instance's network", &error)
    }

    pub(crate) fn gone(id: &InstanceId) -> Self {
        Self::Broke(Failure { message: format!("the instance {id} does not run any more") })
    }

    /// Not known to be final: the next attempt may find the host in another state.
    fn chain(what: &str, error: &dyn std::error::Error) -> Self {
        Self::Unknown(format!("{what}: {}", in_full(error)))
    }
}

impl<T> From<Trouble> for Outcome<T> {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Broke(failure) => Self::Broke(failure),
            Trouble::Unknown(text) => Self::Unknown(text),
        }
    }
}

pub(crate) fn outcome<T>(result: Result<T, Trouble>) -> Outcome<T> {
    result.map_or_else(Outcome::from, Outcome::Done)
}

/// Runs on a thread that may block, and to its end even if nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Trouble::Unknown(format!("a step broke off: {error}"))))
}
