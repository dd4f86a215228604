//! Frames over blocking pipes: the launcher's dialogue with the runtime.

use crate::error::{Doing, Error};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Read, Write};
use teal_core::agent::{body_length, decode, encode};

/// Reads one frame of at most `limit` bytes; `None` if the other side has gone.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read, limit: u32) -> Result<Option<T>, Error> {
    let mut prefix = [0; 4];
    match from.read_exact(&mut prefix) {
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other.doing("read from the runtime")?,
    }
    let mut body = vec![0; body_length(prefix, limit)?];
    from.read_exact(&mut body).doing("read from the runtime")?;
    Ok(Some(decode(&body)?))
}

/// Writes one frame of at most `limit` bytes.
pub(crate) fn write<T: Serialize>(to: &mut impl Write, message: &T, limit: u32) -> Result<(), Error> {
    let frame = encode(message, limit)?;
    to.write_all(&frame).and_then(|()| to.flush()).doing("answer the runtime")
}
