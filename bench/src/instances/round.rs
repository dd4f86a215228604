//! One round: an instance from its sealed release to its first answer, asleep in memory and awake again, asleep on disk and awake again.

use super::{
    kind::{Bench, done},
    look,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use teal_runtime::{InstanceSpec, Outcome, Runtime};

/// What one round measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    /// The parts of the boot, in order, in milliseconds, each from the end of the one before.
    pub(super) stages: Vec<(String, f64)>,
    /// CPU of the instance's processes until the first answer, in seconds.
    pub(super) boot_cpu_s: f64,
    /// Memory that it holds awake and asleep, in bytes.
    pub(super) idle_bytes: u64,
    pub(super) asleep_bytes: u64,
    pub(super) from_memory: Wake,
    pub(super) disk: Option<Disk>,
}

/// A wake.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Wake {
    /// Until its agent answers, in milliseconds.
    pub(super) awake_ms: f64,
    /// Until the first 200, from the same begin.
    pub(super) answer_ms: f64,
    /// CPU of the instance's processes for it, in seconds.
    pub(super) cpu_s: f64,
}

/// Asleep on disk, where the runtime can do it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Disk {
    pub(super) save_ms: f64,
    pub(super) bytes: u64,
    pub(super) held_bytes: u64,
    pub(super) wake: Wake,
}

/// Measures one.
pub(super) async fn run(bench: &Bench, spec: &InstanceSpec) -> Result<Round> {
    let stages = boot(bench, spec).await?;
    let id = &spec.id;
    let boot_cpu_s = look::cpu_s(bench, id);
    let idle_bytes = look::memory(bench, id).await?;
    done("sleep", bench.runtime.sleep(id).await)?;
    let asleep_bytes = look::memory(bench, id).await?;
    let from_memory = wake(bench, spec, look::cpu_s(bench, id)).await?;
    let disk = disk(bench, spec).await?;
    done("remove", bench.runtime.remove(id).await)?;
    done("forget", bench.runtime.forget(id).await)?;
    Ok(Round { stages, boot_cpu_s, idle_bytes, asleep_bytes, from_memory, disk })
}

/// From the sealed release to the first 200.
async fn boot(bench: &Bench, spec: &InstanceSpec) -> Result<Vec<(String, f64)>> {
    let (began, clock) = (Instant::now(), since_1970());
    let address =
        done("start", bench.runtime.ensure(spec).await)?.address.context("an app has an address")?;
    let agent = began.elapsed();
    look::listening(bench, &spec.id).await?;
    let listening = began.elapsed();
    look::answered(address).await?;
    let answered = began.elapsed();
    let first = look::first_command(bench, &spec.id).context("the app did not say that it began")?;
    let first = Duration::from_millis(first).saturating_sub(clock);
    let mut ends = match bench.boot(&spec.id) {
        Some(boot) => vec![
            ("emulator started".to_owned(), boot.emulator),
            ("kernel up to the agent".to_owned(), boot.emulator + boot.agent),
        ],
        None => vec![("agent up".to_owned(), agent.min(first))],
    };
    ends.push(("app's first command".to_owned(), first));
    ends.push(("app listens".to_owned(), listening));
    ends.push(("first 200".to_owned(), answered));
    Ok(parts(ends))
}

/// Each from the end of the one before.
fn parts(ends: Vec<(String, Duration)>) -> Vec<(String, f64)> {
    let mut before = Duration::ZERO;
    let part = |(name, end): (String, Duration)| {
        let part = end.saturating_sub(before);
        before = before.max(end);
        (name, part.as_secs_f64() * 1e3)
    };
    ends.into_iter().map(part).collect()
}

async fn wake(bench: &Bench, spec: &InstanceSpec, used_s: f64) -> Result<Wake> {
    let began = Instant::now();
    let woken = done("wake", bench.runtime.wake(&spec.id).await)?;
    let awake_ms = began.elapsed().as_secs_f64() * 1e3;
    look::answered(woken.address.context("an app has an address")?).await?;
    let answer_ms = began.elapsed().as_secs_f64() * 1e3;
    Ok(Wake { awake_ms, answer_ms, cpu_s: look::cpu_s(bench, &spec.id) - used_s })
}

async fn disk(bench: &Bench, spec: &InstanceSpec) -> Result<Option<Disk>> {
    if !bench.runtime.saves() {
        return Ok(None);
    }
    done("sleep", bench.runtime.sleep(&spec.id).await)?;
    let began = Instant::now();
    match bench.runtime.save(&spec.id).await {
        Outcome::Done(()) => {}
        other => return done("save", other).map(|()| None),
    }
    let save_ms = began.elapsed().as_secs_f64() * 1e3;
    let bytes = fs::metadata(bench.snapshot(&spec.id)).context("there is no snapshot")?.len();
    let held_bytes = look::memory(bench, &spec.id).await?;
    // Its processes are new ones: they have used nothing yet.
    let wake = wake(bench, spec, 0.0).await?;
    Ok(Some(Disk { save_ms, bytes, held_bytes, wake }))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_from_the_end_of_the_one_before_and_never_negative() {
        let ms = Duration::from_millis;
        // Clocks of two processes differ by a little.
        let ends = [("a", 10), ("b", 25), ("c", 24), ("d", 40)].map(|(name, end)| (name.to_owned(), ms(end)));
        let told: Vec<f64> = parts(ends.into()).into_iter().map(|(_, part)| part).collect();
        assert_eq!(told, [10.0, 15.0, 0.0, 15.0]);
    }
}
