//! HTTP/1.1, one request after another.

use super::{Aim, Stream, Tally, dial};
use crate::{load::HEADERS, monotony};
use anyhow::{Result, bail};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The first request of each client is for another host.
pub(super) fn request(host: &str, close: bool) -> Vec<u8> {
    let mut text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
    for line in HEADERS {
        text += line;
        text += "\r\n";
    }
    text += if close { "Connection: close\r\n\r\n" } else { "\r\n" };
    text.into_bytes()
}

/// In clear text, on one connection.
pub(super) async fn plain(aim: &Aim, number: usize, tally: &mut Tally) -> Result<()> {
    let mut stream = dial(aim).await?;
    converse(&mut stream, aim, number, tally).await
}

/// Over TLS, on one connection or on a new one each time.
pub(super) async fn tls(aim: &Aim, number: usize, tally: &mut Tally, fresh: bool) -> Result<()> {
    if !fresh {
        let mut stream = aim.trust.shake(dial(aim).await?, aim.host(number), false).await?;
        return converse(&mut stream, aim, number, tally).await;
    }
    let request = request(&aim.host(number), true);
    while !aim.is_over() {
        let since = Instant::now();
        let (watched, mut buffer) = (aim.watch(), Vec::new());
        let mut stream = aim.trust.shake(dial(aim).await?, aim.host(number), false).await?;
        let floor = watched.ask();
        exchange(&mut stream, &request, &mut buffer).await?;
        tally.note(since);
        watched.answered(floor, || version(&buffer))?;
        // Not all of them say good-bye over TLS: what counts is the answer.
        drop(stream);
    }
    Ok(())
}

async fn converse(stream: &mut impl Stream, aim: &Aim, number: usize, tally: &mut Tally) -> Result<()> {
    let (mut turn, mut buffer) = (number, Vec::new());
    let mut same = request(&aim.host(number), false);
    let watched = aim.watch();
    while !aim.is_over() {
        if aim.hosts > 1 {
            turn += 61;
            same = request(&aim.host(turn), false);
        }
        let (since, floor) = (Instant::now(), watched.ask());
        exchange(stream, &same, &mut buffer).await?;
        tally.note(since);
        watched.answered(floor, || version(&buffer))?;
    }
    Ok(())
}

/// The version that a whole answer says.
fn version(answer: &[u8]) -> Result<u64> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    monotony::version(std::str::from_utf8(&answer[..end])?)
}

/// One request and the whole of its answer, which is a good one.
async fn exchange(stream: &mut impl Stream, request: &[u8], buffer: &mut Vec<u8>) -> Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection ended in an answer");
        }
        if whole(buffer)? {
            return Ok(());
        }
    }
}

/// Whether all of an answer is there.
pub(super) fn whole(bytes: &[u8]) -> Result<bool> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&bytes[..end])?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let Some(length) = value else { bail!("an answer without a length") };
    Ok(bytes.len() >= end + 4 + length)
}
