//! Removing an instance with everything it had. Every step is idempotent; the record goes last, so that what is left can be found.

use super::{Inner, Trouble, layer};
use std::{fs, io, sync::Arc};
use teal_core::id::InstanceId;

/// Ends and removes all of `id` but its log. Fine if there is nothing.
pub(super) async fn all(inner: &Arc<Inner>, id: &InstanceId) -> Result<(), Trouble> {
    let ending = (Arc::clone(inner), id.clone());
    super::blocking(move || ending.0.end(&ending.1)).await?;
    inner.network.detach(id).await.map_err(Trouble::network)?;
    let removing = (Arc::clone(inner), id.clone());
    super::blocking(move || removing.0.remove_files(&removing.1)).await
}

impl Inner {
    /// Ends every process; its namespaces, mounts and loop device go with the last one.
    fn end(&self, id: &InstanceId) -> Result<(), Trouble> {
        let Some(group) = self.cgroups.find(id) else { return Ok(()) };
        group.kill().map_err(Trouble::cgroup)?;
        group.remove().map_err(Trouble::cgroup)
    }

    fn remove_files(&self, id: &InstanceId) -> Result<(), Trouble> {
        self.counts.forget(id);
        let run = self.places.run(id);
        if !run.exists() {
            return Ok(());
        }
        layer::await_release(&run).map_err(|e| Trouble::io("the writable layer is still in use", e))?;
        remove_run(&run).map_err(|e| Trouble::io("the instance's files could not be removed", e))
    }

    /// Removes what instances of an earlier boot left in files: nothing else of them can be there any more.
    pub(super) fn forget_earlier_boots(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.places.instances())? {
            let run = entry?.path();
            let record = super::record::Record::load(&run)?;
            if record.is_some_and(|record| record.boot != self.boot) {
                remove_run(&run)?;
            }
        }
        Ok(())
    }
}

/// The record goes last of the files.
fn remove_run(run: &std::path::Path) -> io::Result<()> {
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != "record.json" {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(run)
}
