//! Behaviour 12: retention is exact and leaks nothing.

use crate::{app, at_rest, push, push_well, quick, until_status};
use anyhow::Result;
use serde_json::json;
use std::{fs, process::Command};
use teal_e2e::{Behaviour, Host, Options, until};

/// Deployments: 12 here, 200 in the soak.
fn rounds() -> usize {
    if std::env::var_os("TEAL_SOAK").is_some() { 200 } else { 12 }
}

#[test]
fn nothing_is_left_of_an_app_that_is_deleted() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let clean = traces(&host);
    let mut config = quick();
    config["start_deadline_s"] = json!(10);
    let repository = app(&host, "shop", config)?;
    push_well(&repository, "first")?;
    for round in 0..rounds() {
        let behaviour = if round % 3 == 2 { Behaviour::Exits(1, 0.0) } else { Behaviour::Good };
        let pushed = push(&repository, &format!("r{round}"), &behaviour)?;
        assert_eq!(pushed.ok, behaviour == Behaviour::Good, "{}", pushed.output);
    }
    until_status(&host, "shop", "one live, one spare asleep", |s| {
        at_rest(s) && s.spare.as_ref().is_some_and(|s| s.state == "asleep")
    })?;
    let instances = || host.run_directories().len();
    until("two instances are left", || (instances() == 2).then_some(()))?;
    host.delete("shop")?;
    until("nothing is left", || (traces(&host) == clean && instances() == 0).then_some(()))
        .map_err(|error| error.context(format!("before: {clean:#?}\nnow: {:#?}", traces(&host))))?;
    Ok(())
}

/// What instances leave on a host while they live: mounts, links, control groups, loop devices, namespaces' processes.
pub(crate) fn traces(host: &Host) -> Vec<String> {
    // Images stay mounted for the next instance.
    let runs = host.path().join("data/run").display().to_string();
    let mine = |line: &str| line.contains(&runs) && !line.contains("/run/images/");
    let mut traces = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    traces.extend(mounts.lines().filter(|line| mine(line)).map(ToOwned::to_owned));
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    traces.extend(links.map(|link| link.file_name().to_string_lossy().into_owned()));
    let held = nix::ifaddrs::getifaddrs().into_iter().flatten().filter(|held| held.interface_name == "lo");
    traces.extend(held.filter_map(|held| Some(held.address?.to_string())));
    let loops = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output();
    traces.extend(loops.iter().flat_map(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| mine(line)).map(ToOwned::to_owned).collect::<Vec<_>>()
    }));
    for hierarchy in ["", "memory", "cpu", "pids", "freezer", "unified"] {
        let groups = fs::read_dir(format!("/sys/fs/cgroup/{hierarchy}/teal")).into_iter().flatten().flatten();
        let directories = groups.filter(|entry| entry.path().is_dir());
        traces
            .extend(directories.map(|entry| format!("{hierarchy}/{}", entry.file_name().to_string_lossy())));
    }
    let rules = Command::new("nft").args(["list", "table", "inet", "teal"]).output();
    traces.extend(rules.iter().flat_map(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| line.contains("elements")).map(ToOwned::to_owned).collect::<Vec<_>>()
    }));
    traces.sort();
    traces
}
