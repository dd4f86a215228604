//! Sleep and wake.
//!
//! Before a machine is stopped, its agent lets everything but itself stand still; after it goes on, the agent gets the time and fresh entropy
//! and only then lets the app run. So no app ever sees a clock that stood, or random numbers that another wake has given already.

use super::{
    Inner,
    keeper::Keeper,
    qmp::Qmp,
    record::{Asleep, Record},
    snapshot::{self, Snapshot},
    start, teardown,
};
use crate::{
    network::Link,
    sandbox::{Trouble, blocking, socket},
};
use std::{fs::File, io, io::Read, sync::Arc, time::Duration};
use teal_core::{
    agent::{Reply, Request},
    id::InstanceId,
    machine::{SEED, Seed},
};

/// How long an app may take to stand still, and an agent to say so.
const REST: Duration = Duration::from_secs(30);

/// Puts a machine to sleep in memory. Idempotent, also after a server died in the midst of it.
pub(super) async fn sleep(inner: &Arc<Inner>, id: &InstanceId, mut record: Record) -> Result<(), Trouble> {
    if record.asleep.is_none() {
        record.asleep = Some(Asleep::Memory);
        save(inner, id, &record).await?;
    } else if !control(inner, id, |qmp| qmp.runs()).await? {
        return Ok(());
    }
    match ask(inner, id, &Request::Rest, REST).await? {
        Reply::Resting => control(inner, id, |qmp| qmp.stop()).await,
        other => Err(Trouble::Unknown(format!("the agent of {id} does not rest: {other:?}"))),
    }
}

/// Moves a sleeper's memory to disk. The emulator is ended only when that is whole, durable and recorded.
pub(super) async fn save_memory(
    inner: &Arc<Inner>,
    id: &InstanceId,
    mut record: Record,
) -> Result<(), Trouble> {
    // Finishes a sleep that broke off.
    sleep(inner, id, record.clone()).await?;
    let saving = (Arc::clone(inner), id.clone(), record.clone());
    blocking(move || {
        let (inner, id, record) = saving;
        snapshot::take(&inner, &id, &record)
            .map_err(|e| Trouble::io("the machine's memory could not be saved", e))
    })
    .await?;
    record.asleep = Some(Asleep::Disk);
    record.keeper = None;
    save(inner, id, &record).await?;
    teardown::processes(inner, id).await
}

/// Lets a sleeper go on.
pub(super) async fn wake(inner: &Arc<Inner>, id: &InstanceId, record: Record) -> Result<(), Trouble> {
    match record.asleep {
        None => Ok(()),
        Some(Asleep::Memory) => {
            control(inner, id, |qmp| qmp.go_on()).await?;
            greet(inner, id).await?;
            let keeper = record.keeper.as_ref().map_or(0, |keeper| keeper.pid);
            inner.settle(id, record, keeper)
        }
        Some(Asleep::Disk) => match restore(inner, id, record).await {
            // Whatever it was, nothing of it can be used again: it is started from its release.
            Err(trouble) => {
                let why = format!(
                    "The machine's memory cannot be used ({trouble}); it has to start from its release"
                );
                inner.note(id, &why);
                Err(start::broke(&why))
            }
            done => done,
        },
    }
}

async fn restore(inner: &Arc<Inner>, id: &InstanceId, mut record: Record) -> Result<(), Trouble> {
    // What a save that broke off late has left still holds the interface.
    teardown::processes(inner, id).await?;
    let opening = (Arc::clone(inner), id.clone(), record.clone());
    let snapshot = blocking(move || {
        let (inner, id, record) = opening;
        Snapshot::use_up(&inner, &id, &record).map_err(|e| Trouble::io("it is refused", e))
    })
    .await?;
    // Half-started from here on.
    record.asleep = None;
    save(inner, id, &record).await?;
    let (link, mtu) = inner.network().lease(id, record.egress).await.map_err(Trouble::network)?;
    let starting = (Arc::clone(inner), id.clone(), record.clone());
    let keeper = blocking(move || starting.0.launch_waiting(&starting.1, &starting.2)).await?;
    let pid = keeper.pid;
    let adopted = adopt(inner, &link, mtu, record.egress);
    let filling = fill(inner, id, snapshot);
    let (adopted, filled) = tokio::join!(adopted, filling);
    adopted.and(filled)?;
    drop(keeper);
    greet(inner, id).await?;
    inner.settle(id, record, pid)
}

async fn adopt(inner: &Arc<Inner>, link: &Link, mtu: u32, egress: bool) -> Result<(), Trouble> {
    inner.network().adopt(link, mtu, egress).await.map_err(Trouble::network)
}

async fn fill(inner: &Arc<Inner>, id: &InstanceId, snapshot: Snapshot) -> Result<(), Trouble> {
    let (run, zstd) = (inner.places.run(id), inner.host.zstd.clone());
    blocking(move || {
        let restored = Qmp::connect(&run).and_then(|mut qmp| {
            snapshot.pour(&zstd, &mut qmp)?;
            qmp.go_on()
        });
        restored.map_err(|e| Trouble::io("its memory could not be restored", e))
    })
    .await
}

/// Gives an agent the time and entropy, after which it lets its app run.
async fn greet(inner: &Arc<Inner>, id: &InstanceId) -> Result<(), Trouble> {
    let seed = seed().map_err(|e| Trouble::io("the host gives no entropy", e))?;
    match ask(inner, id, &Request::Wake { now_ns: now_ns(), seed }, REST).await? {
        Reply::Awake => Ok(()),
        other => Err(Trouble::Unknown(format!("the agent of {id} does not wake: {other:?}"))),
    }
}

async fn ask(
    inner: &Arc<Inner>,
    id: &InstanceId,
    request: &Request,
    limit: Duration,
) -> Result<Reply, Trouble> {
    let asked = socket::ask(&inner.places.run(id), request, limit).await;
    asked.map_err(|e| Trouble::io(&format!("the agent of {id} could not be asked"), e))
}

async fn control<T: Send + 'static>(
    inner: &Arc<Inner>,
    id: &InstanceId,
    work: impl FnOnce(&mut Qmp) -> io::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let run = inner.places.run(id);
    let work = move || Qmp::connect(&run).and_then(|mut qmp| work(&mut qmp));
    blocking(move || work().map_err(|e| Trouble::io("the emulator could not be asked", e))).await
}

/// Replaces a machine's record.
pub(super) async fn save(inner: &Arc<Inner>, id: &InstanceId, record: &Record) -> Result<(), Trouble> {
    let (run, record) = (inner.places.run(id), record.clone());
    blocking(move || record.save(&run).map_err(|e| Trouble::io("the instance could not be recorded", e)))
        .await
}

impl Inner {
    /// An emulator that waits for its machine's memory.
    fn launch_waiting(&self, id: &InstanceId, record: &Record) -> Result<Keeper, Trouble> {
        let Some(shape) = &record.shape else { return Err(Trouble::gone(id)) };
        let mut arguments = shape.arguments();
        arguments.extend(super::argv::incoming());
        let machine = self.machine(id, record, arguments)?;
        Keeper::start(self.program(), &machine)
            .map_err(|e| Trouble::io("the emulator could not be started", e))
    }
}

/// The time, for machines.
pub(super) fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// Entropy of the host, never given twice.
pub(super) fn seed() -> io::Result<Seed> {
    let mut bytes = vec![0; SEED];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Seed(bytes))
}
