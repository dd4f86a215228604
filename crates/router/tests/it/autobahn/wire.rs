//! A raw WebSocket client: sends bytes cut as it is told, reads frames until the connection is over, judges nothing.

use crate::client::Client;
use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    thread,
};

/// A frame without its mask and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The end's bit, the reserved bits and the kind.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The status and the lines of the handshake that mean something.
    pub(crate) handshake: (u16, Option<String>, Option<String>),
    pub(crate) frames: Vec<Frame>,
    /// Bytes that are no whole frame.
    pub(crate) rest: Vec<u8>,
}

/// A masked frame, as a client must send it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).expect("short")),
        middle @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(middle).expect("middle").to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    // Another mask for each length, none of them of zeros.
    let mask = (0x9e37_79b9_u32.wrapping_mul(u32::try_from(payload.len()).expect("short") + 1) | 0x0101_0101)
        .to_be_bytes();
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Sends the bytes in pieces of `cut` (0: at once) and hears everything up to the end.
pub(crate) fn talk(address: SocketAddr, extensions: &str, bytes: &[u8], cut: usize) -> io::Result<Heard> {
    let mut client = Client::connect(address)?;
    let head = format!(
        "GET /echo HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
    );
    client.send(head.as_bytes())?;
    let mut answer = client.head()?;
    let mut of = |name: &str| answer.headers.remove(name);
    let handshake = (of("sec-websocket-accept"), of("sec-websocket-extensions"));
    let mut writer = client.stream.get_ref().try_clone()?;
    let cut = if cut == 0 { bytes.len().max(1) } else { cut };
    let mut heard = Vec::new();
    thread::scope(|scope| {
        // Where the other side has closed already, what it said is what counts.
        scope.spawn(move || bytes.chunks(cut).try_for_each(|part| writer.write_all(part)).is_ok());
        match client.stream.read_to_end(&mut heard) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            other => other.map(drop),
        }
    })?;
    let (frames, rest) = frames(&heard);
    Ok(Heard { handshake: (answer.status, handshake.0, handshake.1), frames, rest })
}

fn frames(mut bytes: &[u8]) -> (Vec<Frame>, Vec<u8>) {
    let mut all = Vec::new();
    while let Some((frame, rest)) = one(bytes) {
        all.push(frame);
        bytes = rest;
    }
    (all, bytes.to_vec())
}

/// A server's frame, which has no mask.
fn one(bytes: &[u8]) -> Option<(Frame, &[u8])> {
    let (first, length, rest) = match bytes {
        [first, 126, a, b, rest @ ..] => (*first, usize::from(u16::from_be_bytes([*a, *b])), rest),
        [first, 127, rest @ ..] => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (*first, usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        [first, length @ 0..=125, rest @ ..] => (*first, usize::from(*length), rest),
        _ => return None,
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((Frame { first, payload: payload.to_vec() }, rest))
}
