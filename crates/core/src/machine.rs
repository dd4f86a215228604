//! What runtime, keeper and agent of a virtual machine say to each other.
//!
//! ```text
//!  server ── Machine (stdin, once) ──► keeper ── Order, one JSON text per line ──► agent, PID 1 of the machine
//!         ◄── Kept (stdout) ────────          ◄── Word ───────────────────────
//!         ── agent::Request on agent.sock, as in a sandbox ──► (numbered by the keeper, answered to who asked)
//! ```
//!
//! Between keeper and agent a message is a line: whoever begins in the middle of one finds the next, so a process that died while it wrote
//! confuses nobody after it. All lines are bounded, and what comes out of a machine is a stranger's word.

use crate::agent::{Link, Program, Reply, Request};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// The name of the port over which keeper and agent talk.
pub const AGENT_PORT: &str = "teal.agent";

/// The name of the port into which the agent writes [`crate::agent::LogLine`]s.
pub const LOG_PORT: &str = "teal.log";

/// The emulator's descriptor of the agent's port.
pub const AGENT_FD: i32 = 10;
/// The emulator's descriptor of the log's port.
pub const LOG_FD: i32 = 11;
/// The emulator's descriptor of the machine's console.
pub const CONSOLE_FD: i32 = 12;
/// The emulator's descriptor of the socket on which it listens for the runtime.
pub const CONTROL_FD: i32 = 13;
/// The emulator's descriptor of the machine's network.
pub const NETWORK_FD: i32 = 14;
/// The emulator's descriptor of the first of [`Machine::files`].
pub const FIRST_FILE_FD: i32 = 15;

/// The socket in the run directory on which the emulator listens.
pub const CONTROL_NAME: &str = "control.sock";

/// The serial number of the disk with the image's root.
pub const BASE_DISK: &str = "base";
/// The serial number of the disk with the release.
pub const RELEASE_DISK: &str = "release";
/// The serial number of the disk that is written to.
pub const LAYER_DISK: &str = "layer";

/// What the serial numbers of disks with further directories begin with; a number follows.
pub const FURTHER_DISK: &str = "further";

/// The longest line from a keeper to its agent, in bytes: as a whole [`crate::agent::Launch`].
pub const MAX_ORDER: usize = 8 * 1024 * 1024;

/// The longest line from an agent to its keeper, in bytes.
pub const MAX_WORD: usize = 64 * 1024;

/// How many bytes of fresh entropy a machine gets when it begins and when it wakes.
pub const SEED: usize = 64;

/// Everything that a keeper needs to start an emulator. Contains secrets: it goes through a pipe, never into a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The instance's name, for whoever looks at a list of processes.
    pub name: String,
    /// Files into which the keeper writes its process id before it starts anything.
    pub cgroups: Vec<PathBuf>,
    /// The emulator.
    pub emulator: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Opened by the keeper for the emulator, which could not: they become its descriptors from [`FIRST_FILE_FD`] on.
    pub files: Vec<File>,
    /// The emulator's user and group; the keeper becomes the next one.
    pub user: u32,
    /// A further group of the emulator: whose is the device by which the processor executes machines.
    #[serde(default)]
    pub group: Option<u32>,
    /// The interface to make; the machine has no network without one.
    pub interface: Option<String>,
    /// The instance's run directory.
    pub run: PathBuf,
    /// The directory of its log.
    pub log: PathBuf,
    /// Told to the agent when it is up. `None`: it runs already, or shall do nothing.
    pub begin: Option<Box<Begin>>,
}

/// A file that the emulator reads or writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// On the host.
    pub path: PathBuf,
    /// May it be written to?
    pub writable: bool,
}

/// What a keeper says while its machine starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kept {
    /// The emulator runs and the interface is there; nothing else is known yet.
    Started {
        /// The keeper's process: it lives exactly as long as the machine.
        keeper: u32,
    },
    /// The machine's kernel has reached its agent.
    Up,
    /// The agent runs the app.
    Begun {
        /// What took how long.
        stages: Vec<Span>,
    },
    /// It will not be. The keeper and the emulator end.
    Failed {
        /// What failed and why.
        message: String,
    },
}

/// When a part of a boot was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What was done.
    pub stage: String,
    /// Milliseconds since the machine's kernel started.
    pub at_ms: u64,
}

