//! The vm runtime: a virtual machine of its own for each instance.
//!
//! ```text
//!  server ──► keeper (embedded agent, root for a moment) ──► QEMU, unprivileged, in the instance's control group
//!     │          │  lives as long as its machine               │ virtio ports: agent, log
//!     │          └── log file, agent.sock ─────────────────────┴──► agent, PID 1 of the machine
//!     └── afterwards: agent.sock (status, stop, workers, rest, wake) · control.sock (stop, go on, save, restore) · tap
//! ```
//!
//! What there is of an instance is found by its id alone, as with sandboxes, whose address pool, rules, control groups and logs machines share.
//! Builds have a working tree, which no machine can share with the host: they run in a sandbox. Decision record 14 says why and at what price.

mod argv;
mod boots;
mod config;
mod host;
mod keeper;
mod places;
mod proof;
mod qmp;
mod record;
mod snapshot;
mod start;
mod teardown;
mod tree;
mod users;
mod wake;

use crate::{
    Exit, Failure, Image, Inspection, InstanceSpec, Outcome, Runtime, State, Tree, Usage,
    cgroup::Cgroups,
    holds::Holds,
    network::Network,
    sandbox::{self, Sandbox, Trouble, blocking, launcher::Program, outcome, socket, spec},
};
pub use boots::Boot;
use boots::Boots;
pub use config::{Acceleration, Config};
use host::Host;
use places::Places;
pub use proof::{Proof, prove};
use record::{Asleep, Record};
use std::{
    collections::BTreeSet,
    fs::OpenOptions,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use teal_core::{
    agent::{LogLine, Phase, Reply, Request},
    id::InstanceId,
};
use tokio::sync::Semaphore;
use tree::Trees;

/// How long an agent may take to answer what costs it nothing, on a processor and where it is emulated.
const ANSWER: Duration = Duration::from_secs(3);
const ANSWER_EMULATED: Duration = Duration::from_secs(15);

/// How long a machine may take from its emulator's start to its app's, on a processor and emulated on a busy host.
const BOOT: Duration = Duration::from_secs(30);
const BOOT_EMULATED: Duration = Duration::from_secs(240);

/// What an agent may take beyond a deadline until all is dead, before it is ended from outside.
const MARGIN: Duration = Duration::from_secs(15);

/// Workers have ten seconds to end; then the agent kills them.
const WORKERS: Duration = Duration::from_secs(30);

/// What an instance's log calls the machine itself.
const STAGE: &str = "machine";

/// Why there are no virtual machines here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What machines share with sandboxes.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// A program is missing, or a directory cannot be used.
    #[error("virtual machines cannot be had here")]
    Host(#[source] io::Error),
    /// The processor was asked for.
    #[error(
        "virtual machines would have to be emulated, which is slow: {0}; set `acceleration = \"tcg\"` to have them so"
    )]
    NoKvm(String),
}

/// Runs instances in virtual machines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vm {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    sandbox: Sandbox,
    places: Places,
    host: Host,
    trees: Trees,
    image: Option<Image>,
    acceleration: Acceleration,
    why: String,
    boot: String,
    boots: Arc<Semaphore>,
    booted: Boots,
    users: Mutex<()>,
    busy: Holds,
}

