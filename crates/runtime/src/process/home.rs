//! The directory of one instance: what is in it, and how it is written so that a crash leaves nothing half.
//!
//! ```text
//! <data>/instances/<id>/   record.json   what to run, on which port, without the variables (written before the first process)
//!                          lock          held by the supervisor while it lives: the kernel's word, no pid can lie
//!                          who.json      the supervisor's pid and start, to end it if it does not answer
//!                          control       its socket
//!                          stopping      it is being stopped: whatever still runs is not to be counted on
//!                          exit.json     how the instance ended (the boot that saw it is named: after another one it does not count)
//!                          tree/, home/  the app's directory (a copy of the release) and HOME
//! <data>/logs/<id>.log     the log, which stays until it is forgotten
//! ```

use super::proc::Identity;
use crate::{Exit, InstanceSpec};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use teal_core::id::InstanceId;

/// What a supervisor needs to know, save the variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) spec: InstanceSpec,
    /// The port on 127.0.0.1 that the app was given.
    pub(crate) port: Option<u16>,
    /// The second one, for what is no HTTP.
    #[serde(default)]
    pub(crate) tcp_port: Option<u16>,
    /// In the environment of every process of the instance, to find those that a killed supervisor leaves.
    pub(crate) mark: String,
    /// The PATH of its commands.
    pub(crate) path: String,
    pub(crate) log: PathBuf,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) exit: Exit,
    /// The kernel's id of the boot that saw it.
    pub(crate) boot: String,
}

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn of(data: &Path, id: &InstanceId) -> Self {
        Self(data.join("instances").join(id.as_str()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.0.join("tree")
    }

    pub(crate) fn user_home(&self) -> PathBuf {
        self.0.join("home")
    }

    pub(crate) fn record(&self) -> Option<Record> {
        read(&self.0.join("record.json"))
    }

    pub(crate) fn write_record(&self, record: &Record) -> io::Result<()> {
        write(&self.0.join("record.json"), record)
    }

    pub(crate) fn who(&self) -> Option<Identity> {
        read(&self.0.join("who.json"))
    }

    pub(crate) fn write_who(&self, who: Identity) -> io::Result<()> {
        write(&self.0.join("who.json"), &who)
    }

    /// How it ended, if it did since the host was started.
    pub(crate) fn ending(&self) -> Option<Exit> {
        let ending: Ending = read(&self.0.join("exit.json"))?;
        (ending.boot == boot()).then_some(ending.exit)
    }

    pub(crate) fn write_ending(&self, exit: Exit) -> io::Result<()> {
        write(&self.0.join("exit.json"), &Ending { exit, boot: boot() })
    }

    /// Is it being stopped?
    pub(crate) fn stopping(&self) -> bool {
        self.0.join("stopping").exists()
    }

    pub(crate) fn write_stopping(&self) -> io::Result<()> {
        write(&self.0.join("stopping"), &())
    }

    /// Takes the lock that says "a supervisor lives"; `None` if one does.
    pub(crate) fn lock(&self) -> io::Result<Option<Flock<File>>> {
        let file = File::options().create(true).append(true).open(self.0.join("lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Does a supervisor live?
    pub(crate) fn supervised(&self) -> io::Result<bool> {
        if !self.0.join("lock").exists() {
            return Ok(false);
        }
        Ok(self.lock()?.is_none())
    }

    /// Removes all of it, also what the app made unreadable. Idempotent.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(&self.0)?;
                fs::remove_dir_all(&self.0)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes every directory and file writable for its owner: sealed releases are not, their copies are.
pub(crate) fn open_up(path: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path)?;
    if kind.is_symlink() {
        return Ok(());
    }
    let more = if kind.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(kind.permissions().mode() & 0o7777 | more))?;
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}

/// The kernel's id of this boot.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Written, fsynced, renamed, directory fsynced. Only the owner may read it.
fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let draft = path.with_extension("new");
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create(true).truncate(true).open(&draft)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(parent)?.sync_all()
}