/// A message with a number by which its answer is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Never given twice by one keeper.
    pub id: u64,
    /// What is said.
    pub what: T,
}

/// What a keeper tells an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Make the app's surroundings and run it. Answered by [`Word::Begun`] or [`Word::Failed`].
    Begin(Box<Begin>),
    /// Passed on. Answered by [`Word::Reply`].
    Ask(Request),
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It is there, and waits for [`Order::Begin`]. Said by itself, with the number 0.
    Up,
    /// The app is being run.
    Begun(Vec<Span>),
    /// It cannot be run, for this reason; the machine ends.
    Failed(String),
    /// An answer.
    Reply(Reply),
}

/// The surroundings of an app, and what it is. Contains secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The host name inside.
    pub hostname: String,
    /// Its network.
    pub link: Link,
    /// The largest packet.
    pub mtu: u32,
    /// Memory that the app may use, in MiB; the kernel's own is not counted.
    pub memory_mib: u64,
    /// Processes and threads that the app may have.
    pub pids: u64,
    /// The most that `/dev/shm` may hold, in MiB.
    pub shm_mib: u64,
    /// Where the disks with further directories are mounted, in the order of their numbers.
    #[serde(default)]
    pub further: Vec<PathBuf>,
    /// Further files, by absolute path; small, world-readable, not secret.
    pub files: BTreeMap<PathBuf, String>,
    /// The time, in nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// Entropy.
    pub seed: Seed,
    /// What runs.
    pub program: Program,
}

/// Secret random bytes; they show in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub Vec<u8>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed({} bytes)", self.0.len())
    }
}

/// One message as a line of at most `limit` bytes, ready to be written.
///
/// # Errors
/// If it does not serialise or is too long.
pub fn line<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, crate::agent::Error> {
    let mut line = serde_json::to_vec(message).map_err(crate::agent::Error::Json)?;
    if line.len() >= limit {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        return Err(crate::agent::Error::TooLong { limit });
    }
    line.push(b'\n');
    Ok(line)
}

/// Bytes become lines again; a line that is too long is left out.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    held: Vec<u8>,
    skipping: bool,
}

impl Lines {
    /// None yet. A line with its end has at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), skipping: false }
    }

    /// Takes what has come and answers the lines that are whole now, without their ends.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let ends = part.last() == Some(&b'\n');
            if !self.skipping && self.held.len() + part.len() <= self.limit {
                self.held.extend_from_slice(part);
            } else {
                self.skipping = true;
                self.held = Vec::new();
            }
            if ends && !std::mem::take(&mut self.skipping) {
                self.held.pop();
                whole.push(std::mem::take(&mut self.held));
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Vec<u8>>) -> Vec<String> {
        lines.into_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }

    #[test]
    fn lines_come_whole_and_long_ones_not_at_all() {
        let mut lines = Lines::new(8);
        assert_eq!(texts(lines.take(b"ab")), Vec::<String>::new());
        assert_eq!(texts(lines.take(b"c\n\nd\n")), ["abc", "", "d"]);
        assert_eq!(texts(lines.take(b"1234567\n12345678\nok\n")), ["1234567", "ok"]);
        assert_eq!(texts(lines.take(&[b'x'; 100])), Vec::<String>::new());
        assert_eq!(texts(lines.take(b"x\nafter\n")), ["after"]);
        assert!(lines.held.capacity() <= 64);
    }

    #[test]
    fn half_a_message_confuses_none_after_it() {
        let order = Numbered { id: 7, what: Order::Ask(Request::Status) };
        let whole = line(&order, MAX_ORDER).expect("short");
        let mut lines = Lines::new(MAX_ORDER);
        // A keeper died here; the next one begins with an end of line.
        assert!(lines.take(&whole[..whole.len() / 2]).is_empty());
        let mut after = b"\n".to_vec();
        after.extend_from_slice(&whole);
        let read: Vec<Numbered<Order>> =
            lines.take(&after).iter().filter_map(|l| serde_json::from_slice(l).ok()).collect();
        assert_eq!(read, [order]);
    }

    #[test]
    fn a_seed_shows_in_no_log() {
        assert_eq!(format!("{:?}", Seed(vec![7, 7])), "Seed(2 bytes)");
    }
}
