//! Starting a machine: everything in an order that a crash at any point leaves findable.
//!
//! The record comes first, then what it speaks of. A half-started machine is one whose record names no keeper, and one that was being ended when
//! the server died is no better: the next attempt removes what there is and begins again.

use super::{
    Inner,
    argv::Shape,
    boots::Boot,
    host,
    keeper::Keeper,
    record::{self, Record},
    teardown, users,
};
use crate::{
    Image, InstanceSpec, Limits, Tree, cgroup,
    network::Link,
    sandbox::{self, Trouble, blocking, layer, operator, record::Process, spec},
};
use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown, lchown},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use teal_core::{
    agent,
    id::InstanceId,
    image::{INITRD, KERNEL, ROOT},
    machine::{Begin, File, Machine},
};

/// The file of a machine's writable disk.
const LAYER: &str = "layer.img";

/// Threads of an emulator, at most; those of the app are counted in the machine.
const MAX_THREADS: u64 = 512;

/// Makes the machine run; its app is being started when this returns.
pub(super) async fn start(inner: &Arc<Inner>, wanted: &InstanceSpec) -> Result<(), Trouble> {
    let started = attempt(inner, wanted).await;
    if started.is_err() {
        // Its own failure is what matters; what it leaves is found by the next attempt or by `remove`.
        if let Err(left) = teardown::all(inner, &wanted.id).await {
            tracing::warn!(instance = %wanted.id, error = %left, "a failed start left something behind");
        }
    }
    started
}

async fn attempt(inner: &Arc<Inner>, wanted: &InstanceSpec) -> Result<(), Trouble> {
    let asked = Instant::now();
    teardown::all(inner, &wanted.id).await?;
    let record = {
        let (inner, wanted) = (Arc::clone(inner), wanted.clone());
        blocking(move || inner.prepare(&wanted)).await?
    };
    let (link, mtu) = inner.network().lease(&wanted.id, wanted.egress).await.map_err(Trouble::network)?;
    // Many that boot at once take longer than one after another.
    let permit = Arc::clone(&inner.boots).acquire_owned().await;
    let waited = Instant::now();
    let (record, mut keeper) = {
        let (inner, wanted, link) = (Arc::clone(inner), wanted.clone(), link.clone());
        blocking(move || inner.launch(record, &wanted, &link, mtu)).await?
    };
    inner.network().adopt(&link, mtu, wanted.egress).await.map_err(Trouble::network)?;
    let (inner, id, emulator) = (Arc::clone(inner), wanted.id.clone(), asked.elapsed());
    blocking(move || {
        let _one_of_few = permit;
        let stages = hear(&inner, &mut keeper, &id, emulator);
        let boot = stages.map_err(|e| Trouble::io("the virtual machine did not start", e))?;
        let told: Vec<String> =
            boot.stages.iter().map(|span| format!("{} {} ms", span.stage, span.at_ms)).collect();
        tracing::info!(instance = %id, elapsed = ?waited.elapsed(), stages = %told.join(", "), "a virtual machine runs");
        inner.booted.add(boot);
        inner.settle(&id, record, keeper.pid)
    })
    .await
}

/// Waits until the app is being run, and says what took how long.
fn hear(inner: &Inner, keeper: &mut Keeper, id: &InstanceId, emulator: Duration) -> io::Result<Boot> {
    let began = Instant::now();
    keeper.await_up(inner.patience())?;
    let agent = began.elapsed();
    let stages = keeper.await_begun(inner.patience())?;
    Ok(Boot { instance: id.clone(), emulator, agent, app: began.elapsed().saturating_sub(agent), stages })
}

impl Inner {
    /// The record, and the files that the machine is made of.
    fn prepare(&self, wanted: &InstanceSpec) -> Result<Record, Trouble> {
        let Some(image) = wanted.image.clone().or_else(|| self.image.clone()) else {
            return Err(broke(
                "a virtual machine needs an image, and there is none; make one with: teal image build debian-12",
            ));
        };
        let missing = [KERNEL, INITRD, ROOT].into_iter().find(|name| !image.directory.join(name).is_file());
        if let Some(name) = missing {
            let message =
                format!("the image {} has no `{name}`; build it again with: teal image build", image.version);
            return Err(broke(&message));
        }
        let Tree::Sealed(release) = &wanted.tree else {
            return Err(broke("builds do not run in virtual machines"));
        };
        let tree = self.trees.pack(release).map_err(|e| Trouble::io("the release could not be packed", e))?;
        let pack = |mount: &crate::Mount| self.trees.pack(&mount.source);
        let further = wanted.mounts.iter().map(pack).collect::<io::Result<Vec<_>>>();
        let further = further.map_err(|e| Trouble::io("a directory could not be packed", e))?;
        let record = self
            .begin(wanted, image, (tree, further))
            .map_err(|e| Trouble::io("the instance could not be recorded", e))?;
        self.make_layer(&wanted.id, wanted.limits.disk_mib, record.user)
            .map_err(|e| Trouble::io("the writable disk could not be made", e))?;
        own_log(&self.sandbox.log_directory(&wanted.id), record.user + 1)
            .map_err(|e| Trouble::io("the log could not be prepared", e))?;
        Ok(record)
    }

