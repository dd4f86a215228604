//! The run: everything is up at once, and each round loads every program for a moment, in the other order every other round.

use crate::{
    Run, cpu, idle,
    load::Load,
    peers::{self, Peer, domain},
    rows, switching,
    table::{self, Cell},
};
use anyhow::Result;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use teal_core::route::Colour;

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
    let peers = peers::all(run, address, directory.path())?;
    println!(
        "{} rounds of {} s for each program, {} apps in each table; proxies on core {}, client and upstream on core {}",
        run.rounds,
        run.seconds,
        run.apps,
        cpu::PROXIES,
        cpu::OTHERS
    );
    let wanted = |name: &str| run.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    for row in rows::all().into_iter().filter(|row| wanted(row.name)) {
        table::print(row.name, &measure(run, &peers, &row.load)?);
    }
    if wanted("switch") {
        switched(run, &peers, address, directory.path())?;
    }
    if wanted("memory") {
        memory(&peers)?;
    }
    Ok(())
}

fn measure(run: &Run, peers: &[Peer], load: &Load) -> Result<Vec<(String, Cell)>> {
    let mut cells: Vec<(String, Cell)> =
        peers.iter().map(|peer| (peer.name.clone(), Cell::default())).collect();
    for round in 0..run.rounds {
        for turn in 0..peers.len() {
            let index = if round % 2 == 0 { turn } else { peers.len() - 1 - turn };
            let peer = &peers[index];
            // A quarter of the table in turn, so that no look-up is always the same.
            let host = domain((round * 251) % run.apps);
            let before = cpu::seconds(&peer.pids);
            let outcome = load.run(peer.address, &host, run.seconds)?;
            let used = cpu::seconds(&peer.pids) - before;
            let cell = &mut cells[index].1;
            cell.cpu_us.push(used * 1e6 / outcome.requests.max(1.0));
            cell.outcomes.push(outcome);
        }
    }
    Ok(cells)
}

/// The first row again, while one app is switched every second: nothing may fail.
fn switched(run: &Run, peers: &[Peer], upstream: SocketAddr, directory: &Path) -> Result<()> {
    let Some(teal) = peers.first() else { return Ok(()) };
    let over = Arc::new(AtomicBool::new(false));
    let mut control = switching::Control::connect(&switching::socket(directory, &teal.name))?;
    let ended = Arc::clone(&over);
    let switcher = std::thread::spawn(move || -> Result<Vec<f64>> {
        let mut times = Vec::new();
        let mut colour = Colour::Green;
        while !ended.load(Ordering::Relaxed) {
            times.push(control.switch(upstream, colour)?.as_secs_f64() * 1e3);
            colour = colour.other();
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(times)
    });
    let load = Load { path: "/", connections: 64, close: false };
    let outcome = load.run(teal.address, &domain(0), (run.rounds as u64 * run.seconds).max(5));
    over.store(true, Ordering::Relaxed);
    let mut times = switcher.join().map_err(|_| anyhow::anyhow!("the switcher broke"))??;
    let outcome = outcome?;
    times.sort_by(f64::total_cmp);
    let last = times.last().copied().unwrap_or(0.0);
    println!(
        "\na switch every second: {} switches, acknowledged after {:.1} ms (slowest {last:.1}); {:.0} requests, {:.0} failed",
        times.len(),
        table::median(times.clone()),
        outcome.requests,
        outcome.errors
    );
    Ok(())
}

fn memory(peers: &[Peer]) -> Result<()> {
    println!("\nmemory, KiB (proportional set): {:>16} {:>16} {:>16}", "before", "5,000 idle", "bytes each");
    for peer in peers {
        let (before, after) = idle::measure(peer)?;
        let each = after.saturating_sub(before) as f64 * 1024.0 / idle::CONNECTIONS as f64;
        println!("  {:<30} {before:>16} {after:>16} {each:>16.0}", peer.name);
    }
    Ok(())
}
