//! Behaviour 20: the figures of one machine, printed and never asserted: a busy machine misses any of them. `cargo xtask figures` runs only this,
//! as released programs.

use crate::{app, at_rest, push_well, quick, served, until_status};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Instant;
use teal_core::api::{Action, DeploymentView};
use teal_e2e::{Behaviour, Host, Options, Repository, python_app, until};

/// So many of each, for a median.
const ROUNDS: usize = 10;

/// One push, from its begin to the first answer of the new version, in milliseconds.
struct Push {
    whole: f64,
    build: f64,
    boot: f64,
    app: f64,
    flip: f64,
}

impl Push {
    /// What is neither the app's build nor the instance's boot nor the app's own start.
    fn own(&self) -> f64 {
        self.whole - self.build - self.boot - self.app
    }
}

#[test]
fn figures_of_a_one_line_change() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v0")?;
    let idle = (host.memory_kib(host.server_pid()), host.memory_kib(host.router_pids()));
    let mut pushes = Vec::new();
    for round in 1..=ROUNDS {
        until_status(&host, "shop", "at rest", at_rest)?;
        pushes.push(push(&host, &repository, &format!("v{round}"))?);
    }
    let asleep = wakes(&host, "asleep")?;
    host.api().send::<serde_json::Value>("PATCH", "/apps/shop/config", &json!({"off_after_s": 0}))?;
    let off = wakes(&host, "off")?;
    let all = |part: fn(&Push) -> f64| pushes.iter().map(part).collect::<Vec<_>>();
    println!("\n{ROUNDS} pushes of a one-line change; ms, median (fastest to slowest)");
    print("push to live, first answer of the new version", all(|push| push.whole));
    print("  of that: build", all(|push| push.build));
    print("  of that: boot of the instance", all(|push| push.boot));
    print("  of that: the app's own start", all(|push| push.app));
    print("  of that: Teal's own share", all(Push::own));
    print("flip: decided to acknowledged by every worker", all(|push| push.flip));
    print("wake, asleep in memory", asleep);
    print("wake, off", off);
    println!("{:<50} {:>8.1} MiB", "memory at rest, server", idle.0 as f64 / 1024.0);
    println!("{:<50} {:>8.1} MiB", "memory at rest, router and its supervisor", idle.1 as f64 / 1024.0);
    Ok(())
}

fn push(host: &Host, repository: &Repository, version: &str) -> Result<Push> {
    let files = python_app(version, &Behaviour::Good);
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    repository.commit(&files, version)?;
    let begin = Instant::now();
    let mut child =
        repository.push_command("HEAD:main", &["-q"]).stderr(std::process::Stdio::null()).spawn()?;
    until("the new version answers", || (served(host, "shop").ok()? == version).then_some(()))?;
    let whole = begin.elapsed().as_secs_f64() * 1000.0;
    assert!(child.wait()?.success());
    let view = until("the deployment was served", || {
        let view = host.api().activity("shop").ok()?.into_iter().next()?;
        at(&view, "served").is_some().then_some(view)
    })?;
    let between = |from: &str, to: &str| Some(at(&view, to)? - at(&view, from)?);
    let log = host.api().log("shop", &view.deployment)?;
    let answered =
        log.iter().find(|line| line.text == "Response from GET / is 200").context("no good probe")?;
    Ok(Push {
        whole,
        build: between("building", "ready").context("no build")?,
        boot: between("starting", "checking").context("no boot")?,
        app: ms(&answered.at).context("no instant")? - at(&view, "checking").context("no check")?,
        flip: between("live", "served").context("no flip")?,
    })
}

/// Back and forth, each time once the spare is in this state.
fn wakes(host: &Host, state: &str) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let status = until_status(host, "shop", &format!("the spare is {state}"), |status| {
            at_rest(status) && status.spare.as_ref().is_some_and(|spare| spare.state == state)
        })?;
        let to = status.spare.context("no spare")?.commit.message;
        let begin = Instant::now();
        host.api().act("shop", &Action::Wake)?;
        until("the other version answers", || (served(host, "shop").ok()? == to).then_some(()))?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times)
}

fn print(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
    println!("{what:<50} {:>8.0} ({first:.0} to {last:.0})", values[values.len() / 2]);
}

/// When a phase began, in milliseconds.
fn at(view: &DeploymentView, phase: &str) -> Option<f64> {
    ms(&view.phases.iter().find(|one| one.phase == phase)?.at)
}

fn ms(instant: &str) -> Option<f64> {
    let instant: jiff::Timestamp = instant.parse().ok()?;
    Some(instant.as_millisecond() as f64)
}
