//! A visitor at the control socket: asks a running router for something without being its server.
//!
//! It must never say hello: the newest that did is the server.

use crate::error::Error;
use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};
use teal_core::control::{self, Reply, Request, decode, encode};

/// Longer than the steps of an upgrade may take together.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer to a visitor is no longer than this.
const MAX_REPLY: usize = 64 * 1024;

/// Has the router behind this control socket give place to the program that is installed now; returns when the new one serves.
///
/// # Errors
/// If no router answers, or why nothing was changed.
pub fn upgrade(control: &Path) -> Result<(), Error> {
    let absent = |source| Error::Absent { path: control.to_owned(), source };
    let mut stream = UnixStream::connect(control).map_err(absent)?;
    match ask(&mut stream, &Request::Upgrade).map_err(absent)? {
        Reply::Acknowledged { .. } => Ok(()),
        Reply::Refused { reason } => Err(Error::Upgrade(reason)),
        other => Err(Error::Upgrade(format!("it answers {other:?}"))),
    }
}

fn ask(stream: &mut UnixStream, request: &Request) -> io::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    encode(request, &mut bytes).map_err(io::Error::other)?;
    stream.write_all(&bytes)?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix)?;
    let length = control::frame_length(prefix).map_err(io::Error::other)?;
    if length > MAX_REPLY {
        return Err(io::Error::other("the answer is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    decode(&body).map_err(io::Error::other)
}
