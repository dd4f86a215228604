//! Starting an instance: everything in an order that a crash at any point leaves findable.
//!
//! The record comes first, then what it speaks of. A half-started instance is one whose record names no agent, and one that was being ended when
//! the server died is no better: the next attempt removes what there is and begins again.

use super::{Inner, Trouble, blocks, places, record, spec, teardown};
use crate::{InstanceSpec, Tree, cgroup::Group, network};
use record::{Process, Record};
use std::{
    fs, io,
    os::unix::fs::{chown, lchown},
    path::Path,
    sync::Arc,
};
use teal_core::{agent::Link, id::InstanceId};

/// Makes the instance run; its agent answers when this returns.
pub(super) async fn start(inner: &Arc<Inner>, wanted: &InstanceSpec) -> Result<Record, Trouble> {
    let started = attempt(inner, wanted).await;
    if started.is_err() {
        // Its own failure is what matters; what it leaves is found by the next attempt or by `remove`.
        if let Err(left) = teardown::all(inner, &wanted.id).await {
            tracing::warn!(instance = %wanted.id, error = %left, "a failed start left something behind");
        }
    }
    started
}

async fn attempt(inner: &Arc<Inner>, wanted: &InstanceSpec) -> Result<Record, Trouble> {
    teardown::all(inner, &wanted.id).await?;
    let (mut record, launcher) = {
        let (inner, wanted) = (Arc::clone(inner), wanted.clone());
        super::blocking(move || inner.prepare(&wanted)).await?
    };
    let link =
        inner.network.attach(&wanted.id, launcher.pid(), wanted.egress).await.map_err(Trouble::network)?;
    let inner = Arc::clone(inner);
    let id = wanted.id.clone();
    super::blocking(move || {
        let pid =
            launcher.finish(&told(&link)).map_err(|e| Trouble::io("the sandbox could not be finished", e))?;
        record.address = Some(link.address);
        record.agent = Process::of(pid);
        record
            .save(&inner.places.run(&id))
            .map_err(|e| Trouble::io("the instance could not be recorded", e))?;
        Ok(record)
    })
    .await
}

fn told(link: &network::Link) -> Link {
    Link { address: link.address, gateway: link.gateway }
}

impl Inner {
    /// Up to the point where the network can be attached.
    fn prepare(&self, wanted: &InstanceSpec) -> Result<(Record, super::launcher::Launcher), Trouble> {
        let image = self.root_of(wanted.image.as_ref())?;
        let record = self.begin(wanted).map_err(|e| Trouble::io("the instance could not be recorded", e))?;
        let run = self.places.run(&wanted.id);
        let layer = self
            .layers
            .make(&run, wanted.limits.disk_mib)
            .map_err(|e| Trouble::io("the writable layer could not be made", e))?;
        own_log(&self.places.log_directory(&wanted.id), record.block)
            .map_err(|e| Trouble::io("the log could not be prepared", e))?;
        spec::make_sources(wanted).map_err(|e| Trouble::io("a mounted directory could not be made", e))?;
        let group: Group = self.cgroups.create(&wanted.id, &wanted.limits).map_err(Trouble::cgroup)?;
        let mut launch = spec::launch(self, wanted, record.block, layer, group.procs_files());
        launch.image = image;
        let launcher =
            self.program.launch(&launch).map_err(|e| Trouble::io("the sandbox could not be made", e))?;
        Ok((record, launcher))
    }

    /// Takes a block of ids and records it, under a lock: no two instances get the same.
    fn begin(&self, wanted: &InstanceSpec) -> io::Result<Record> {
        let _held = self.blocks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let instances = self.places.instances();
        let block = blocks::free(&instances)?.ok_or_else(|| {
            io::Error::other("all blocks of ids are taken; remove instances that are not needed")
        })?;
        let record = Record {
            boot: self.boot.clone(),
            block,
            port: wanted.port,
            tcp_port: wanted.tcp_port,
            stage: wanted.commands.last().map(|c| c.stage.clone()).unwrap_or_default(),
            working: match &wanted.tree {
                Tree::Sealed(_) => None,
                Tree::Working(tree) => Some((tree.clone(), wanted.limits.disk_mib)),
            },
            address: None,
            agent: None,
            ending: false,
        };
        let run = self.places.run(&wanted.id);
        places::private(&run)?;
        record.save(&run)?;
        fs::File::open(instances)?.sync_all()?;
        Ok(record)
    }

    /// Is there a record of `id` with a living agent?
    pub(super) fn living(&self, id: &InstanceId) -> io::Result<Option<Record>> {
        let record = Record::load(&self.places.run(id))?;
        Ok(record.filter(|r| r.boot == self.boot && r.agent.as_ref().is_some_and(Process::alive)))
    }

    /// As [`Inner::living`], and it is not being ended.
    pub(super) fn running(&self, id: &InstanceId) -> io::Result<Option<Record>> {
        Ok(self.living(id)?.filter(|record| !record.ending))
    }

    /// Writes down that an instance is being ended: a server that dies before that is done leaves nothing that a later one would take for whole.
    pub(super) fn mark_ending(&self, id: &InstanceId, mut record: Record) {
        record.ending = true;
        if let Err(error) = record.save(&self.places.run(id)) {
            // On a full disk this end is what makes room.
            tracing::warn!(instance = %id, %error, "it could not be recorded that the instance is being ended");
        }
    }
}

/// The log directory belongs to the agent's id on the host, which may be another one than the last time.
fn own_log(directory: &Path, block: u32) -> io::Result<()> {
    places::private(directory)?;
    for entry in fs::read_dir(directory)? {
        lchown(entry?.path(), Some(block), Some(block))?;
    }
    chown(directory, Some(block), Some(block))
}