impl Vm {
    /// Looks for what machines need, proves the processor where it is wanted, and removes what an earlier boot left. Blocks: for some seconds
    /// where the processor has not been tried since the host was started.
    ///
    /// # Errors
    /// One sentence that says what the host lacks.
    pub fn open(config: Config) -> Result<Self, Error> {
        let data = config.sandbox.data.clone();
        let sandbox = Sandbox::open(config.sandbox.clone())?;
        let places = Places::make(&data).map_err(Error::Host)?;
        let boot = sandbox::record::boot_id().map_err(Error::Host)?;
        teardown::forget_earlier_boots(&places.machines(), &boot).map_err(Error::Host)?;
        let host = Host::find(sandbox.parts().2).map_err(Error::Host)?;
        let (acceleration, why) = proof::choose(&config, &places, &host, sandbox.parts().2)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            trees: Trees::open(places.trees()).map_err(Error::Host)?,
            boots: Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))),
            image: config.image,
            booted: Boots::default(),
            users: Mutex::default(),
            busy: Holds::default(),
            sandbox,
            places,
            host,
            acceleration,
            why,
            boot,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who executes machines here.
    #[must_use]
    pub fn acceleration(&self) -> Acceleration {
        self.inner.acceleration
    }

    /// What [`Vm::acceleration`] follows from.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.inner.why
    }

    /// What took how long in the newest boots of this process, for whoever measures.
    #[must_use]
    pub fn boots(&self) -> Vec<Boot> {
        self.inner.booted.all()
    }

    /// As [`Sandbox::release_image`]: of its machines none holds an image but by its open files.
    ///
    /// # Errors
    /// As [`Sandbox::release_image`].
    pub async fn release_image(&self, version: &str) -> Result<(), String> {
        self.inner.sandbox.release_image(version).await
    }

    /// As [`Sandbox::leave`].
    ///
    /// # Errors
    /// As [`Sandbox::leave`].
    pub async fn leave(&self) -> Result<bool, sandbox::Error> {
        match self.list().await {
            Outcome::Done(left) if left.is_empty() => self.inner.sandbox.leave().await,
            _ => Ok(false),
        }
    }

    /// The record of a machine that is there or has its memory on disk; `None` if it is a sandbox's, half-started, of an earlier boot, or nobody's.
    async fn record(&self, id: &InstanceId) -> Result<Option<Record>, Trouble> {
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        blocking(move || {
            let record = Record::load(&inner.places.run(&id));
            let record = record.map_err(|e| Trouble::io("the record could not be read", e))?;
            Ok(record.filter(|record| record.boot == inner.boot && record.is_whole()))
        })
        .await
    }

    /// Is there anything of a machine by this name?
    fn is_machine(&self, id: &InstanceId) -> bool {
        self.inner.places.run(id).exists()
    }

    async fn look(&self, id: &InstanceId) -> Result<Inspection, Trouble> {
        let Some(record) = self.record(id).await? else {
            return Ok(Inspection {
                state: State::Absent,
                address: None,
                tcp_address: None,
                memory_bytes: None,
            });
        };
        let inner = &self.inner;
        let group = inner.cgroups().find(id);
        let memory = group.as_ref().map_or(0, crate::cgroup::Group::memory_bytes);
        if record.asleep == Some(Asleep::Disk) {
            return Ok(record.inspection(State::Frozen, memory));
        }
        if !record.lives() {
            let out_of_memory = group.is_some_and(|group| group.oom_kills() > 0);
            let exit = Exit { stage: record.stage.clone(), code: 137, out_of_memory };
            return Ok(record.inspection(State::Exited(exit), memory));
        }
        if record.asleep.is_some() {
            return Ok(record.inspection(State::Frozen, memory));
        }
        match socket::ask(&inner.places.run(id), &Request::Status, inner.answer()).await {
            Ok(Reply::Status { phase, .. }) => Ok(record.inspection(state(phase), memory)),
            Ok(other) => Err(Trouble::Unknown(format!("the agent of {id} answered {other:?}"))),
            Err(error) => Err(Trouble::io(&format!("the agent of {id} could not be asked"), error)),
        }
    }

    /// The record of a machine that lives, or whose memory is on disk.
    async fn living(&self, id: &InstanceId) -> Result<Record, Trouble> {
        let record = self.record(id).await?;
        record.filter(|r| r.asleep == Some(Asleep::Disk) || r.lives()).ok_or_else(|| Trouble::gone(id))
    }

    /// As [`Vm::living`], and it is not being ended.
    async fn running(&self, id: &InstanceId) -> Result<Record, Trouble> {
        let record = self.living(id).await?;
        if record.ending { Err(Trouble::gone(id)) } else { Ok(record) }
    }

    async fn start(&self, wanted: &InstanceSpec) -> Result<Inspection, Trouble> {
        let held = self.inner.busy.hold(&wanted.id).await;
        if self.running(&wanted.id).await.is_err() {
            // To its end, also if nobody waits for it any more: a boot that is begun anew each time somebody loses patience never ends.
            let (inner, wanted) = (Arc::clone(&self.inner), wanted.clone());
            let started = tokio::spawn(async move {
                let _held = held;
                start::start(&inner, &wanted).await
            });
            started
                .await
                .unwrap_or_else(|error| Err(Trouble::Unknown(format!("a start broke off: {error}"))))?;
        }
        self.look(&wanted.id).await
    }

    async fn end_gently(&self, id: &InstanceId, deadline: Duration) -> Result<(), Trouble> {
        // One whose memory is on disk has nothing that could be asked to end: that would be a start for the sake of an end.
        if let Ok(mut record) = self.living(id).await
            && record.asleep != Some(Asleep::Disk)
        {
            // A server that dies before the end leaves nothing that a later one would take for whole.
            record.ending = true;
            if let Err(error) = wake::save(&self.inner, id, &record).await {
                // On a full disk this end is what makes room.
                tracing::warn!(instance = %id, %error, "it could not be recorded that the machine is being ended");
            }
            let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            let woken = wake::wake(&self.inner, id, record).await;
            let (run, request) = (self.inner.places.run(id), Request::Stop { deadline_ms });
            let stopped = socket::ask(&run, &request, deadline.saturating_add(MARGIN)).await;
            if let Err(error) = woken.map_err(|e| e.to_string()).and(stopped.map_err(|e| e.to_string())) {
                tracing::warn!(instance = %id, %error, "the agent did not confirm the stop; the machine is ended");
            }
        }
        teardown::all(&self.inner, id).await
    }
}

