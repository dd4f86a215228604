//! A WebSocket that says 1 KiB again and again and waits for the echo.

use super::{Aim, Tally, dial};
use crate::upstream::{ECHO, SAID};
use anyhow::{Result, ensure};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// One connection.
pub(super) async fn run(aim: &Aim, number: usize, tally: &mut Tally) -> Result<()> {
    let mut stream = dial(aim).await?;
    let host = aim.host(number);
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut answer).await? > 0, "no handshake");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let mut echo = [0; ECHO.len()];
    while !aim.is_over() {
        let since = Instant::now();
        stream.write_all(&SAID).await?;
        stream.read_exact(&mut echo).await?;
        ensure!(echo == ECHO, "not what was said");
        tally.note(since);
    }
    Ok(())
}
