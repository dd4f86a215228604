//! Frames of the control protocol on a stream: bounded in size and time, whatever the other side sends.

use serde::Serialize;
use std::{io, time::Duration};
use teal_core::control::{self, frame_length};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

/// Once a frame has begun, each piece of it must come within this time.
const PIECE: Duration = Duration::from_secs(10);

/// What is read at once: memory follows what came, not what was announced.
const CHUNK: usize = 256 * 1024;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The peer has closed the connection between two frames.
    #[error("the connection is closed")]
    Closed,
    /// The connection failed, or the peer was too slow.
    #[error("the connection broke off inside a frame")]
    Stream(#[from] io::Error),
    /// The frame is longer than allowed.
    #[error(transparent)]
    Frame(#[from] control::Error),
}

/// Reads one frame's body, at most `most` bytes; waits for its beginning as long as it takes.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Vec<u8>, Broken> {
    let mut prefix = [0; 4];
    if stream.read(&mut prefix[..1]).await? == 0 {
        return Err(Broken::Closed);
    }
    in_time(stream.read_exact(&mut prefix[1..])).await?;
    let length = frame_length(prefix)?;
    if length > most {
        return Err(control::Error::TooLarge.into());
    }
    let mut body = Vec::new();
    while body.len() < length {
        let next = body.len() + CHUNK.min(length - body.len());
        let start = body.len();
        body.resize(next, 0);
        in_time(stream.read_exact(&mut body[start..])).await?;
    }
    Ok(body)
}

/// Writes one message.
pub(crate) async fn write(stream: &mut UnixStream, message: &impl Serialize) -> Result<(), Broken> {
    let mut bytes = Vec::new();
    control::encode(message, &mut bytes)?;
    in_time(stream.write_all(&bytes)).await?;
    Ok(())
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PIECE, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
