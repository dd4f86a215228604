//! What is known of an instance, on disk: written before the effects that it speaks of, so that a later server finds or cleans all of it.
//!
//! Holds nothing secret: variables and scripts are given again whenever an instance is started.

use crate::whole;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

const NAME: &str = "record.json";

/// One instance. Without `agent`, or once it is ending, it is half-started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The boot in which it was started: after another one nothing of it but files is left.
    pub(crate) boot: String,
    /// The first of its ids on the host.
    pub(crate) block: u32,
    /// The port that the app is expected to listen on.
    pub(crate) port: Option<u16>,
    /// The second one, for what is no HTTP.
    #[serde(default)]
    pub(crate) tcp_port: Option<u16>,
    /// What its last command is called.
    pub(crate) stage: String,
    /// A tree of the host that it writes to, and the most that this may hold, in MiB: no layer limits it.
    #[serde(default)]
    pub(crate) working: Option<(PathBuf, u64)>,
    /// Its address, once it is attached.
    #[serde(default)]
    pub(crate) address: Option<Ipv4Addr>,
    /// Its first process, once it runs.
    #[serde(default)]
    pub(crate) agent: Option<Process>,
    /// It is being ended: whatever of it still runs is not to be counted on.
    #[serde(default)]
    pub(crate) ending: bool,
}

/// A process, told from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its number on the host.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot.
    pub(crate) started: u64,
}

impl Record {
    /// The record in `run`; `None` if there is none, or one that does not parse: then the instance is half-started.
    pub(crate) fn load(run: &Path) -> io::Result<Option<Self>> {
        let text = whole::read(&run.join(NAME))?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Replaces the record in `run`; durable when this returns.
    pub(crate) fn save(&self, run: &Path) -> io::Result<()> {
        whole::write(&run.join(NAME), self)
    }
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let started = stat(pid)?;
        Some(Self { pid, started })
    }

    /// Is it still there (and not only waiting to be reaped)?
    pub(crate) fn alive(&self) -> bool {
        stat(self.pid) == Some(self.started)
    }
}

/// When a process started; `None` if it is gone or a zombie.
fn stat(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

/// Which boot this is.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_rubbish_is_half_started() {
        let run = tempfile::tempdir().expect("directory");
        assert_eq!(Record::load(run.path()).expect("readable"), None);
        let agent = Process::of(std::process::id());
        let record = Record {
            boot: "b".into(),
            block: 7,
            port: Some(1),
            tcp_port: Some(2),
            stage: "start".into(),
            working: None,
            address: None,
            agent,
            ending: true,
        };
        record.save(run.path()).expect("saved");
        assert_eq!(Record::load(run.path()).expect("readable"), Some(record));
        fs::write(run.path().join(NAME), "{torn").expect("written");
        assert_eq!(Record::load(run.path()).expect("readable"), None);
    }

    #[test]
    fn a_number_that_was_given_again_is_another_process() {
        let own = Process::of(std::process::id()).expect("this process");
        assert!(own.alive());
        assert!(!Process { started: own.started + 1, ..own }.alive());
    }
}
