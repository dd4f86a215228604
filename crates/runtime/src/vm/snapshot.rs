//! A machine's memory on disk: packed, for root alone, good for one use, and only under what it was taken under.
//!
//! Its file is written whole before its description, and the description before anything relies on it. It is unlinked before it is used: two
//! machines that went on from the same memory would give the same "random" numbers.

use super::{Inner, host, qmp::Qmp, record::Record};
use crate::whole;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use teal_core::{
    id::InstanceId,
    image::{INITRD, KERNEL},
};

const MEMORY: &str = "memory.zst";
const MEMORY_NEW: &str = "memory.new";
const DESCRIPTION: &str = "memory.json";

/// The longest that memory may take to be copied: gigabytes on a busy disk.
const COPY: Duration = Duration::from_secs(300);

/// What a snapshot was taken of and under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    /// [`binding`] at that time.
    binding: String,
    /// SHA-256 of the file, in hex.
    sha256: String,
}

/// A snapshot that has been checked and taken away: it can be used once.
#[derive(Debug)]
pub(super) struct Snapshot {
    file: File,
}

/// Saves the memory of a machine that is stopped. It stays stopped, and can be saved again.
pub(super) fn take(inner: &Inner, id: &InstanceId, record: &Record) -> io::Result<()> {
    let run = inner.places.run(id);
    let mut qmp = Qmp::connect(&run)?;
    if qmp.is_copied()? {
        // An earlier attempt's copy: the emulator makes another only of a machine that ran since. Nothing of the app does.
        qmp.go_on()?;
        qmp.stop()?;
    }
    let mut file = private_file(&run.join(MEMORY_NEW))?;
    let (read, write) = io::pipe()?;
    let packer =
        zstd(&inner.host.zstd, &["-1", "-q", "-c"], Stdio::from(read), Stdio::from(file.try_clone()?))?;
    let copied = qmp.copy_out(&write, COPY);
    drop((qmp, write));
    copied.and(ended(packer))?;
    file.sync_all()?;
    file.rewind()?;
    let description = Description { binding: binding(inner, record)?, sha256: host::sha256(&mut file)? };
    fs::rename(run.join(MEMORY_NEW), run.join(MEMORY))?;
    whole::write(&run.join(DESCRIPTION), &description)
}

impl Snapshot {
    /// Takes it away and checks it: nobody else gets it, good or not.
    pub(super) fn use_up(inner: &Inner, id: &InstanceId, record: &Record) -> io::Result<Self> {
        let run = inner.places.run(id);
        let text = fs::read(run.join(DESCRIPTION))?;
        let mut file = File::open(run.join(MEMORY))?;
        fs::remove_file(run.join(DESCRIPTION))?;
        fs::remove_file(run.join(MEMORY))?;
        File::open(run)?.sync_all()?;
        let description: Description = serde_json::from_slice(&text)?;
        if description.binding != binding(inner, record)? {
            return Err(io::Error::other(
                "it was taken under another emulator, kernel, processor or command line",
            ));
        }
        if description.sha256 != host::sha256(&mut file)? {
            return Err(io::Error::other("it is not what was saved"));
        }
        file.rewind()?;
        Ok(Self { file })
    }

    /// Fills an emulator that waits for it.
    pub(super) fn pour(self, program: &Path, qmp: &mut Qmp) -> io::Result<()> {
        let (read, write) = io::pipe()?;
        let unpacker = zstd(program, &["-d", "-q", "-c"], Stdio::from(self.file), Stdio::from(write))?;
        let copied = qmp.copy_in(&read, COPY);
        drop(read);
        copied.and(ended(unpacker))
    }
}

/// Everything that must be the same when a machine goes on, as one hash.
fn binding(inner: &Inner, record: &Record) -> io::Result<String> {
    let image = &record.image.directory;
    let arguments = record.shape.as_ref().map(super::argv::Shape::arguments).unwrap_or_default();
    let parts = [
        inner.host.version.clone(),
        inner.host.flags.clone(),
        record.image.version.clone(),
        inner.host.digest(&image.join(KERNEL))?,
        inner.host.digest(&image.join(INITRD))?,
        arguments.join("\n"),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn zstd(program: &Path, arguments: &[&str], from: Stdio, to: Stdio) -> io::Result<Child> {
    Command::new(program).args(arguments).env_clear().stdin(from).stdout(to).stderr(Stdio::null()).spawn()
}

/// Both ends of its pipe are closed by now, or it has what it needs: it ends by itself.
fn ended(mut child: Child) -> io::Result<()> {
    if child.wait()?.success() { Ok(()) } else { Err(io::Error::other("zstd failed (is the disk full?)")) }
}

fn private_file(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}
