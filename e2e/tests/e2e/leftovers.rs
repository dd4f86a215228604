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

/// The addresses of this run's instances: others, beside it, have others. What is made for them is named after them.
struct Pool {
    base: u32,
    prefix: u32,
    usual: bool,
}

impl Pool {
    fn of_this_run() -> Option<Self> {
        let given = std::env::var("TEAL_E2E_POOL").ok();
        let (base, prefix) = given.as_deref().unwrap_or("10.177.0.0/16").split_once('/')?;
        let base = base.parse::<std::net::Ipv4Addr>().ok()?.to_bits();
        Some(Self { base, prefix: prefix.parse().ok()?, usual: given.is_none() })
    }

    fn has(&self, address: u32) -> bool {
        (address ^ self.base).leading_zeros() >= self.prefix
    }

    /// Is that the name of a host's end of a link?
    fn has_link(&self, name: &str) -> bool {
        name.strip_prefix("tl")
            .and_then(|bits| u32::from_str_radix(bits, 16).ok())
            .is_some_and(|a| self.has(a))
    }

    /// Of the control groups and of the table of rules.
    fn name(&self, between: char) -> String {
        if self.usual {
            "teal".into()
        } else {
            format!("teal{between}{:08x}{between}{}", self.base, self.prefix)
        }
    }
}

/// What instances leave on a host while they live: mounts, links, addresses, control groups, loop devices, rules.
pub(crate) fn traces(host: &Host) -> Vec<String> {
    let pool = Pool::of_this_run().expect("TEAL_E2E_POOL is a range of addresses");
    // Images stay mounted for the next instance.
    let runs = host.path().join("data/run").display().to_string();
    let mine = |line: &str| line.contains(&runs) && !line.contains("/run/images/");
    let mut traces = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    traces.extend(mounts.lines().filter(|line| mine(line)).map(ToOwned::to_owned));
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let links = links.map(|link| link.file_name().to_string_lossy().into_owned());
    traces.extend(links.filter(|name| pool.has_link(name)));
    let addresses = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = addresses.filter_map(|held| Some(held.address?.as_sockaddr_in()?.ip()));
    traces.extend(addresses.filter(|ip| pool.has(ip.to_bits())).map(|ip| ip.to_string()));
    let loops = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output();
    traces.extend(loops.iter().flat_map(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| mine(line)).map(ToOwned::to_owned).collect::<Vec<_>>()
    }));
    for hierarchy in ["", "memory", "cpu", "pids", "freezer", "unified"] {
        let groups = fs::read_dir(format!("/sys/fs/cgroup/{hierarchy}/{}", pool.name('-')));
        let directories = groups.into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
        traces
            .extend(directories.map(|entry| format!("{hierarchy}/{}", entry.file_name().to_string_lossy())));
    }
    let rules = Command::new("nft").args(["list", "table", "inet", &pool.name('_')]).output();
    traces.extend(rules.iter().flat_map(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| line.contains("elements")).map(ToOwned::to_owned).collect::<Vec<_>>()
    }));
    traces.sort();
    traces
}
