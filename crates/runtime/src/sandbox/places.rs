//! Where the sandbox runtime keeps things below the server's data directory.

use std::{fs, io, path::PathBuf};
use teal_core::{agent::LOG_NAME, id::InstanceId};

/// The directories. Instances' names are ids, which are safe in paths.
#[derive(Debug, Clone)]
pub(super) struct Places {
    data: PathBuf,
}

impl Places {
    /// Makes the directories that all instances share; only root may look into them.
    pub(super) fn make(data: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&data)?;
        let places = Self { data: data.canonicalize()? };
        for directory in
            [places.instances(), places.images(), places.staging(), places.logs(), places.network()]
        {
            private(&directory)?;
        }
        Ok(places)
    }

    /// The run directories of all instances.
    pub(super) fn instances(&self) -> PathBuf {
        self.data.join("run/instances")
    }

    /// Where images are mounted, each under its version.
    pub(super) fn images(&self) -> PathBuf {
        self.data.join("run/images")
    }

    /// What one instance has while it is there.
    pub(super) fn run(&self, id: &InstanceId) -> PathBuf {
        self.instances().join(id.as_str())
    }

    /// An empty directory over which launchers mount, each in a namespace of its own.
    pub(super) fn staging(&self) -> PathBuf {
        self.data.join("run/root")
    }

    /// The table of addresses.
    pub(super) fn network(&self) -> PathBuf {
        self.data.join("network")
    }

    /// One instance's log directory: it stays when the instance goes.
    pub(super) fn log_directory(&self, id: &InstanceId) -> PathBuf {
        self.logs().join(id.as_str())
    }

    /// One instance's log.
    pub(super) fn log(&self, id: &InstanceId) -> PathBuf {
        self.log_directory(id).join(LOG_NAME)
    }

    fn logs(&self) -> PathBuf {
        self.data.join("logs/instances")
    }
}

/// Makes a directory that only root may look into; its parents are made as usual.
pub(crate) fn private(directory: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
}
