//! What the runtime and `teal-agent` say to each other: how an instance is launched, and what its agent answers afterwards.
//!
//! A frame is a big-endian `u32` length and that many bytes of JSON. While an instance is launched, frames go over the launcher's standard
//! input and output ([`Launch`], then [`Link`]; answered by [`Launched`]). Later the runtime connects to the agent's unix socket, sends one
//! [`Request`] and reads one [`Reply`]. Both sides are of one build, but an agent may be older than the server: unknown fields are ignored.
//! Nothing that an agent says is trusted beyond its own instance.

use crate::worker::Worker;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, net::Ipv4Addr, net::SocketAddr, path::PathBuf};

/// The longest [`Launch`], in bytes: variables and scripts of one app.
pub const MAX_LAUNCH: u32 = 8 * 1024 * 1024;

/// The longest frame on the agent's socket, in bytes.
pub const MAX_FRAME: u32 = 64 * 1024;

/// The longest text of a [`LogLine`], in bytes; longer lines are split.
pub const MAX_LINE: usize = 16 * 1024;

/// A log file that grew past this many bytes is renamed to `.1` and begun anew: twice this is the most that an instance's log takes.
pub const MAX_LOG: u64 = 8 * 1024 * 1024;

/// The log's file name inside its directory.
pub const LOG_NAME: &str = "log";

/// The agent's socket inside the instance's run directory.
pub const SOCKET_NAME: &str = "agent.sock";

/// The app's user and group inside.
pub const APP_USER: u32 = 1000;

/// How many ids an instance's block has.
pub const BLOCK: u32 = 65_536;

/// The app's directory inside.
pub const APP_HOME: &str = "/app";

/// Everything that the launcher needs to make a sandbox and to become its agent. Contains secrets: it goes through a pipe, never into a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The host name inside.
    pub hostname: String,
    /// The first host id of the instance's own block of [`BLOCK`] ids.
    pub block: u32,
    /// Files into which the launcher writes its process id, so that all that it starts is in the instance's cgroups.
    pub cgroups: Vec<PathBuf>,
    /// An empty host directory over which the new root is built, in a mount namespace of the instance's own.
    pub staging: PathBuf,
    /// The root directory whose `/usr` and public files of `/etc` the instance gets, read-only.
    pub image: PathBuf,
    /// What becomes [`APP_HOME`].
    pub tree: AppTree,
    /// Where writes land.
    pub layer: Layer,
    /// Further host directories; they exist.
    pub mounts: Vec<Bind>,
    /// Further files, by absolute path inside; small, world-readable, not secret. They may replace a file of the image.
    pub files: BTreeMap<PathBuf, String>,
    /// The most that `/dev/shm` may hold, in MiB.
    pub shm_mib: u64,
    /// The instance's run directory on the host: [`SOCKET_NAME`] is made in it.
    pub run: PathBuf,
    /// The host directory of the log, owned by the block's first id.
    pub log: PathBuf,
    /// Seccomp programs, each instruction as its eight bytes in a native-endian number; installed in this order.
    pub filters: Vec<Vec<u64>>,
    /// What runs inside.
    pub program: Program,
}

/// The app's directory, on the host; its files belong to id 0 there and to the app's user inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppTree {
    /// Below an overlay: never written to.
    Sealed(PathBuf),
    /// Mounted as it is: writes stay in it.
    Working(PathBuf),
}

/// What holds an instance's writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// A file with an ext4 file system: its size is the disk limit.
    Image(PathBuf),
    /// A host directory, where there are no loop devices: no disk limit.
    Directory(PathBuf),
}

/// A host directory inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// Inside, absolute.
    pub target: PathBuf,
    /// May the app write there?
    pub writable: bool,
}

/// What the agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// One after another; the last one is the app.
    pub commands: Vec<Step>,
    /// Workers and crons: started when told to.
    pub workers: Vec<Worker>,
    /// The whole environment of every command.
    pub variables: BTreeMap<String, String>,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What the log and failures call it.
    pub stage: String,
    /// Given to the shell.
    pub script: String,
}

/// The instance's end of its network, sent once it is attached: the launcher then finishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its own address.
    pub address: Ipv4Addr,
    /// Its gateway, which also resolves names.
    pub gateway: Ipv4Addr,
}

/// What the launcher says while it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Launched {
    /// The namespaces are there: the network namespace of the launcher's own process can be attached now.
    Namespaces,
    /// The agent runs and listens; it outlives the launcher.
    Agent {
        /// Its process id on the host.
        pid: u32,
    },
    /// It cannot be done. What had been begun dies with the launcher.
    Failed {
        /// What failed and why.
        message: String,
    },
}

