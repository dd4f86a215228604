//! Removing a machine with everything it had. Every step is idempotent; the record goes last, so that what is left can be found.

use super::{Inner, places, record::Record};
use crate::sandbox::{Trouble, blocking};
use std::{fs, io, path::Path, sync::Arc};
use teal_core::id::InstanceId;

/// Ends and removes all of `id` but its log. Fine if there is nothing.
pub(super) async fn all(inner: &Arc<Inner>, id: &InstanceId) -> Result<(), Trouble> {
    processes(inner, id).await?;
    inner.network().detach(id).await.map_err(Trouble::network)?;
    let run = inner.places.run(id);
    blocking(move || {
        remove_run(&run).map_err(|e| Trouble::io("the instance's files could not be removed", e))
    })
    .await
}

/// Ends keeper and emulator; the interface goes with them. Address, disk and memory on disk stay.
pub(super) async fn processes(inner: &Arc<Inner>, id: &InstanceId) -> Result<(), Trouble> {
    let (inner, id) = (Arc::clone(inner), id.clone());
    blocking(move || {
        let Some(group) = inner.cgroups().find(&id) else { return Ok(()) };
        group.kill().map_err(Trouble::cgroup)?;
        group.remove().map_err(Trouble::cgroup)
    })
    .await
}

/// Removes what machines of an earlier boot left in files: nothing else of them can be there any more.
pub(super) fn forget_earlier_boots(machines: &Path, boot: &str) -> io::Result<()> {
    for run in places::each(machines)? {
        if Record::load(&run)?.is_some_and(|record| record.boot != boot) {
            remove_run(&run)?;
        }
    }
    Ok(())
}

/// The record goes last of the files.
fn remove_run(run: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(run) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != "record.json" {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(run)
}
