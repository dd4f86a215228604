//! The saved table: what the router serves after a start, before any server connects.
//!
//! One file, written beside itself and renamed, so that a crash leaves the old or the new one. It carries its length and a checksum, because a
//! table that is half right must never route anybody's traffic. Nothing may be acknowledged before [`Saved::save`] returned.

use crate::error::Error;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};
use teal_core::route::Table;

const MAGIC: &str = "teal-router-table 1";

/// The state directory, held by one router at a time.
#[derive(Debug)]
pub(crate) struct Saved {
    directory: PathBuf,
    /// Locked while this router runs.
    _lock: File,
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
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Taken { path: directory.to_owned() }),
            Err(fs::TryLockError::Error(source)) => Err(failed("it cannot be locked")(source)),
        }
    }

    /// The last table that was saved; the empty one if there is none. A file that is not whole is kept aside for a person to see.
    pub(crate) fn load(&self) -> Result<Table, Error> {
        let path = self.directory.join("table");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::default()),
            Err(source) => return Err(Error::State { path, doing: "it cannot be read", source }),
        };
        match parse(&bytes) {
            Ok(table) => Ok(table),
            Err(why) => {
                let aside = self.directory.join("table.corrupt");
                tracing::error!(file = %path.display(), why, kept = %aside.display(),
                    "the saved table is corrupt: starting with an empty one, the server will send its own");
                let renamed = fs::rename(&path, &aside);
                renamed.map_err(|source| Error::State { path, doing: "it cannot be renamed", source })?;
                Ok(Table::default())
            }
        }
    }

    /// Makes the table durable: written, fsynced, renamed, the directory fsynced.
    pub(crate) fn save(&self, table: &Table) -> Result<(), Error> {
        let bytes = render(table)?;
        let (new, path) = (self.directory.join("table.new"), self.directory.join("table"));
        let failed = |doing| {
            let path = path.clone();
            move |source| Error::State { path, doing, source }
        };
        let mut file = File::create(&new).map_err(failed("the new table cannot be made"))?;
        file.write_all(&bytes).map_err(failed("the new table cannot be written"))?;
        file.sync_all().map_err(failed("the new table cannot be fsynced"))?;
        fs::rename(&new, &path).map_err(failed("the new table cannot be renamed"))?;
        sync_directory(&self.directory).map_err(failed("the directory cannot be fsynced"))
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn render(table: &Table) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(table).map_err(Error::Serialise)?;
    let mut bytes = format!("{MAGIC} {} {:016x}\n", body.len(), checksum(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Table, String> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("it has no first line")?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| "its first line is not text")?;
    let numbers = line.strip_prefix(MAGIC).ok_or("its first line is not a table's")?;
    let expected = format!(" {} {:016x}", body.len(), checksum(body));
    if numbers != expected {
        return Err(format!("length or checksum differ: the file says{numbers}, its content is{expected}"));
    }
    serde_json::from_slice(body).map_err(|error| format!("it does not parse: {error}"))
}

/// FNV-1a: finds torn and rotten files, protects from nobody.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, Saved) {
        let directory = tempfile::tempdir().expect("a directory");
        let saved = Saved::open(directory.path()).expect("opens");
        (directory, saved)
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let (_directory, saved) = opened();
        assert_eq!(saved.load().expect("loads"), Table::default());
        let table = Table { generation: 7, ..Table::default() };
        saved.save(&table).expect("saves");
        assert_eq!(saved.load().expect("loads"), table);
    }

    #[test]
    fn every_torn_or_changed_file_is_kept_aside() {
        let (directory, saved) = opened();
        let whole = render(&Table { generation: 7, ..Table::default() }).expect("renders");
        for cut in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            for bad in [&whole[..cut], &flipped[..]] {
                fs::write(directory.path().join("table"), bad).expect("writes");
                assert_eq!(saved.load().expect("loads"), Table::default(), "at {cut}");
                let aside = directory.path().join("table.corrupt");
                assert_eq!(fs::read(&aside).expect("kept"), bad);
                fs::remove_file(aside).expect("removes");
            }
        }
    }

    #[test]
    fn two_routers_do_not_share_a_directory() {
        let (directory, saved) = opened();
        assert!(matches!(Saved::open(directory.path()), Err(Error::Taken { .. })));
        drop(saved);
        Saved::open(directory.path()).expect("free again");
    }
}
