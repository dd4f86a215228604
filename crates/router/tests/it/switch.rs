//! The switch: hundreds of flips under load, and not one request may notice.

use crate::{
    app::App,
    client::Client,
    rig::{Rig, route},
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, spawn},
};

const FLIPS: u64 = 300;

/// What the load clients share.
struct Load {
    address: SocketAddr,
    /// The newest flip that was acknowledged.
    acknowledged: AtomicU64,
    /// The newest flip that was begun.
    begun: AtomicU64,
    stop: AtomicBool,
    sent: AtomicU64,
}

/// Version strings are flip numbers: an app answers with the parity of the flips that it is live in.
fn legal(answer: &str, before: u64, after: u64) -> bool {
    let parity: u64 = answer.parse().expect("a number");
    (before..=after).any(|flip| flip % 2 == parity)
}

/// Sends requests until told to stop; the number of `POST`s that were answered.
fn load(load: &Load, name: usize) -> io::Result<Vec<String>> {
    let keep = !name.is_multiple_of(3);
    let mut client = Client::connect(load.address)?;
    let mut ids = Vec::new();
    for number in 0.. {
        if load.stop.load(Ordering::SeqCst) {
            break;
        }
        if !keep {
            client = Client::connect(load.address)?;
        }
        let before = load.acknowledged.load(Ordering::SeqCst);
        let answer = if number % 5 == 0 {
            ids.push(format!("{name}-{number}"));
            client.post("/", &format!("{name}-{number}"))?
        } else {
            client.get("/")?
        };
        let after = load.begun.load(Ordering::SeqCst);
        load.sent.fetch_add(1, Ordering::SeqCst);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(legal(answer.text(), before, after), "{} came between {before} and {after}", answer.text());
    }
    Ok(ids)
}

#[test]
fn hundreds_of_flips_lose_nothing_and_are_monotone() {
    let mut rig = Rig::start();
    let apps = [App::version("0"), App::version("1")];
    rig.control.replace(vec![route("e-0", &[apps[0].address])]);
    let shared = Arc::new(Load {
        address: rig.http(),
        acknowledged: AtomicU64::new(0),
        begun: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        sent: AtomicU64::new(0),
    });
    let start = |name| {
        let shared = Arc::clone(&shared);
        spawn(move || load(&shared, name))
    };
    let clients: Vec<JoinHandle<_>> = (0..6).map(start).collect();
    for flip in 1..=FLIPS {
        let app = &apps[usize::try_from(flip % 2).expect("small")];
        shared.begun.store(flip, Ordering::SeqCst);
        rig.control.change(Some(route(&format!("e-{}", flip % 2), &[app.address])));
        shared.acknowledged.store(flip, Ordering::SeqCst);
        // Both versions must be seen: each flip waits for a few requests, not for time.
        let enough = shared.sent.load(Ordering::SeqCst) + 4;
        crate::rig::until("requests go on", || {
            shared.sent.load(Ordering::SeqCst) >= enough || clients.iter().any(JoinHandle::is_finished)
        });
    }
    shared.stop.store(true, Ordering::SeqCst);
    let mut sent: Vec<String> = Vec::new();
    for client in clients {
        sent.extend(client.join().expect("no panic").expect("no failed request"));
    }
    let mut recorded = [apps[0].bodies(), apps[1].bodies()].concat();
    assert!(!apps[0].bodies().is_empty() && !apps[1].bodies().is_empty(), "both were live");
    recorded.sort();
    sent.sort();
    assert_eq!(recorded, sent, "each POST exactly once");
    let counts = [rig.control.counts("e-0"), rig.control.counts("e-1")];
    assert_eq!(counts.map(|c| (c.in_flight, c.failed, c.refused)), [(0, 0, 0), (0, 0, 0)]);
    assert_eq!(counts[0].requests + counts[1].requests, shared.sent.load(Ordering::SeqCst));
}

#[test]
fn a_kept_alive_connection_follows_the_route() {
    let mut rig = Rig::start();
    let (old, new) = (App::version("old"), App::version("new"));
    rig.control.replace(vec![route("e-1", &[old.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    assert_eq!(client.get("/").expect("an answer").text(), "old");
    rig.control.change(Some(route("e-2", &[new.address])));
    assert_eq!(client.get("/").expect("an answer").text(), "new");
    rig.control.change(None);
    assert_eq!(client.get("/").expect("an answer").status, 404);
}

#[test]
fn what_left_the_table_drains_and_is_counted() {
    let mut rig = Rig::start();
    let (open, wait) = crate::app::gate();
    let slow = App::answering(move |asked| {
        wait.pass().expect("opened");
        crate::app::respond(asked, "slow")
    });
    let new = App::version("new");
    rig.control.replace(vec![route("e-1", &[slow.address])]);
    let address = rig.http();
    let waiting = spawn(move || crate::client::get(address, "/"));
    crate::rig::until("in flight", || rig.control.counts("e-1").in_flight == 1);
    rig.control.change(Some(route("e-2", &[new.address])));
    assert_eq!(crate::client::get(address, "/").text(), "new");
    assert_eq!(rig.control.counts("e-1").in_flight, 1, "still counted");
    open.send(()).expect("waits");
    assert_eq!(waiting.join().expect("no panic").text(), "slow");
    crate::rig::until("drained", || rig.control.counts("e-1").in_flight == 0);
}

#[test]
fn connections_to_withdrawn_addresses_are_closed_before_the_acknowledgement() {
    let mut rig = Rig::start();
    let (old, new) = (App::version("old"), App::version("new"));
    rig.control.replace(vec![route("e-1", &[old.address])]);
    assert_eq!(crate::client::get(rig.http(), "/").text(), "old");
    rig.control.change(Some(route("e-2", &[new.address])));
    // The same address under another instance's name: it must be a new connection.
    let before = old.seen.connections.load(Ordering::SeqCst);
    rig.control.change(Some(route("e-3", &[old.address])));
    assert_eq!(crate::client::get(rig.http(), "/").text(), "old");
    assert_eq!(old.seen.connections.load(Ordering::SeqCst), before + 1);
}
