//! Asking an instance's agent. Its answers are an instance's words: bounded, and believed only about itself.

use super::Trouble;
use crate::{Failure, Outcome};
use std::{fs::File, io, os::fd::AsRawFd, path::Path, time::Duration};
use teal_core::{
    agent::{MAX_FRAME, Reply, Request, SOCKET_NAME, body_length, decode, encode},
    id::InstanceId,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Sends one request and waits for the answer, at most `limit`.
pub(crate) async fn ask(run: &Path, request: &Request, limit: Duration) -> io::Result<Reply> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "the agent does not answer");
    tokio::time::timeout(limit, exchange(run, request)).await.map_err(|_| late())?
}

/// Has the workers started or stopped, which may take `limit`; after a stop none of them runs.
pub(crate) async fn workers(run: &Path, id: &InstanceId, wanted: bool, limit: Duration) -> Outcome<()> {
    match ask(run, &Request::Workers { run: wanted }, limit).await {
        Ok(Reply::Workers { .. }) => Outcome::Done(()),
        Ok(Reply::Refused { reason }) => Outcome::Broke(Failure { message: reason }),
        Ok(other) => Outcome::Unknown(format!("the agent of {id} answered {other:?}")),
        Err(error) => Trouble::io(&format!("the agent of {id} could not be asked"), error).into(),
    }
}

async fn exchange(run: &Path, request: &Request) -> io::Result<Reply> {
    // Through a descriptor of the directory: the path may be longer than a socket address.
    let directory = File::open(run)?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(&encode(request, MAX_FRAME).map_err(io::Error::other)?).await?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; body_length(prefix, MAX_FRAME).map_err(io::Error::other)?];
    stream.read_exact(&mut body).await?;
    decode(&body).map_err(io::Error::other)
}
