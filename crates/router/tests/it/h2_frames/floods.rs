//! Floods: what costs a client little and a careless server much. Each must end its connection, or be held back, or be taken for next to
//! nothing; the router's memory stays bounded, and others are served. The router is a process of its own, so that its memory can be told.

use super::{
    block::{self, get, integer, line, request},
    case::CALM,
    connection::Connection,
    frame::{
        END_HEADERS, PING, SETTINGS, WHOLE, continuation, data, frame, headers, priority, reset, settings,
        window,
    },
};
use crate::{
    app::{App, respond},
    rig::{Control, options, route, until},
    secure::Trust,
};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};
use teal_core::control::{Reply, Request};
use teal_router::Ready;
use tokio_rustls::rustls::ClientConfig;

/// Names the directory; set in the process that the tests start, and only there.
const PLACE: &str = "TEAL_TEST_FLOODED";

/// What a flood may cost, in KiB. Without a bound each of them would cost more than ten times as much.
const MOST_KIB: u64 = 48 * 1024;

/// Not a test of its own: the router's process.
#[test]
fn router_process() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let mut options = options(&place);
    options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    options.limits.stalled = std::time::Duration::from_secs(2);
    options.ready = Ready::File(place.join("ready"));
    teal_router::run(options).expect("runs");
}

/// A router of its own, and an app behind it.
struct Flooded {
    directory: tempfile::TempDir,
    process: Child,
    app: App,
    client: Arc<ClientConfig>,
    address: SocketAddr,
}

impl Flooded {
    fn start(app: App) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "h2_frames::floods::router_process", "--nocapture"]);
        command.env(PLACE, directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("starts");
        let ready = directory.path().join("ready");
        until("the router serves", || ready.exists());
        let lines = fs::read_to_string(ready).expect("reads");
        let address = lines.lines().find_map(|line| line.strip_prefix("https ")).expect("an address");
        let address = address.parse().expect("an address");
        let mut control = Control::connect(&directory.path().join("control"));
        control.replace(vec![route("e-1", &[app.address])]);
        let mut trust = Trust::default();
        let certificates = vec![trust.make(&["shop.test"])];
        let reply = control.ask(&Request::Certificates { certificates, proofs: Vec::new() });
        assert!(matches!(reply, Reply::Acknowledged { .. }));
        let client = trust.client(&["h2"]);
        let this = Self { directory, process, app, client, address };
        this.is_served();
        this
    }

    /// The most memory that the router has ever had, in KiB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it lives");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn connect(&self, settings: &[(u16, u32)]) -> Connection {
        Connection::open(self.address, &self.client, settings)
    }

    /// Somebody else gets his answer.
    fn is_served(&self) {
        let mut client = self.connect(&[]);
        client.send(&headers(1, WHOLE, &get()));
        assert!(client.until(|seen| seen.ended.contains(&1)), "{:?}", client.seen);
        assert_eq!(client.seen.answers[&1], [200]);
        client.vanish();
    }
}

impl Drop for Flooded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.directory.path();
    }
}

/// How a flood ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The router has closed, with this code if it said one.
    Ended(Option<u32>),
    /// The router reads no further until the client reads what it has caused.
    HeldBack,
    /// All of it was read, and the connection goes on.
    Taken,
}

/// What is sent before, then again and again.
struct Flood {
    name: &'static str,
    before: Vec<u8>,
    /// Called with the number of the round.
    round: fn(u32) -> Vec<u8>,
    rounds: u32,
    right: &'static [Outcome],
}

const ENDED: &[Outcome] = &[Outcome::Ended(Some(CALM)), Outcome::Ended(None)];
const TAKEN: &[Outcome] = &[Outcome::Taken];

fn post() -> Vec<u8> {
    headers(1, END_HEADERS, &request("POST", "/"))
}

