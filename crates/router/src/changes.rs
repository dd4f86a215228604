//! A file of changes to a table, one behind the other: what is appended and fsynced is kept, however large the table is.
//!
//! Each record carries its length and a checksum. What a crash tore is the last record and was never acknowledged, so it is left out; a record that is not whole
//! must never be used, nor anything behind it. Room is made ahead, in zeros: a change that only fills what is there costs no change of the file system's
//! own tables, for which it would wait whenever somebody else changes them.

use crate::{durable::checksum, error::Error};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use teal_core::{
    id::AppId,
    route::{AppRoute, Table},
};

/// The first line.
const MAGIC: &[u8] = b"teal-router-changes 1\n";
/// What a file is called, before its number.
const NAME: &str = "changes-";
/// Room for changes is made in steps of this many bytes: some hundred changes each.
const ROOM: u64 = 64 * 1024;
/// The longest length and checksum, with their line end.
const LONGEST_HEAD: usize = 48;

/// One change of a table.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    /// The generation that it starts from.
    base: u64,
    generation: u64,
    apps: BTreeMap<AppId, Option<AppRoute>>,
}

/// The same, as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) base: u64,
    pub(crate) generation: u64,
    pub(crate) apps: BTreeMap<&'a AppId, Option<&'a AppRoute>>,
}

/// A file that takes changes.
#[derive(Debug)]
pub(crate) struct Changes {
    path: PathBuf,
    file: File,
    /// What is filled.
    length: u64,
    /// What there is room for.
    room: u64,
}

impl Changes {
    /// Makes a new one.
    pub(crate) fn create(directory: &Path, number: u64) -> Result<Self, Error> {
        let path = path(directory, number);
        let failed = |doing| {
            let path = path.clone();
            move |source| Error::State { path, doing, source }
        };
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        let file = file.map_err(failed("the file of changes to the table cannot be made"))?;
        let mut begun = MAGIC.to_vec();
        begun.resize(ROOM as usize, 0);
        let written = file.write_all_at(&begun, 0).and_then(|()| file.sync_all());
        written.map_err(failed("the file of changes to the table cannot be written"))?;
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("the directory cannot be fsynced"))?;
        Ok(Self { path, file, length: MAGIC.len() as u64, room: ROOM })
    }

    /// Makes a change durable. After an error nothing may be appended any more: half a record may be there.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let bytes = render(record)?;
        let written = self.write(&bytes).and_then(|()| self.file.sync_data());
        let there = written.and_then(|()| self.file.metadata()).and_then(|file| match file.nlink() {
            0 => Err(io::Error::other("it was removed")),
            _ => Ok(()),
        });
        self.length += bytes.len() as u64;
        let doing = "a change to the table cannot be written";
        there.map_err(|source| Error::State { path: self.path.clone(), doing, source })
    }

    /// Behind what is filled, where there is room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.length + bytes.len() as u64;
        if end > self.room {
            let room = end.next_multiple_of(ROOM);
            self.file.write_all_at(&vec![0; (room - self.room) as usize], self.room)?;
            self.room = room;
        }
        self.file.write_all_at(bytes, self.length)
    }

    /// Nothing was appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == MAGIC.len() as u64
    }

    /// In bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

/// The whole changes in the file of this number; nothing if there is no such file.
pub(crate) fn read(directory: &Path, number: u64) -> Result<Option<Vec<Change>>, Error> {
    let path = path(directory, number);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::State { path, doing: "it cannot be read", source }),
    };
    let (changes, rest) = parse(&bytes);
    if rest.iter().any(|byte| *byte != 0) {
        tracing::warn!(file = %path.display(), bytes = rest.len(), kept = changes.len(),
            "the end of a file of changes is not whole: it is left out, the server will send what belongs there");
    }
    Ok(Some(changes))
}

/// Applies the changes as far as each starts where the one before ended; says whether all of them did.
pub(crate) fn apply(table: &mut Table, changes: Vec<Change>) -> bool {
    changes.into_iter().all(|change| {
        let fits = change.base == table.generation;
        if fits {
            table.generation = change.generation;
            for (id, route) in change.apps {
                match route {
                    Some(route) => drop(table.apps.insert(id, route)),
                    None => drop(table.apps.remove(&id)),
                }
            }
        }
        fits
    })
}

/// The numbers of all such files.
pub(crate) fn numbers(directory: &Path) -> Vec<u64> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    names.filter_map(|file| file.file_name().to_str()?.strip_prefix(NAME)?.parse().ok()).collect()
}

/// Removes the file of this number, if it can; nobody reads it any more.
pub(crate) fn remove(directory: &Path, number: u64) {
    if let Err(error) = fs::remove_file(path(directory, number)) {
        tracing::debug!(number, %error, "an old file of changes stays");
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{NAME}{number}"))
}

/// A record as it stands in a file.
pub(crate) fn render(record: &Record<'_>) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(record).map_err(Error::Serialise)?;
    let mut bytes = format!("{} {:016x}\n", body.len(), checksum(&body)).into_bytes();
    bytes.extend_from_slice(&body);
    bytes.push(b'\n');
    Ok(bytes)
}

/// The changes that are whole, and what is left.
fn parse(bytes: &[u8]) -> (Vec<Change>, &[u8]) {
    let mut changes = Vec::new();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return (changes, bytes) };
    while let Some((change, after)) = first(rest) {
        changes.push(change);
        rest = after;
    }
    (changes, rest)
}

fn first(bytes: &[u8]) -> Option<(Change, &[u8])> {
    let end = bytes.iter().take(LONGEST_HEAD).position(|byte| *byte == b'\n')?;
    let (length, sum) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let length: usize = length.parse().ok()?;
    let body = bytes[end + 1..].get(..length)?;
    let after = bytes[end + 1 + length..].strip_prefix(b"\n")?;
    let whole = format!("{:016x}", checksum(body)) == sum;
    Some((serde_json::from_slice(body).ok().filter(|_| whole)?, after))
}