impl Inner {
    fn cgroups(&self) -> &Cgroups {
        self.sandbox.parts().0
    }

    fn network(&self) -> &Network {
        self.sandbox.parts().1
    }

    fn program(&self) -> &Program {
        self.sandbox.parts().2
    }

    fn emulated(&self) -> bool {
        self.acceleration != Acceleration::Kvm
    }

    fn answer(&self) -> Duration {
        if self.emulated() { ANSWER_EMULATED } else { ANSWER }
    }

    fn patience(&self) -> Duration {
        if self.emulated() { BOOT_EMULATED } else { BOOT }
    }

    /// A line of the server's own in an instance's log, while no keeper writes it. Best effort: nothing depends on it.
    fn note(&self, id: &InstanceId, text: &str) {
        tracing::warn!(instance = %id, "{text}");
        let at = wake::now_ns() / 1_000_000;
        let line = LogLine { at, stage: STAGE.to_owned(), error: true, text: text.to_owned() };
        let file = OpenOptions::new().append(true).open(self.sandbox.log(id));
        if let (Ok(mut file), Ok(mut line)) = (file, serde_json::to_vec(&line)) {
            line.push(b'\n');
            let _ = file.write_all(&line);
        }
    }

    fn every_id(&self) -> io::Result<BTreeSet<InstanceId>> {
        let runs = places::each(&self.places.machines())?;
        Ok(runs.iter().filter_map(|run| run.file_name()?.to_str()?.parse().ok()).collect())
    }
}

fn state(phase: Phase) -> State {
    match phase {
        Phase::Preparing { stage } => State::Preparing { stage },
        Phase::Running { listening } => State::Running { listening },
        Phase::Exited { stage, code, out_of_memory } => State::Exited(Exit { stage, code, out_of_memory }),
    }
}

impl Runtime for Vm {
    async fn ensure(&self, wanted: &InstanceSpec) -> Outcome<Inspection> {
        if matches!(wanted.tree, Tree::Working(_)) {
            return self.inner.sandbox.ensure(wanted).await;
        }
        if let Err(failure) = spec::check(wanted) {
            return Outcome::Broke(failure);
        }
        if let Some(mount) = wanted.mounts.iter().find(|mount| mount.writable) {
            let target = mount.target.display();
            return Outcome::Broke(Failure {
                message: format!(
                    "a virtual machine shares no directory with its host, so {target} cannot be written to in it"
                ),
            });
        }
        outcome(self.start(wanted).await)
    }

    async fn inspect(&self, id: &InstanceId) -> Outcome<Inspection> {
        if !self.is_machine(id) {
            return self.inner.sandbox.inspect(id).await;
        }
        outcome(self.look(id).await)
    }

