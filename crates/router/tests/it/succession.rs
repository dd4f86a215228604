//! One program after another, with real processes: clients of every kind see versions that only grow, and no refused, reset or failed request.

#![expect(clippy::print_stdout, reason = "how much was asked belongs to the result")]

use crate::{
    app::App,
    client::{Answer, Client, get},
    rig::{Control, route, until},
    secure::{self, Trust},
    streams::{closed, say, socket},
    supervisor::Supervised,
};
use http_body_util::BodyExt as _;
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, spawn},
};
use teal_core::control::{Reply, Request};

/// How often the router is upgraded under load.
const UPGRADES: usize = 20;

fn upgrade(supervised: &mut Supervised) {
    let (worker, supervisor) = (supervised.worker(), supervised.pid());
    teal_router::upgrade(&supervised.place().join("control")).expect("upgrades");
    supervised.wait_for_worker();
    assert_ne!(supervised.worker(), worker, "another worker serves");
    assert_eq!(supervised.pid(), supervisor);
}

fn control(supervised: &Supervised) -> Control {
    Control::connect(&supervised.place().join("control"))
}

/// Clients that ask until told to stop; each gives the number of its requests.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: Vec<JoinHandle<u64>>,
}

impl Load {
    fn start() -> Self {
        Self { stop: Arc::default(), asked: Arc::default(), clients: Vec::new() }
    }

    /// One more client: `ask` makes one request and gives the version that answered.
    fn client(&mut self, mut ask: impl FnMut() -> u64 + Send + 'static) {
        let (stop, asked) = (Arc::clone(&self.stop), Arc::clone(&self.asked));
        self.clients.push(spawn(move || {
            let (mut newest, mut count) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                let version = ask();
                assert!(version >= newest, "version {version} after {newest}");
                (newest, count) = (version, count + 1);
                asked.fetch_add(1, Ordering::SeqCst);
            }
            count
        }));
    }

    /// Until each client could have asked something since now.
    fn goes_on(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        until("requests are answered", || self.asked.load(Ordering::SeqCst) > before + 40);
        assert!(self.clients.iter().all(|client| !client.is_finished()), "a client failed");
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().map(|client| client.join().expect("no client failed")).sum()
    }
}

fn version(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().parse().expect("a version")
}

/// By turns over a connection that is kept for as long as the router wants it, and over a new one.
fn by_turns(address: SocketAddr) -> impl FnMut() -> u64 {
    let (mut kept, mut turn) = (None, 0);
    move || {
        turn += 1;
        if turn % 2 == 0 {
            return version(&get(address, "/"));
        }
        let mut client = kept.take().unwrap_or_else(|| Client::connect(address).expect("not refused"));
        let answer = client.get("/").expect("an answer");
        if answer.headers.get("connection").is_none_or(|value| value != "close") {
            kept = Some(client);
        }
        version(&answer)
    }
}

