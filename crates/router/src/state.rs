//! The router's state directory, used by one router at a time: what it serves after a start, before any server connects.

use crate::{durable::Durable, error::Error};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    path::Path,
};
use teal_core::{
    certificate::{Certificate, Proof},
    route::Table,
};

/// The files in the directory.
const TABLE: &str = "table";
const CERTIFICATES: &str = "certificates";

/// The certificates and proofs that the server gave.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) proofs: Vec<Proof>,
}

/// The state directory, held by one router at a time.
#[derive(Debug)]
pub(crate) struct Saved {
    table: Durable,
    certificates: Durable,
    /// Locked while this router runs.
    _lock: File,
}

/// What the router that has the directory has saved.
pub(crate) fn read(directory: &Path) -> Result<(Table, Given), Error> {
    let table = Durable::new(directory, TABLE).peek()?.unwrap_or_default();
    let given = Durable::new(directory, CERTIFICATES).peek()?.unwrap_or_default();
    Ok((table, given))
}

impl Saved {
    /// Opens and locks the directory, and makes it if it is missing.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let failed = |doing| move |source| Error::State { path: directory.to_owned(), doing, source };
        fs::create_dir_all(directory).map_err(failed("it cannot be made"))?;
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).open(directory.join("lock"));
        let lock = lock.map_err(failed("the lock file cannot be opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                table: Durable::new(directory, TABLE),
                certificates: Durable::new(directory, CERTIFICATES),
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Taken { path: directory.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(failed("it cannot be locked")(source)),
        }
    }

    /// The last table that was saved; the empty one if there is none.
    pub(crate) fn load(&self) -> Result<Table, Error> {
        Ok(self.table.load()?.unwrap_or_default())
    }

    /// Makes the table durable.
    pub(crate) fn save(&self, table: &Table) -> Result<(), Error> {
        self.table.save(table)
    }

    /// The last certificates that were saved.
    pub(crate) fn certificates(&self) -> Result<Given, Error> {
        Ok(self.certificates.load()?.unwrap_or_default())
    }

    /// Makes certificates durable.
    pub(crate) fn save_certificates(&self, given: &Given) -> Result<(), Error> {
        self.certificates.save(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_routers_do_not_share_a_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let saved = Saved::open(directory.path()).expect("opens");
        assert!(matches!(Saved::open(directory.path()), Err(Error::Taken { .. })));
        drop(saved);
        Saved::open(directory.path()).expect("free again");
    }
}