    async fn sleep(&self, id: &InstanceId) -> Outcome<()> {
        if !self.is_machine(id) {
            return self.inner.sandbox.sleep(id).await;
        }
        let _held = self.inner.busy.hold(id).await;
        match self.running(id).await {
            Ok(record) if record.asleep == Some(Asleep::Disk) => Outcome::Done(()),
            Ok(record) => outcome(wake::sleep(&self.inner, id, record).await),
            Err(trouble) => trouble.into(),
        }
    }

    async fn save(&self, id: &InstanceId) -> Outcome<()> {
        if !self.is_machine(id) {
            return self.inner.sandbox.save(id).await;
        }
        let _held = self.inner.busy.hold(id).await;
        match self.running(id).await {
            Ok(record) if record.asleep == Some(Asleep::Disk) => {
                // The last steps of one that broke off.
                outcome(teardown::processes(&self.inner, id).await)
            }
            Ok(record) if record.asleep.is_none() => {
                Outcome::Broke(Failure { message: format!("the instance {id} does not sleep") })
            }
            Ok(record) => outcome(wake::save_memory(&self.inner, id, record).await),
            Err(trouble) => trouble.into(),
        }
    }

    async fn wake(&self, id: &InstanceId) -> Outcome<Inspection> {
        if !self.is_machine(id) {
            return self.inner.sandbox.wake(id).await;
        }
        let _held = self.inner.busy.hold(id).await;
        let woken = match self.running(id).await {
            Ok(record) => wake::wake(&self.inner, id, record).await,
            Err(trouble) => Err(trouble),
        };
        match woken {
            Ok(()) => outcome(self.look(id).await),
            Err(trouble) => trouble.into(),
        }
    }

    async fn stop(&self, id: &InstanceId, deadline: Duration) -> Outcome<()> {
        if !self.is_machine(id) {
            return self.inner.sandbox.stop(id, deadline).await;
        }
        let _held = self.inner.busy.hold(id).await;
        outcome(self.end_gently(id, deadline).await)
    }

    async fn remove(&self, id: &InstanceId) -> Outcome<()> {
        if !self.is_machine(id) {
            return self.inner.sandbox.remove(id).await;
        }
        let _held = self.inner.busy.hold(id).await;
        outcome(teardown::all(&self.inner, id).await)
    }

    async fn forget(&self, id: &InstanceId) -> Outcome<()> {
        self.inner.sandbox.forget(id).await
    }

    async fn singletons(&self, id: &InstanceId, run: bool) -> Outcome<()> {
        if !self.is_machine(id) {
            return self.inner.sandbox.singletons(id, run).await;
        }
        let _held = self.inner.busy.hold(id).await;
        match self.living(id).await {
            // Nothing runs in what is not there.
            Err(Trouble::Broke(_)) if !run => return Outcome::Done(()),
            Err(trouble) => return trouble.into(),
            Ok(record) if run && record.ending => return Trouble::gone(id).into(),
            Ok(_) => {}
        }
        socket::workers(&self.inner.places.run(id), id, run, WORKERS).await
    }

    /// Sandboxes are in the same subtree.
    async fn usage(&self, id: &InstanceId) -> Option<Usage> {
        let (inner, id) = (Arc::clone(&self.inner), id.clone());
        blocking(move || Ok(inner.cgroups().find(&id).and_then(|group| group.usage()))).await.ok().flatten()
    }

    /// Sandboxes, too, and whatever has a control group or an address.
    async fn list(&self) -> Outcome<Vec<InstanceId>> {
        let mut all: BTreeSet<InstanceId> = match self.inner.sandbox.list().await {
            Outcome::Done(all) => all.into_iter().collect(),
            other => return other,
        };
        let inner = Arc::clone(&self.inner);
        let machines = blocking(move || {
            inner.every_id().map_err(|e| Trouble::io("the machines could not be listed", e))
        });
        match machines.await {
            Ok(machines) => all.extend(machines),
            Err(trouble) => return trouble.into(),
        }
        Outcome::Done(all.into_iter().collect())
    }

    fn log(&self, id: &InstanceId) -> PathBuf {
        self.inner.sandbox.log(id)
    }
}