fn of_streams() -> Vec<Flood> {
    vec![
        Flood {
            name: "rapid reset (CVE-2023-44487)",
            before: Vec::new(),
            round: |n| [headers(2 * n + 1, WHOLE, &get()), reset(2 * n + 1, 8)].concat(),
            rounds: 50_000,
            right: ENDED,
        },
        Flood {
            name: "rapid reset by errors (CVE-2025-8671)",
            before: Vec::new(),
            round: |n| {
                [headers(2 * n + 1, END_HEADERS, &request("POST", "/")), window(2 * n + 1, 0)].concat()
            },
            rounds: 50_000,
            right: ENDED,
        },
        Flood {
            name: "empty DATA (CVE-2019-9518)",
            before: post(),
            round: |_| data(1, 0, b""),
            rounds: 100_000,
            right: ENDED,
        },
        Flood {
            name: "PRIORITY (CVE-2019-9513)",
            before: post(),
            round: |n| priority(2 * n + 3, 1, 9),
            rounds: 200_000,
            right: TAKEN,
        },
        Flood {
            name: "WINDOW_UPDATE of nobody's stream",
            before: [post(), reset(1, 8)].concat(),
            round: |_| window(1, 1),
            rounds: 200_000,
            right: TAKEN,
        },
    ]
}

fn of_connections() -> Vec<Flood> {
    vec![
        Flood {
            name: "SETTINGS (CVE-2019-9515)",
            before: Vec::new(),
            round: |n| settings(&[(4, 65_535 - n % 2)]),
            rounds: 2_000_000,
            right: &[Outcome::HeldBack, Outcome::Ended(Some(CALM)), Outcome::Ended(None)],
        },
        Flood {
            name: "PING (CVE-2019-9512)",
            before: Vec::new(),
            round: |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes()),
            rounds: 2_000_000,
            right: &[Outcome::HeldBack, Outcome::Ended(Some(CALM)), Outcome::Ended(None)],
        },
        Flood {
            name: "acknowledgements of nothing",
            before: Vec::new(),
            round: |_| frame(SETTINGS, 1, 0, &[]),
            rounds: 200_000,
            right: &[Outcome::Ended(Some(1)), Outcome::Ended(None)],
        },
        Flood {
            name: "CONTINUATION without end (CVE-2024-27316)",
            before: headers(1, 1, &get()),
            round: |n| continuation(1, 0, &line(&format!("x-{n}"), &"x".repeat(4000))),
            rounds: 50_000,
            right: ENDED,
        },
        Flood {
            name: "empty CONTINUATION",
            before: headers(1, 1, &get()),
            round: |_| continuation(1, 0, &[]),
            rounds: 500_000,
            right: ENDED,
        },
    ]
}

/// Sends until the router has had enough; what it answers is not read meanwhile.
fn flood(site: &Flooded, flood: &Flood) -> Outcome {
    let mut connection = site.connect(&[]);
    connection.give_up_soon();
    let mut taken = connection.send(&flood.before);
    for rounds in (0..flood.rounds).collect::<Vec<_>>().chunks(500) {
        let bytes: Vec<u8> = rounds.iter().flat_map(|round| (flood.round)(*round)).collect();
        taken = taken && connection.send(&bytes);
        if !taken {
            break;
        }
    }
    let is_held_back = !taken && connection.is_alive();
    if is_held_back {
        connection.vanish();
        return Outcome::HeldBack;
    }
    connection.send(&super::frame::ping());
    connection.until(|seen| seen.closed || seen.pong && seen.goaway.is_none());
    let outcome =
        if connection.seen.closed { Outcome::Ended(connection.seen.goaway) } else { Outcome::Taken };
    connection.vanish();
    outcome
}

#[test]
#[expect(clippy::print_stdout, reason = "what each flood costs is asked for")]
fn floods_cost_next_to_nothing_and_nobody_else() {
    let site = Flooded::start(App::version("one"));
    for one in of_streams().into_iter().chain(of_connections()) {
        let before = site.peak();
        let outcome = flood(&site, &one);
        site.is_served();
        let cost = site.peak() - before;
        println!("{:<45} {outcome:?}, {cost} KiB", one.name);
        assert!(one.right.contains(&outcome), "{}: {outcome:?} is none of {:?}", one.name, one.right);
        assert!(cost < MOST_KIB, "{}: {cost} KiB", one.name);
    }
    let requests = site.app.seen.heads.lock().expect("sound").len();
    assert!(requests < 5_000, "{requests} requests reached the app");
}

/// A block that says little and means much: one long line is remembered, and named again and again.
fn bomb() -> Vec<u8> {
    let long = block::literal(0x40, "x-bomb", &"x".repeat(3900));
    [get(), long, vec![0xbe; 12_000]].concat()
}