/// Over HTTP/2, on one connection until the router ends it.
fn over_h2(address: SocketAddr, trust: Arc<Trust>) -> impl FnMut() -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut kept: Option<secure::H2> = None;
    move || {
        runtime.block_on(async {
            loop {
                let mut sender = match kept.take() {
                    Some(sender) => sender,
                    None => secure::h2(address, &trust).await,
                };
                // Whether the connection still takes requests is known before one is sent.
                if sender.ready().await.is_err() {
                    continue;
                }
                match sender.send_request(secure::request("GET", b"")).await {
                    Ok(response) => {
                        assert_eq!(response.status(), 200);
                        let body = response.into_body().collect().await.expect("whole").to_bytes();
                        kept = Some(sender);
                        return std::str::from_utf8(&body).expect("text").parse().expect("a version");
                    }
                    Err(error) if error.is_canceled() => (),
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    }
}

/// A WebSocket that is said something to again and again, on one connection for ever.
fn over_websocket(address: SocketAddr) -> impl FnMut() -> u64 {
    let mut socket = socket(address);
    move || say(&mut socket, "version").parse().expect("a version")
}

#[test]
fn upgrades_under_load_lose_nothing_and_never_show_an_older_version() {
    let mut supervised = Supervised::start();
    let http = supervised.wait_for_worker();
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    let mut server = control(&supervised);
    let given = server.ask(&Request::Certificates { certificates: vec![own], proofs: Vec::new() });
    assert!(matches!(given, Reply::Acknowledged { .. }));
    let apps: Vec<App> = (0..=2 * UPGRADES).map(|number| App::version(&number.to_string())).collect();
    let mut chat = route("e-chat", &[]);
    let echo = App::websocket("7");
    chat.domains = vec!["chat.test".into()];
    chat.live = Some(crate::rig::target("e-chat", &[echo.address]));
    let shop = |number: usize| route(&format!("e-{number}"), &[apps[number].address]);
    server.replace(vec![shop(0), chat]);

    let mut load = Load::start();
    for _ in 0..3 {
        load.client(by_turns(http));
    }
    load.client(over_h2(supervised.https(), Arc::new(trust)));
    load.client(over_websocket_of_chat(http));
    for number in 0..UPGRADES {
        upgrade(&mut supervised);
        let mut server = control(&supervised);
        server.change(Some(shop(2 * number + 1)));
        load.goes_on();
        server.change(Some(shop(2 * number + 2)));
        load.goes_on();
    }
    let asked = load.stop();
    println!("{UPGRADES} upgrades: {asked} requests, 0 failed");
}

/// The WebSocket of another app, which no switch concerns.
fn over_websocket_of_chat(address: SocketAddr) -> impl FnMut() -> u64 {
    let stream = std::net::TcpStream::connect(address).expect("connects");
    let mut socket = tokio_tungstenite::tungstenite::client("ws://chat.test/", stream).expect("upgrades").0;
    move || say(&mut socket, "version").parse().expect("a version")
}

#[test]
fn a_retired_worker_follows_the_table_counts_and_ends_with_its_last_client() {
    let mut supervised = Supervised::start();
    let http = supervised.wait_for_worker();
    let (one, two) = (App::version("1"), App::version("2"));
    let echo = App::websocket("7");
    control(&supervised).replace(vec![route("e-1", &[one.address])]);
    let mut silent = Client::connect(http).expect("connects");
    assert_eq!(version(&silent.get("/").expect("an answer")), 1);
    control(&supervised).change(Some(route("e-echo", &[echo.address])));
    let mut open = over_websocket(http);
    let mut cut = socket(http);
    assert_eq!((open(), say(&mut cut, "version").as_str()), (7, "7"));

    let old = supervised.worker();
    upgrade(&mut supervised);
    upgrade(&mut supervised);
    let mut server = control(&supervised);
    assert_eq!(server.counts("e-echo").upgraded, 2, "of the one before the one before");
    assert_eq!((server.served("e-echo").websockets, server.served("e-1").answers[1]), (2, 1));
    server.change(Some(route("e-2", &[two.address])));
    let answer = silent.get("/").expect("the old connection still serves");
    assert_eq!(version(&answer), 2, "by the table of now");
    assert_eq!(answer.headers.get("connection").map(String::as_str), Some("close"));
    assert_eq!(open(), 7);
    assert_eq!((server.counts("e-2").requests, server.served("e-2").answers[1]), (1, 1));
    server.cut("e-echo", 0);
    assert_eq!(closed(&mut cut).map(|frame| frame.code.into()), Some(1012_u16));
    drop(open);
    until("the retired worker ends", || !Path::new(&format!("/proc/{old}")).exists());
    assert_eq!((server.counts("e-echo").upgraded, server.served("e-echo").websockets), (0, 0));
    assert_eq!(version(&get(http, "/")), 2);
    assert_eq!(server.served("e-2").answers[1], 2, "no count began anew");
}

#[test]
fn a_program_that_does_not_come_up_changes_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let program = place.path().join("router");
    let this = std::env::current_exe().expect("this binary");
    install(&program, |new| assert!(fs::copy(&this, new).expect("copies") > 0));
    let mut supervised = Supervised::of(&program);
    let http = supervised.wait_for_worker();
    let app = App::version("1");
    control(&supervised).replace(vec![route("e-1", &[app.address])]);
    let mut kept = Client::connect(http).expect("connects");
    let worker = supervised.worker();
    for broken in ["#!/bin/sh\nexit 3\n", "not a program\n", "#!/nowhere\n"] {
        install(&program, |new| fs::write(new, broken).expect("writes"));
        let error = teal_router::upgrade(&supervised.place().join("control")).expect_err("refused");
        let text = error.to_string();
        assert!(text.contains("the new worker") || text.contains("cannot be started"), "{text}");
        assert!(text.contains("serves as before"), "{text}");
        assert_eq!(version(&kept.get("/").expect("an answer")), 1, "not even a connection has ended");
        supervised.wait_for_worker();
        assert_eq!(supervised.worker(), worker);
    }
    install(&program, |new| assert!(fs::copy(&this, new).expect("copies") > 0));
    upgrade(&mut supervised);
    assert_eq!(version(&get(http, "/")), 1);
    let executable = format!("/proc/{}/exe", supervised.pid());
    until("the supervisor is of the new program, too", || {
        fs::read_link(&executable).is_ok_and(|exe| exe == program)
    });
    upgrade(&mut supervised);
    assert_eq!(version(&get(http, "/")), 1);
}

/// As packages do it: written beside, then renamed.
fn install(program: &Path, write: impl FnOnce(&Path)) {
    let new = program.with_extension("new");
    write(&new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("sets");
    fs::rename(&new, program).expect("renames");
}

#[test]
fn where_no_router_is_the_error_says_so() {
    let nobody = teal_router::upgrade(Path::new("/nowhere/control")).expect_err("nobody");
    assert!(nobody.to_string().contains("no router answers on /nowhere/control"), "{nobody}");
}
