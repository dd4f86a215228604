//! An upstream as cheap as it can be: fixed answers, whatever is asked, so that what is measured is the proxy.

use anyhow::Result;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Serves until it is killed. `/100k` is a large body, anything else a small one.
pub(crate) fn serve(listen: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let (small, large) = (answer(1024), answer(100 * 1024));
        let (small, large): (&'static [u8], &'static [u8]) = (small.leak(), large.leak());
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async move { converse(stream, small, large).await.is_ok() });
        }
    })
}

fn answer(length: usize) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n")
            .into_bytes();
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
        while let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            let is_large = buffer.starts_with(b"GET /100k ");
            stream.write_all(if is_large { large } else { small }).await?;
            buffer.copy_within(end + 4..filled, 0);
            filled -= end + 4;
        }
    }
}