#[test]
fn a_block_that_grows_when_it_is_read_is_not_read_to_its_end() {
    let site = Flooded::start(App::version("one"));
    let before = site.peak();
    let mut connection = site.connect(&[]);
    // It means 47 MB, fifty times.
    for number in 0..50 {
        if !connection.send(&headers(2 * number + 1, WHOLE, &bomb())) {
            break;
        }
    }
    let refused = |answers: &[u16]| answers.is_empty() || answers == [431];
    connection.until(|seen| seen.closed || seen.ended.len() + seen.resets.len() >= 50);
    assert!(connection.seen.answers.values().all(|answers| refused(answers)), "{:?}", connection.seen);
    assert!(site.peak() - before < MOST_KIB, "{} KiB", site.peak() - before);
    assert_eq!(site.app.seen.heads.lock().expect("sound").len(), 1, "only the first, honest request");
    site.is_served();
}

#[test]
fn a_table_of_header_lines_stays_as_small_as_was_said() {
    let site = Flooded::start(App::version("one"));
    let mut connection = site.connect(&[(1, 0xffff_ffff)]);
    // What the client's own table may hold is not what ours must hold.
    let block = [integer(0x20, 5, 4096), get()].concat();
    let before = site.peak();
    for number in 0..1000 {
        let line = block::literal(0x40, &format!("x-{number}"), &"y".repeat(2000));
        connection.send(&headers(2 * number + 1, WHOLE, &[block.clone(), line].concat()));
        connection.until(|seen| seen.closed || seen.ended.contains(&(2 * number + 1)));
        connection.seen = super::connection::Seen::default();
    }
    assert!(site.peak() - before < MOST_KIB, "{} KiB", site.peak() - before);
}

#[test]
fn clients_that_take_nothing_hold_little_and_are_let_go() {
    let large = "x".repeat(8_000_000);
    let site = Flooded::start(App::answering(move |asked| match asked.path.as_str() {
        "/large" => respond(asked, &large),
        _ => respond(asked, "small"),
    }));
    let before = site.peak();
    let mut connection = site.connect(&[(4, 0)]);
    let many: Vec<u8> = (0..100).flat_map(|n| headers(2 * n + 1, WHOLE, &request("GET", "/large"))).collect();
    connection.send(&many);
    assert!(
        connection.until(|seen| seen.answers.len() == 100),
        "heads need no window: {:?}",
        connection.seen.answers.len()
    );
    // 800 MB are asked for; what is on its way is bounded for each stream.
    assert!(site.peak() - before < 2 * MOST_KIB, "{} KiB", site.peak() - before);
    site.is_served();
    // The window never opens: each stream is broken off when it has stood still for as long as a client may let it.
    let gone = connection.until(|seen| seen.closed || seen.resets.len() == 100);
    assert!(gone, "{:?}", connection.seen.resets.len());
    assert!(connection.seen.data.values().all(|lengths| lengths.iter().all(|length| *length == 0)));
}

#[test]
fn who_reads_late_gets_everything_all_the_same() {
    const PINGS: u32 = 9_000;
    let large = "x".repeat(30_000_000);
    let site = Flooded::start(App::answering(move |asked| match asked.path.as_str() {
        "/large" => respond(asked, &large),
        _ => respond(asked, "small"),
    }));
    let mut connection = site.connect(&[(4, 0x7fff_ffff)]);
    connection.send(&[window(0, 0x7fff_0000), headers(1, WHOLE, &request("GET", "/large"))].concat());
    assert!(connection.until(|seen| seen.data.contains_key(&1)), "the answer fills all that is between");
    // The answers to these have to wait, and are more than may wait.
    let pings: Vec<u8> = (0..PINGS).flat_map(|_| super::frame::ping()).collect();
    connection.send(&pings);
    connection.send(&headers(3, WHOLE, &get()));
    let all = |seen: &super::connection::Seen| {
        seen.ended.len() == 2 && seen.kinds.get(&PING).is_some_and(|count| *count >= PINGS as usize)
    };
    assert!(connection.until(all), "{:?} {:?}", connection.seen.kinds, connection.seen.goaway);
    connection.vanish();
}
