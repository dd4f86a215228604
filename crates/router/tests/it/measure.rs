//! Figures, printed and never asserted: `cargo test --release -p teal-router --test it -- --ignored --nocapture measure`.
//!
//! The router is a process of its own under its supervisor; clients and apps share this one.

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use crate::{
    app::App,
    client::Client,
    rig::{Control, Rig, route},
    supervisor::Supervised,
};
use std::{
    net::SocketAddr,
    thread::spawn,
    time::{Duration, Instant},
};

const SPAN: Duration = Duration::from_secs(3);

/// Microseconds of sequential requests on one kept-alive connection: p50, p99.
fn latency(address: SocketAddr) -> (u128, u128) {
    let mut client = Client::connect(address).expect("connects");
    let mut times = Vec::new();
    let end = Instant::now() + SPAN;
    while Instant::now() < end {
        let start = Instant::now();
        client.get("/").expect("an answer");
        times.push(start.elapsed().as_micros());
    }
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Requests per second of several kept-alive connections.
fn throughput(address: SocketAddr, connections: usize) -> u128 {
    let end = Instant::now() + SPAN;
    let load = move || {
        let mut client = Client::connect(address).expect("connects");
        let mut count = 0;
        while Instant::now() < end {
            client.get("/").expect("an answer");
            count += 1;
        }
        count
    };
    let threads: Vec<_> = (0..connections).map(|_| spawn(load)).collect();
    let total: u128 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    total / u128::from(SPAN.as_secs())
}

/// Resident memory of a process, and the processor time that it has used, in milliseconds.
fn usage(pid: i32) -> (String, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("reads");
    let rss =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().trim().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("reads");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].iter().map(|n| n.parse::<u64>().expect("a number")).sum();
    (rss, ticks * 10)
}

#[test]
#[ignore = "prints figures"]
fn measure_requests() {
    let mut supervised = Supervised::start();
    let app = App::version(&"x".repeat(1024));
    let address = supervised.wait_for_worker();
    let worker = supervised.worker();
    println!("idle: worker {}, supervisor {}", usage(worker).0, usage(supervised.pid()).0);
    Control::connect(&supervised.place().join("control")).replace(vec![route("e-1", &[app.address])]);
    for round in 0..3 {
        let (direct, through) = (latency(app.address), latency(address));
        println!(
            "round {round}, one connection, p50/p99 µs: direct {direct:?}, through the router {through:?}"
        );
        let direct = throughput(app.address, 16);
        let before = usage(worker).1;
        let through = throughput(address, 16);
        let spent = usage(worker).1 - before;
        let each = u128::from(spent) * 1000 / (through * u128::from(SPAN.as_secs())).max(1);
        println!(
            "round {round}, 16 connections, req/s: direct {direct}, through {through}; {each} µs of CPU each"
        );
    }
    let idle: Vec<Client> = (0..1000)
        .map(|_| {
            let mut client = Client::connect(address).expect("connects");
            client.get("/").expect("an answer");
            client
        })
        .collect();
    println!("with {} idle connections: worker {}", idle.len(), usage(worker).0);
}

#[test]
#[ignore = "prints figures"]
fn measure_flips() {
    for apps in [1, 1_000, 10_000] {
        let mut rig = Rig::start();
        let named = |number: usize| {
            let mut app = route(&format!("e-{number}"), &["127.0.0.1:1".parse().expect("legal")]);
            app.domains = (0..10).map(|domain| format!("d{domain}.app{number}.test")).collect();
            app
        };
        let before = usage(i32::try_from(std::process::id()).expect("a process")).0;
        rig.control.replace((0..apps).map(named).collect());
        let after = usage(i32::try_from(std::process::id()).expect("a process")).0;
        let mut times: Vec<u128> = (0..100)
            .map(|number| {
                let mut app = named(0);
                app.live = Some(crate::rig::target(
                    &format!("e-x{number}"),
                    &["127.0.0.1:2".parse().expect("legal")],
                ));
                let start = Instant::now();
                rig.control.change(Some(app));
                start.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        println!("{apps} apps: flip p50 {} µs, p99 {} µs; memory {before} -> {after}", times[50], times[98]);
    }
}
