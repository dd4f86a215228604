//! Looks at an instance from outside: whether it listens and answers, what its log says, what its processes used. Nothing here changes one.

use super::{
    app,
    kind::{Bench, done},
};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;
use teal_runtime::{LogLine, Runtime, State};

/// Far beyond what any of these takes on a busy machine that emulates another.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until something listens inside.
pub(super) async fn listening(bench: &Bench, id: &InstanceId) -> Result<()> {
    let began = Instant::now();
    loop {
        // One that cannot say it yet is asked again.
        if let Ok(State::Running { listening }) =
            done("look", bench.runtime.inspect(id).await).map(|look| look.state)
            && !listening.is_empty()
        {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("nothing listens in {id}: {}", said(bench, id).join(" / "));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for a 200.
pub(super) async fn answered(address: SocketAddr) -> Result<()> {
    tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        loop {
            match ask(address) {
                Ok(true) => return Ok(()),
                _ if began.elapsed() > PATIENCE => bail!("{address} does not answer with 200"),
                _ => std::thread::sleep(PAUSE),
            }
        }
    })
    .await?
}

fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\nhost: bench\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.starts_with("HTTP/1.0 200"))
}

/// When the app's first command ran: milliseconds since 1970.
pub(super) fn first_command(bench: &Bench, id: &InstanceId) -> Option<u64> {
    lines(bench, id).into_iter().find(|line| line.text == app::FIRST).map(|line| line.at)
}

fn said(bench: &Bench, id: &InstanceId) -> Vec<String> {
    lines(bench, id).into_iter().map(|line| line.text).collect()
}

fn lines(bench: &Bench, id: &InstanceId) -> Vec<LogLine> {
    let text = fs::read_to_string(bench.runtime.log(id)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Seconds of CPU that the instance's processes have used since they began: all of their threads that still are.
pub(super) fn cpu_s(bench: &Bench, id: &InstanceId) -> f64 {
    let pids = bench.cgroups.find(id).and_then(|group| group.pids().ok()).unwrap_or_default();
    pids.iter().map(|pid| used_ns(*pid)).sum::<u64>() as f64 / 1e9
}

/// Nanoseconds, as the scheduler counts them.
fn used_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let used = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    used.sum()
}

/// Memory that the instance holds, in bytes.
pub(super) async fn memory(bench: &Bench, id: &InstanceId) -> Result<u64> {
    let look = done("look", bench.runtime.inspect(id).await)?;
    look.memory_bytes.context("this host does not say what an instance holds")
}

/// Memory that programs could have here, in bytes.
pub(super) fn available() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo cannot be read")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    Ok(kib.context("/proc/meminfo does not say what is available")? * 1024)
}
