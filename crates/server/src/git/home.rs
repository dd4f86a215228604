//! The directory that belongs to Teal's git alone: its configuration, its hooks, and the sockets of pushes under way. Every git process
//! of the server is started by [`Home::command`], so that nothing of the operator's own git configuration or environment reaches it.

use super::{Error, wire};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

const HOOKS: [&str; 2] = ["pre-receive", "proc-receive"];

/// Settings of every repository. `unpackLimit`: small pushes stay packs, too, as one file is synced faster than many. `fsck.*=ignore`:
/// harmless faults that old, widespread tools left in honest histories. The memory limits keep a hostile pack from taking the host's.
const CONFIGURATION: &str = "\
[core]
\tfsync = all
\tfsyncMethod = fsync
\tbigFileThreshold = 16m
\tpackedGitLimit = 256m
\tlogAllRefUpdates = false
[safe]
\tdirectory = *
[init]
\tdefaultBranch = main
[gc]
\tauto = 0
[maintenance]
\tauto = false
[pack]
\tthreads = 2
\twindowMemory = 64m
\tdeltaCacheSize = 64m
[transfer]
\thideRefs = refs/teal
[uploadpack]
\tallowFilter = false
[receive]
\tautogc = false
\tfsckObjects = true
\tunpackLimit = 1
\tprocReceiveRefs = refs
\tadvertisePushOptions = false
\tshallowUpdate = true
\tkeepAlive = 5
[receive \"fsck\"]
\tzeroPaddedFilemode = ignore
\tmissingSpaceBeforeDate = ignore
\tbadTimezone = ignore
";

/// Teal's own git home.
#[derive(Debug)]
pub(super) struct Home {
    directory: PathBuf,
    program: PathBuf,
}

impl Home {
    /// Makes the directory what it has to be, whatever it was: configuration and hooks are written anew at each start.
    pub(super) fn open(directory: PathBuf, program: PathBuf, max_push: u64) -> Result<Self, Error> {
        let home = Self { directory, program };
        home.write(max_push).map_err(|source| Error::Home { path: home.directory.clone(), source })?;
        Ok(home)
    }

    fn write(&self, max_push: u64) -> io::Result<()> {
        private_directory(&self.directory)?;
        private_directory(&self.hooks())?;
        let _ = fs::remove_dir_all(self.pushes());
        private_directory(&self.pushes())?;
        let hooks = self.hooks();
        let hooks =
            hooks.to_str().ok_or_else(|| io::Error::other("the data directory's path is not UTF-8"))?;
        let configuration = format!(
            "{CONFIGURATION}[receive]\n\tmaxInputSize = {max_push}\n[core]\n\thooksPath = {}\n",
            quoted(hooks)
        );
        write_file(&self.configuration(), configuration.as_bytes(), 0o600)?;
        for hook in HOOKS {
            let script = format!("#!/bin/sh\nexec \"${}\" __hook {hook}\n", wire::PROGRAM);
            write_file(&self.hooks().join(hook), script.as_bytes(), 0o700)?;
        }
        Ok(())
    }

    fn hooks(&self) -> PathBuf {
        self.directory.join("hooks")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// Where each push under way has a directory of its own.
    pub(super) fn pushes(&self) -> PathBuf {
        self.directory.join("pushes")
    }

    /// A git process in this directory that inherits nothing but `PATH`. Its streams are null until they are set.
    pub(super) fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(directory)
            .env_clear()
            .env("HOME", &self.directory)
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.configuration())
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env(wire::PROGRAM, &self.program)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// A directory that only the server's user may enter.
pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes the whole file beside its place and moves it there, durably.
pub(super) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// A value of git's configuration.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