    /// Takes ids of the host and records them, under a lock: no two machines get the same.
    fn begin(
        &self,
        wanted: &InstanceSpec,
        image: Image,
        (tree, further): (PathBuf, Vec<PathBuf>),
    ) -> io::Result<Record> {
        let _held = self.users.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let machines = self.places.machines();
        let user = users::free(&machines)?.ok_or_else(|| {
            io::Error::other("all ids of machines are taken; remove instances that are not needed")
        })?;
        let record = Record {
            boot: self.boot.clone(),
            user,
            port: wanted.port,
            tcp_port: wanted.tcp_port,
            stage: wanted.commands.last().map(|c| c.stage.clone()).unwrap_or_default(),
            egress: wanted.egress,
            image,
            tree,
            further,
            host_limits: (0, wanted.limits.cpu_milli),
            shape: None,
            keeper: None,
            asleep: None,
            ending: false,
        };
        let run = self.places.run(&wanted.id);
        sandbox::private(&run)?;
        record.save(&run)?;
        fs::File::open(machines)?.sync_all()?;
        Ok(record)
    }

    fn make_layer(&self, id: &InstanceId, mib: u64, user: u32) -> io::Result<()> {
        let path = self.places.run(id).join(LAYER);
        layer::format(&self.host.mkfs, &path, mib)?;
        chown(&path, Some(user), Some(user))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
    }

    /// Up to a running emulator.
    fn launch(
        &self,
        mut record: Record,
        wanted: &InstanceSpec,
        link: &Link,
        mtu: u32,
    ) -> Result<(Record, Keeper), Trouble> {
        let mut shape = Shape::new(&wanted.limits, self.acceleration, self.host.tsc_khz, link.address);
        shape.further = record.further.len();
        record.host_limits.0 = shape.host_mib();
        record.shape = Some(shape.clone());
        record
            .save(&self.places.run(&wanted.id))
            .map_err(|e| Trouble::io("the instance could not be recorded", e))?;
        let begin = begin(wanted, link, mtu).map_err(|e| Trouble::io("the host gives no entropy", e))?;
        let mut machine = self.machine(&wanted.id, &record, shape.arguments())?;
        machine.begin = Some(Box::new(begin));
        let keeper = Keeper::start(self.program(), &machine)
            .map_err(|e| Trouble::io("the virtual machine could not be started", e))?;
        Ok((record, keeper))
    }

    /// What a keeper is told of a recorded machine.
    pub(super) fn machine(
        &self,
        id: &InstanceId,
        record: &Record,
        arguments: Vec<String>,
    ) -> Result<Machine, Trouble> {
        let (memory_mib, cpu_milli) = record.host_limits;
        let limits = Limits { memory_mib, cpu_milli, pids: MAX_THREADS, disk_mib: 0 };
        let group: cgroup::Group = self.cgroups().create(id, &limits).map_err(Trouble::cgroup)?;
        let files =
            self.files(id, record).map_err(|e| Trouble::io("the machine's files cannot be read", e))?;
        Ok(Machine {
            name: id.to_string(),
            cgroups: group.procs_files(),
            emulator: self.host.emulator.clone(),
            arguments,
            files,
            user: record.user,
            group: record.shape.as_ref().and_then(|shape| if shape.kvm { host::kvm_group() } else { None }),
            interface: record
                .shape
                .as_ref()
                .map(|shape| crate::network::interface_name(record::gateway(shape.address))),
            run: self.places.run(id),
            log: self.sandbox.log_directory(id),
            begin: None,
        })
    }

    /// In the order that [`argv`] counts them.
    fn files(&self, id: &InstanceId, record: &Record) -> io::Result<Vec<File>> {
        let image = &record.image.directory;
        let fixed = [image.join(KERNEL), image.join(INITRD), image.join(ROOT), record.tree.clone()];
        let layer = File { path: self.places.run(id).join(LAYER), writable: true };
        let mut files = fixed.into_iter().map(shared).collect::<io::Result<Vec<_>>>()?;
        files.push(layer);
        for packed in &record.further {
            files.push(shared(packed.clone())?);
        }
        Ok(files)
    }

    /// The machine runs under this keeper: from here on it is found again.
    pub(super) fn settle(&self, id: &InstanceId, mut record: Record, keeper: u32) -> Result<(), Trouble> {
        record.keeper = Process::of(keeper);
        record.asleep = None;
        record.save(&self.places.run(id)).map_err(|e| Trouble::io("the instance could not be recorded", e))
    }
}

/// A file that emulators open again by their own user: everybody may read it, if only he reaches it.
pub(super) fn shared(path: PathBuf) -> io::Result<File> {
    let permissions = fs::metadata(&path)?.permissions();
    if permissions.mode() & 0o004 == 0 {
        fs::set_permissions(&path, fs::Permissions::from_mode(permissions.mode() | 0o444))?;
    }
    Ok(File { path, writable: false })
}

fn begin(wanted: &InstanceSpec, link: &Link, mtu: u32) -> io::Result<Begin> {
    Ok(Begin {
        hostname: wanted.id.to_string(),
        link: agent::Link { address: link.address, gateway: link.gateway },
        mtu,
        memory_mib: wanted.limits.memory_mib,
        pids: wanted.limits.pids,
        shm_mib: wanted.limits.memory_mib / 2,
        further: wanted.mounts.iter().map(|mount| mount.target.clone()).collect(),
        files: operator::files(wanted.port.is_none(), true),
        now_ns: super::wake::now_ns(),
        seed: super::wake::seed()?,
        program: spec::program(wanted),
    })
}

/// The log directory belongs to the keeper's id, which may be another one than the last time.
fn own_log(directory: &Path, keeper: u32) -> io::Result<()> {
    sandbox::private(directory)?;
    for entry in fs::read_dir(directory)? {
        lchown(entry?.path(), Some(keeper), Some(keeper))?;
    }
    chown(directory, Some(keeper), Some(keeper))
}

pub(super) fn broke(message: &str) -> Trouble {
    Trouble::Broke(crate::Failure { message: message.to_owned() })
}
