//! An upstream as cheap as it can be: fixed answers, whatever is asked, so that what is measured is the proxy.

use crate::monotony::HEADER;
use anyhow::Result;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Serves until it is killed. `/100k` is a large body, anything else a small one.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        accept(listener, Arc::new(Answers::new(""))).await
    })
}

/// What is answered.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Answers {
    /// With these further lines in their heads.
    fn new(lines: &str) -> Self {
        Self { small: answer(lines, 1024), large: answer(lines, 100 * 1024) }
    }
}

async fn accept(listener: TcpListener, answers: Arc<Answers>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move { converse(stream, &answers.small, &answers.large).await.is_ok() });
    }
}

/// Upstreams within the bench, each of which says its version.
pub(crate) struct Versions(tokio::runtime::Runtime);

impl Versions {
    /// None yet; they end with this value.
    pub(crate) fn start() -> Result<Self> {
        Ok(Self(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?))
    }

    /// One that listens when this returns.
    pub(crate) fn open(&self, version: u64) -> Result<SocketAddr> {
        let listener = self.0.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let answers = Arc::new(Answers::new(&format!("{HEADER}: {version}\r\n")));
        self.0.spawn(async move { accept(listener, answers).await.is_ok() });
        Ok(address)
    }
}

/// What a WebSocket says: a masked binary frame of 1 KiB.
pub(crate) const SAID: [u8; 1032] = {
    let mut frame = [b'x'; 1032];
    (frame[0], frame[1], frame[2], frame[3]) = (0x82, 0x80 | 126, 4, 0);
    (frame[4], frame[5], frame[6], frame[7]) = (1, 2, 3, 4);
    frame
};

/// What it hears: the same without the mask.
pub(crate) const ECHO: [u8; 1028] = {
    let mut frame = [0; 1028];
    (frame[0], frame[1], frame[2], frame[3]) = (0x82, 126, 4, 0);
    let mut index = 0;
    while index < 1024 {
        frame[4 + index] = SAID[8 + index] ^ SAID[4 + index % 4];
        index += 1;
    }
    frame
};

/// The accept key of the only client that comes (the example of RFC 6455).
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn is_upgrade(head: &[u8]) -> bool {
    head.ends_with(b"\r\n\r\n")
        && head.to_ascii_lowercase().windows(18).any(|window| window == b"upgrade: websocket")
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(SWITCHING).await?;
    let mut said = [0; SAID.len()];
    loop {
        stream.read_exact(&mut said).await?;
        stream.write_all(&ECHO).await?;
    }
}

fn answer(lines: &str, length: usize) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n";
    let mut bytes = format!("{head}{lines}content-length: {length}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + length, b'x');
    bytes
}

async fn converse(mut stream: TcpStream, small: &[u8], large: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 8 * 1024];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if is_upgrade(&buffer[..filled]) {
            return echo(stream).await;
        }
        while let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            let is_large = buffer.starts_with(b"GET /100k ");
            stream.write_all(if is_large { large } else { small }).await?;
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
        }
    }
}
