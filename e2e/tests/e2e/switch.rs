//! Behaviours 1, 3 and 6: no request is lost through a switch, the switch is atomic and monotone, traffic survives the platform.

use crate::{app, at_rest, push_well, quick, until_status};
use anyhow::Result;
use teal_e2e::{Host, Options, Rig, until};

const LOAD: &[&str] = &["--rate", "100", "--websockets", "20", "--sse", "5"];

/// Deployments in a row: 20 here, 50 in the soak.
fn rounds() -> usize {
    if std::env::var_os("TEAL_SOAK").is_some() { 50 } else { 20 }
}

#[test]
fn many_deployments_in_a_row_lose_no_request() -> Result<()> {
    let host = Host::start(&Options { secure: true, ..Options::default() })?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v0")?;
    let mut rig = Rig::start(&host, "shop", LOAD)?;
    for round in 1..=rounds() {
        push_well(&repository, &format!("v{round}"))?;
        let (before, _) = rig.standing()?;
        until("enough requests after the switch", || {
            rig.standing().ok().filter(|(requests, _)| requests - before > 300)
        })?;
    }
    let report = rig.stop()?;
    println!(
        "{} switches, {} requests, {} failed, steady {}",
        report.switches.len(),
        report.requests,
        report.failed,
        report.steady
    );
    report.expect_nothing_lost();
    assert_eq!(report.switches.len(), rounds());
    assert_eq!(report.violations, 0);
    Ok(())
}

#[test]
fn upgrades_of_the_router_between_and_during_deployments_lose_no_request() -> Result<()> {
    let host = Host::start(&Options { secure: true, ..Options::default() })?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v0")?;
    let mut rig = Rig::start(&host, "shop", LOAD)?;
    for round in 1..=3 {
        let pushed = std::thread::scope(|scope| {
            let pushing = scope.spawn(|| push_well(&repository, &format!("v{round}")));
            host.upgrade_router()?;
            pushing.join().map_err(|_| anyhow::anyhow!("the push panicked"))?
        });
        pushed?;
        let (before, _) = rig.standing()?;
        until("enough requests after the upgrade", || {
            rig.standing().ok().filter(|(requests, _)| requests - before > 300)
        })?;
        host.upgrade_router()?;
    }
    let report = rig.stop()?;
    report.expect_nothing_lost();
    assert_eq!(report.violations, 0);
    Ok(())
}

#[test]
fn traffic_survives_the_servers_death() -> Result<()> {
    let mut host = Host::start(&Options { secure: true, ..Options::default() })?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v0")?;
    until_status(&host, "shop", "at rest", at_rest)?;
    let mut rig = Rig::start(&host, "shop", LOAD)?;
    host.kill_server()?;
    until("much traffic without the server", || {
        rig.standing().ok().filter(|(requests, _)| *requests > 1_000)
    })?;
    host.start_server(&[])?;
    push_well(&repository, "v1")?;
    let (before, _) = rig.standing()?;
    until("traffic after the restart", || {
        rig.standing().ok().filter(|(requests, _)| requests - before > 300)
    })?;
    rig.stop()?.expect_nothing_lost();
    Ok(())
}
