//! The run: everything is up at once, and each round loads every program for a moment, in the other order every other round.

use crate::{
    Run,
    client::Trust,
    cpu, idle,
    load::Load,
    peers::{self, Peer, Setting, domain},
    rows::{self, Work},
    switched,
    table::{self, Cell},
};
use anyhow::{Context as _, Result};
use std::process::{Child, Command};

/// The upstream; it ends with the bench.
struct Upstream(Child);

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures and prints.
pub(crate) fn run(run: &Run) -> Result<()> {
    cpu::pin_self(cpu::OTHERS)?;
    let directory = tempfile::tempdir()?;
    let address = peers::free()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["upstream", &address.to_string()]);
    cpu::pin(&mut command, cpu::OTHERS)?;
    let _upstream = Upstream(command.spawn()?);
    let trust = Trust::new(directory.path())?;
    let (apps, domains) = (run.apps, run.domains);
    let setting = Setting { apps, domains, upstream: address, trust, directory: directory.path() };
    let peers = peers::all(run, &setting)?;
    println!(
        "{} rounds of {} s for each program, {} apps with {} domains in each table; proxies on core {}, client and upstream on core {}",
        run.rounds,
        run.seconds,
        run.apps,
        run.apps * run.domains,
        cpu::PROXIES,
        cpu::OTHERS
    );
    let wanted = |name: &str| run.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut rows = rows::all();
    rows.push(rows::everywhere(run.apps * run.domains));
    for row in rows.into_iter().filter(|row| wanted(row.name)) {
        table::print(row.name, &measure(run, &peers, &row.work)?);
    }
    if wanted("constant rate") {
        paced(run, &peers)?;
    }
    if wanted("memory") {
        memory(&peers)?;
    }
    // Last: the versions that the first app is switched to are gone behind it.
    if run.switching > 0 && wanted("switch") {
        switched::run(teal(&peers)?, &setting, run.switching)?;
    }
    Ok(())
}

/// 60 % of what the slowest of the programs that users would choose can do, for all of them.
fn paced(run: &Run, peers: &[Peer]) -> Result<()> {
    let load = Load { path: "/", connections: 64, close: false };
    let mut least = f64::MAX;
    for peer in peers.iter().filter(|peer| ["teal", "nginx", "haproxy"].contains(&peer.name.as_str())) {
        let runs = (0..3).map(|_| load.run(peer.address, &domain(0), 1)).collect::<Result<Vec<_>>>()?;
        least = least.min(table::median(runs.iter().map(|run| run.requests / run.seconds).collect()));
    }
    let row = rows::paced(0.6 * least);
    println!("\n{:.0} requests a second:", 0.6 * least);
    table::print(row.name, &measure(run, peers, &row.work)?);
    Ok(())
}

fn measure(run: &Run, peers: &[Peer], work: &Work) -> Result<Vec<(String, Cell)>> {
    let peers: Vec<&Peer> = peers.iter().filter(|peer| work.fits(peer)).collect();
    let mut cells: Vec<(String, Cell)> =
        peers.iter().map(|peer| (peer.name.clone(), Cell::default())).collect();
    for round in 0..run.rounds {
        for turn in 0..peers.len() {
            let index = if round % 2 == 0 { turn } else { peers.len() - 1 - turn };
            let peer = peers[index];
            // A quarter of the table in turn, so that no look-up is always the same.
            let app = (round * 251) % run.apps;
            let before = cpu::seconds(&peer.pids());
            let outcome = work.run(peer, app, run.seconds)?;
            let used = cpu::seconds(&peer.pids()) - before;
            let cell = &mut cells[index].1;
            cell.cpu_us.push(used * 1e6 / outcome.requests.max(1.0));
            cell.outcomes.push(outcome);
        }
    }
    Ok(cells)
}

/// The first program is the one that is switched.
fn teal(peers: &[Peer]) -> Result<&Peer> {
    peers.first().context("nobody is measured")
}

fn memory(peers: &[Peer]) -> Result<()> {
    println!("\nmemory, KiB (proportional set): {:>16} {:>16} {:>16}", "before", "5,000 idle", "bytes each");
    for peer in peers.iter().filter(|peer| !peer.is_direct()) {
        let (before, after) = idle::measure(peer)?;
        let each = after.saturating_sub(before) as f64 * 1024.0 / idle::CONNECTIONS as f64;
        println!("  {:<30} {before:>16} {after:>16} {each:>16.0}", peer.name);
    }
    Ok(())
}