/// What the runtime asks an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// What are you doing? Answered by [`Reply::Status`].
    Status,
    /// End everything: SIGTERM, then SIGKILL after the deadline. Answered by [`Reply::Stopped`] when all is dead.
    Stop {
        /// Milliseconds until SIGKILL.
        deadline_ms: u64,
    },
    /// End everything at once, because the instance did what it may not. Answered by [`Reply::Stopped`] when all is dead.
    End {
        /// For the instance's log: what it did.
        reason: String,
    },
    /// Start or stop the workers. Answered by [`Reply::Workers`], after a stop only when all of them and their children are dead.
    Workers {
        /// Whether they shall run.
        run: bool,
    },
    /// Of a virtual machine that is about to sleep: let nothing but yourself run. Answered by [`Reply::Resting`] when all stands still.
    Rest,
    /// Of a virtual machine that slept: set the clock, take the entropy, and only then let the app run. Answered by [`Reply::Awake`].
    Wake {
        /// The time, in nanoseconds since the Unix epoch.
        now_ns: u64,
        /// What no other wake was given.
        seed: crate::machine::Seed,
    },
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status {
        /// What the instance does.
        phase: Phase,
        /// Workers that run.
        workers: u32,
    },
    /// To [`Request::Stop`] and [`Request::End`].
    Stopped {
        /// Something had to be killed at the deadline.
        killed: bool,
    },
    /// To [`Request::Workers`].
    Workers {
        /// Workers that run.
        running: u32,
    },
    /// To [`Request::Rest`].
    Resting,
    /// To [`Request::Wake`].
    Awake,
    /// The agent will not do it.
    Refused {
        /// Why, in a sentence.
        reason: String,
    },
}

/// What an instance does, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// A command before the last one runs.
    Preparing {
        /// Its [`Step::stage`].
        stage: String,
    },
    /// The last command runs.
    Running {
        /// Every listening TCP socket inside.
        listening: Vec<SocketAddr>,
    },
    /// It ended; nothing runs any more but the agent.
    Exited {
        /// The [`Step::stage`] that ended.
        stage: String,
        /// Its exit code; 128 + n for signal n.
        code: i32,
        /// The machine's kernel ended it for its memory limit. A sandbox's agent does not know; the host does.
        #[serde(default)]
        out_of_memory: bool,
    },
}

/// One line of an instance's log, as stored: one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// The command's stage (or `worker`) that wrote it.
    pub stage: String,
    /// Standard error instead of standard output.
    #[serde(default)]
    pub error: bool,
    /// At most [`MAX_LINE`] bytes of UTF-8, control characters still in it: readers make them harmless.
    pub text: String,
}

/// One frame, ready to be written.
///
/// # Errors
/// If the message does not serialise or is longer than `limit` bytes.
pub fn encode<T: Serialize>(message: &T, limit: u32) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(message).map_err(Error::Json)?;
    let length = u32::try_from(body.len()).ok().filter(|n| *n <= limit).ok_or(Error::TooLong { limit })?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The length of the body that a frame's first four bytes announce.
///
/// # Errors
/// If it is longer than `limit` bytes.
pub fn body_length(prefix: [u8; 4], limit: u32) -> Result<usize, Error> {
    let length = u32::from_be_bytes(prefix);
    if length > limit { Err(Error::TooLong { limit }) } else { Ok(length as usize) }
}

/// Reads a frame's body.
///
/// # Errors
/// If it is not JSON of the expected form.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(Error::Json)
}

/// What can be wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than allowed.
    #[error("a frame between runtime and agent is longer than {limit} bytes")]
    TooLong {
        /// The most that is allowed, in bytes.
        limit: u32,
    },
    /// Not the expected JSON.
    #[error("a frame between runtime and agent does not parse")]
    Json(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let request = Request::Stop { deadline_ms: 30_000 };
        let frame = encode(&request, MAX_FRAME).expect("short");
        let length = body_length([frame[0], frame[1], frame[2], frame[3]], MAX_FRAME).expect("short");
        assert_eq!(length, frame.len() - 4);
        assert_eq!(decode::<Request>(&frame[4..]).expect("ours"), request);
    }

    #[test]
    fn frames_are_bounded_on_both_sides() {
        let long = Request::Stop { deadline_ms: u64::MAX };
        assert!(matches!(encode(&long, 10), Err(Error::TooLong { limit: 10 })));
        assert!(body_length([0xff; 4], MAX_FRAME).is_err());
    }
}
