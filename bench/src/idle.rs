//! Connections that have asked once and are idle: what each costs in memory.

use crate::{
    cpu,
    peers::{Peer, domain},
};
use anyhow::{Context, Result};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// Idle connections that are held.
pub(crate) const CONNECTIONS: usize = 5_000;

/// Memory with no connection and with [`CONNECTIONS`], in KiB.
pub(crate) fn measure(peer: &Peer) -> Result<(u64, u64)> {
    let before = cpu::resident_kib(&peer.pids());
    let mut held = Vec::new();
    for number in 0..CONNECTIONS {
        let asked = ask(peer).with_context(|| format!("{}: connection {number}", peer.name))?;
        held.push(asked);
    }
    Ok((before, cpu::resident_kib(&peer.pids())))
}

fn ask(peer: &Peer) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(peer.address)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", domain(0))?;
    let mut answer = vec![0; 16 * 1024];
    let mut filled = 0;
    while filled < 1024 {
        let read = stream.read(&mut answer[filled..])?;
        anyhow::ensure!(read > 0, "closed after {filled} bytes");
        filled += read;
    }
    Ok(stream)
}
