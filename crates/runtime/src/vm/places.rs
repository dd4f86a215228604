//! Where the vm runtime keeps things below the server's data directory.

use crate::sandbox;
use std::{fs, io, path::PathBuf};
use teal_core::id::InstanceId;

/// The directories. Instances' names are ids, which are safe in paths.
#[derive(Debug, Clone)]
pub(super) struct Places {
    data: PathBuf,
}

impl Places {
    /// Makes the directories that all machines share; only root may look into them.
    pub(super) fn make(data: &std::path::Path) -> io::Result<Self> {
        let places = Self { data: data.canonicalize()? };
        for directory in [places.machines(), places.trees(), places.proofs()] {
            sandbox::private(&directory)?;
        }
        Ok(places)
    }

    /// The run directories of all machines.
    pub(super) fn machines(&self) -> PathBuf {
        self.data.join("run/machines")
    }

    /// What one machine has while it is there, or its memory is.
    pub(super) fn run(&self, id: &InstanceId) -> PathBuf {
        self.machines().join(id.as_str())
    }

    /// Releases as machines mount them.
    pub(super) fn trees(&self) -> PathBuf {
        self.data.join("cache/trees")
    }

    /// What was found out about this host's processor, and the machine by which it is found out.
    pub(super) fn proofs(&self) -> PathBuf {
        self.data.join("run/kvm")
    }
}

/// The run directories that are there.
pub(super) fn each(machines: &std::path::Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(machines)?.map(|entry| Ok(entry?.path())).collect()
}
