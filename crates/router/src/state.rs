//! The router's state directory, used by one router at a time: what it serves after a start, before any server connects.

use crate::{
    durable::Durable,
    error::Error,
    kept::{Kept, WHOLE},
};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::Path,
};
use teal_core::{
    certificate::{Certificate, Proof},
    id::AppId,
    route::Table,
};

/// The files in the directory.
const CERTIFICATES: &str = "certificates";
const SECRET: &str = "secret";

/// The certificates and proofs that the server gave.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) proofs: Vec<Proof>,
}

/// The state directory, held by one router at a time.
#[derive(Debug)]
pub(crate) struct Saved {
    table: Kept,
    certificates: Durable,
    secret: Durable,
    /// Locked while this router runs.
    _lock: File,
}

/// What the router that has the directory has saved, but for the newest changes of the table: those are still being written.
pub(crate) fn read(directory: &Path) -> Result<(Table, Given), Error> {
    let table = Durable::new(directory, WHOLE).peek()?.unwrap_or_default();
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
                table: Kept::new(directory),
                certificates: Durable::new(directory, CERTIFICATES),
                secret: Durable::new(directory, SECRET),
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Taken { path: directory.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(failed("it cannot be locked")(source)),
        }
    }

    /// The last table that was saved; the empty one if there is none.
    pub(crate) fn load(&mut self) -> Result<Table, Error> {
        self.table.load()
    }

    /// Makes the table durable.
    pub(crate) fn save(&mut self, table: &Table) -> Result<(), Error> {
        self.table.save(table)
    }

    /// Makes a change durable that made `table` of generation `base`, by these apps.
    pub(crate) fn change(&mut self, table: &Table, base: u64, ids: &[AppId]) -> Result<(), Error> {
        self.table.change(table, base, ids)
    }

    /// What cookies are marked with: made once, so that they mean the same after a restart.
    pub(crate) fn secret(&self) -> Result<Vec<u8>, Error> {
        if let Some(secret) = self.secret.load()? {
            return Ok(secret);
        }
        let mut secret = vec![0; 32];
        let source = |_| io::Error::other("the system has no random numbers");
        let failed = |source| Error::Start { part: "the secret for cookies", source };
        rand::fill(&mut secret).map_err(source).map_err(failed)?;
        self.secret.save(&secret)?;
        Ok(secret)
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

    #[test]
    fn the_secret_is_made_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = || Saved::open(directory.path()).and_then(|saved| saved.secret()).expect("a secret");
        let first = secret();
        assert_eq!((first.len(), secret()), (32, first.clone()));
        assert!(first.iter().any(|byte| *byte != 0));
    }
}
