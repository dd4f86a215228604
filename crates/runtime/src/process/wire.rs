//! What the server and an instance's supervisor say to each other: one JSON line each way over a unix socket in the instance's directory.

use crate::{Inspection, State};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fs::File, io, os::fd::AsRawFd, path::Path, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time,
};

/// The socket's name.
pub(crate) const SOCKET: &str = "control";
/// The longest line, in bytes.
const MAX_LINE: u64 = 256 << 10;

/// What a supervisor can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// A fresh look.
    Inspect,
    /// Stop every process (SIGSTOP).
    Sleep,
    /// Let them go on (SIGCONT).
    Wake,
    /// SIGTERM, SIGKILL at the deadline; answered when all have gone.
    Stop { deadline_ms: u64 },
    /// End all of them at once; answered when they have gone.
    Kill,
    /// Whether the workers run; answered when it is so.
    Workers { run: bool },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// It is so.
    Done {
        /// What the instance is doing.
        state: State,
        /// Memory of all its processes, in bytes.
        memory_bytes: u64,
    },
    /// Not (yet); the text says why.
    Not(String),
}

impl Reply {
    /// As the trait wants it.
    pub(crate) fn inspection(
        self,
        [address, tcp_address]: [Option<std::net::SocketAddr>; 2],
    ) -> Result<Inspection, String> {
        match self {
            Self::Done { state, memory_bytes } => {
                Ok(Inspection { state, address, tcp_address, memory_bytes: Some(memory_bytes) })
            }
            Self::Not(why) => Err(why),
        }
    }
}

/// Asks the supervisor of the instance in `home`.
pub(crate) async fn ask(home: &Path, request: &Request, patience: Duration) -> io::Result<Reply> {
    // A socket's path may have 107 bytes, a data directory more: the directory's descriptor shortens it.
    let directory = File::open(home)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    time::timeout(patience, async {
        let mut stream = UnixStream::connect(path).await?;
        send(&mut stream, request).await?;
        receive(&mut stream).await
    })
    .await?
}

/// Writes one line.
pub(crate) async fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// Reads one line.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_LINE)).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
