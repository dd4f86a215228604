//! One app is switched every second to an upstream of its own, while clients of every kind ask for it: nothing may fail, and nothing may go back.

use crate::{
    client::{Clients, Kind},
    cpu,
    load::Outcome,
    monotony::Monotony,
    peers::{Peer, Setting},
    switching::{self, Control},
    table, upstream,
};
use anyhow::{Result, anyhow, ensure};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Between two switches.
const PERIOD: Duration = Duration::from_secs(1);

/// Who asks, and by how many connections.
const CLIENTS: [(Kind, usize); 4] = [(Kind::Plain, 48), (Kind::Tls, 8), (Kind::TlsNew, 2), (Kind::H2, 4)];

/// Runs for so many seconds and prints what came of it.
pub(crate) fn run(teal: &Peer, setting: &Setting<'_>, seconds: u64) -> Result<()> {
    let mut control = Control::connect(&switching::socket(setting.directory, &teal.name))?;
    let versions = upstream::Versions::start()?;
    // Before anybody asks: the upstream of the other rows says no version.
    control.switch_to(setting, 1, versions.open(1)?)?;
    let (monotony, over) = (Monotony::default(), AtomicBool::new(false));
    let (times, outcomes) = std::thread::scope(|scope| {
        let switcher = scope.spawn(|| switch(&mut control, setting, &versions, &over));
        let loads = CLIENTS.map(|(kind, connections)| {
            let (clients, monotony) = (Clients { kind, connections, hosts: 1 }, monotony.clone());
            scope.spawn(move || clients.watched(teal, 0, seconds, Some(monotony)))
        });
        let outcomes =
            loads.map(|load| load.join().map_err(|_| anyhow!("a client broke")).and_then(|done| done));
        over.store(true, Ordering::SeqCst);
        let times = switcher.join().map_err(|_| anyhow!("the switcher broke")).and_then(|done| done);
        (times, outcomes.into_iter().collect::<Result<Vec<_>>>())
    });
    let times = times?;
    ensure!(monotony.newest() > 1, "no client saw a switch");
    print(times, &outcomes?, &monotony);
    Ok(())
}

/// Switches until it is over; how long each took to be acknowledged, in milliseconds.
fn switch(
    control: &mut Control,
    setting: &Setting<'_>,
    versions: &upstream::Versions,
    over: &AtomicBool,
) -> Result<Vec<f64>> {
    // It is the server, which in life has no clients on its core.
    cpu::precede()?;
    let (mut times, mut due) = (Vec::new(), Instant::now() + PERIOD);
    while !over.load(Ordering::SeqCst) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()).min(PERIOD / 10));
        if Instant::now() < due {
            continue;
        }
        due += PERIOD;
        let version = times.len() as u64 + 2;
        times.push(control.switch_to(setting, version, versions.open(version)?)?.as_secs_f64() * 1e3);
    }
    Ok(times)
}

fn print(mut times: Vec<f64>, outcomes: &[Outcome], monotony: &Monotony) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or(0.0)
    };
    let all = |part: fn(&Outcome) -> f64| outcomes.iter().map(part).sum::<f64>();
    println!(
        "\na switch every second: {} switches, acknowledged after {:.1} ms (median), {:.1} (p99), {:.1} (slowest); {:.0} requests, {:.0} failed",
        times.len(),
        table::median(times.clone()),
        at(0.99),
        at(1.0),
        all(|outcome| outcome.requests),
        all(|outcome| outcome.errors)
    );
    let (connections, clients) = monotony.violations();
    println!(
        "  answers of an older version after a newer one: {connections} on the same connection, {clients} on any (HTTP/1.1, TLS, a handshake each, HTTP/2); the newest seen: {}",
        monotony.newest()
    );
}
