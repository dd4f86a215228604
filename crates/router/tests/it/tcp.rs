//! Plain TCP services: a port of the router's whose streams are an app's, with the same switch, drain and fallback as requests.

use crate::{
    app::App,
    client::get,
    rig::{Control, Rig, nowhere, route, target, until},
    supervisor::Supervised,
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::spawn,
    time::Duration,
};
use teal_core::{
    control::{Reply, Request},
    route::{AppRoute, Table},
};

/// Says its version, then everything that it hears, and goodbye once the client has ended.
fn service(version: &str) -> App {
    let version = version.to_owned();
    App::raw(Arc::default(), move |mut stream| {
        let mut echo = || {
            writeln!(stream, "{version}")?;
            std::io::copy(&mut stream.try_clone()?, &mut stream)?;
            stream.write_all(b"goodbye\n")
        };
        // A client may go at any time.
        let _ = echo();
    })
}

/// A port that nobody has.
fn free_port() -> u16 {
    nowhere().port()
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn tcp(environment: &str, addresses: &[SocketAddr], port: u16) -> AppRoute {
    AppRoute { tcp_port: Some(port), ..route(environment, addresses) }
}

/// A client of a service.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn begin(port: u16) -> Self {
        let stream = TcpStream::connect(at(port)).expect("not refused");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
        Self(BufReader::new(stream))
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("no reset");
        line.trim_end().to_owned()
    }

    fn say(&mut self, what: &str) -> String {
        writeln!(self.0.get_mut(), "{what}").expect("writes");
        self.hear()
    }
}

#[test]
fn open_streams_stay_and_new_ones_go_to_the_new_version() {
    let mut rig = Rig::start();
    let (one, two, port) = (service("1"), service("2"), free_port());
    rig.control.replace(vec![tcp("e-1", &[one.address], port)]);
    let mut old = Talk::begin(port);
    assert_eq!((old.hear().as_str(), old.say("x").as_str()), ("1", "x"));
    rig.control.change(Some(tcp("e-2", &[two.address], port)));
    let mut new = Talk::begin(port);
    assert_eq!((new.hear().as_str(), old.say("still").as_str()), ("2", "still"));
    let counts = rig.control.counts("e-1");
    assert_eq!((counts.upgraded, counts.in_flight, counts.requests), (1, 0, 1));
    drop(old);
    until("the old one has no stream", || rig.control.counts("e-1").upgraded == 0);
    assert_eq!(rig.control.counts("e-2").upgraded, 1);
}

#[test]
fn streams_go_to_a_port_of_their_own_where_the_instance_has_one() {
    let mut rig = Rig::start();
    let (web, streams, port) = (App::version("web"), service("streams"), free_port());
    let mut both = tcp("e-1", &[web.address], port);
    both.live.as_mut().expect("live").instances[0].tcp = Some(streams.address);
    rig.control.replace(vec![both]);
    assert_eq!(get(rig.http(), "/").text(), "web");
    assert_eq!(Talk::begin(port).hear(), "streams");
    rig.restart();
    assert_eq!(Talk::begin(port).hear(), "streams", "it is kept");
    assert_eq!(get(rig.http(), "/").text(), "web");
}

#[test]
fn much_goes_through_whole_between_words() {
    let mut rig = Rig::start();
    let (one, port) = (service("1"), free_port());
    rig.control.replace(vec![tcp("e-1", &[one.address], port)]);
    let mut talk = Talk::begin(port);
    assert_eq!(talk.hear(), "1");
    // Lines, so that words before and behind are told from it.
    let much = "all that is large goes past the router's own memory\n".repeat(150_000);
    for round in 0..3 {
        assert_eq!(talk.say("a word"), "a word");
        let (mut stream, sent) = (talk.0.get_ref().try_clone().expect("clones"), much.clone());
        let sender = spawn(move || stream.write_all(sent.as_bytes()));
        let mut heard = vec![0; much.len()];
        talk.0.read_exact(&mut heard).expect("no reset");
        sender.join().expect("no panic").expect("sends");
        assert!(heard == much.as_bytes(), "round {round}");
    }
    talk.0.get_ref().shutdown(Shutdown::Write).expect("shuts");
    assert_eq!((talk.hear().as_str(), talk.hear().as_str()), ("goodbye", ""));
    until("it is over", || rig.control.counts("e-1").upgraded == 0);
    let (words, served) = (3 * (much.len() + "a word\n".len()), rig.control.served("e-1"));
    assert_eq!(served.bytes_in, words as u64);
    assert_eq!(served.bytes_out, (words + "1\ngoodbye\n".len()) as u64);
}

#[test]
fn each_side_may_end_before_the_other_one() {
    let mut rig = Rig::start();
    let (echo, port) = (service("1"), free_port());
    rig.control.replace(vec![tcp("e-1", &[echo.address], port)]);
    let mut talk = Talk::begin(port);
    talk.hear();
    let much = "x".repeat(3_000_000);
    let sender = talk.0.get_ref().try_clone().expect("clones");
    let sending = spawn(move || {
        writeln!(&sender, "{much}").expect("writes");
        sender.shutdown(Shutdown::Write).expect("shuts");
    });
    let mut heard = String::new();
    talk.0.read_to_string(&mut heard).expect("the end, and no reset");
    sending.join().expect("no panic");
    assert_eq!((heard.len(), heard.ends_with("x\ngoodbye\n")), (3_000_001 + 8, true));

    let (said, whole) = std::sync::mpsc::channel();
    let said = std::sync::Mutex::new(said);
    let sink = App::raw(Arc::default(), move |mut stream| {
        stream.shutdown(Shutdown::Write).expect("shuts");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("the end");
        said.lock().expect("sound").send(heard).expect("the test waits");
    });
    rig.control.change(Some(tcp("e-2", &[sink.address], port)));
    let mut talk = Talk::begin(port);
    assert_eq!(talk.hear(), "", "it has ended");
    write!(talk.0.get_mut(), "after your end").expect("writes");
    talk.0.get_ref().shutdown(Shutdown::Write).expect("shuts");
    assert_eq!(whole.recv_timeout(Duration::from_secs(30)).expect("heard"), "after your end");
}

#[test]
fn a_cut_ends_streams_without_a_reset_and_only_those_of_its_environment() {
    let mut rig = Rig::start();
    let (one, two, port) = (service("1"), service("2"), free_port());
    rig.control.replace(vec![tcp("e-1", &[one.address], port)]);
    let mut old: Vec<Talk> = (0..5).map(|_| Talk::begin(port)).collect();
    old.iter_mut().for_each(|talk| assert_eq!(talk.hear(), "1"));
    rig.control.change(Some(tcp("e-2", &[two.address], port)));
    let mut new = Talk::begin(port);
    assert_eq!(new.hear(), "2");
    rig.control.cut("e-1", 300);
    for talk in &mut old {
        assert_eq!(talk.hear(), "", "the end");
        // Then the client ends, too.
        drop(talk.0.get_ref().shutdown(Shutdown::Write));
    }
    until("all are closed", || rig.control.counts("e-1").upgraded == 0);
    assert_eq!(new.say("and I"), "and I");
}

#[test]
fn a_cut_does_not_wait_for_those_who_never_end() {
    let mut rig = Rig::start();
    let (one, port) = (service("1"), free_port());
    rig.control.replace(vec![tcp("e-1", &[one.address], port)]);
    let mut stubborn = Talk::begin(port);
    assert_eq!(stubborn.hear(), "1");
    rig.control.cut("e-1", 0);
    until("it is closed", || rig.control.counts("e-1").upgraded == 0);
}

#[test]
fn the_standby_takes_what_the_live_one_refuses() {
    let mut rig = Rig::start();
    let (standby, port) = (service("standby"), free_port());
    let mut both = tcp("e-2", &[nowhere(), nowhere()], port);
    both.standby = Some(target("e-1", &[standby.address]));
    rig.control.replace(vec![both]);
    assert_eq!(Talk::begin(port).hear(), "standby");
    let counts = rig.control.counts("e-2");
    assert_eq!((counts.refused, counts.failed, counts.upgraded), (2, 0, 0));
    rig.control.change(Some(tcp("e-2", &[nowhere()], port)));
    let mut rest = Vec::new();
    // The end or a reset: nobody is there.
    let _ = TcpStream::connect(at(port)).and_then(|mut stream| stream.read_to_end(&mut rest));
    assert!(rest.is_empty());
    until("counted", || rig.control.counts("e-2").failed == 1);
}

#[test]
fn a_port_that_is_taken_costs_nothing_else_and_is_opened_once_it_is_free() {
    let mut rig = Rig::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = taken.local_addr().expect("an address").port();
    let web = App::version("web");
    rig.control.replace(vec![tcp("e-1", &[web.address], port)]);
    assert_eq!(get(rig.http(), "/").text(), "web");
    let troubles = rig.control.troubles();
    assert!(troubles.len() == 1 && troubles[0].port == port, "{troubles:?}");
    assert!(troubles[0].why.contains("another program listens on"), "{troubles:?}");
    drop(taken);
    until("it is opened", || rig.control.troubles().is_empty());
    assert!(TcpStream::connect(at(port)).is_ok());
}

#[test]
fn a_port_that_no_route_names_is_closed_and_one_that_changes_hands_stays_open() {
    let mut rig = Rig::start();
    let (one, two, port, other) = (service("1"), service("2"), free_port(), free_port());
    let mut second = tcp("e-2", &[two.address], other);
    second.domains = vec!["second.test".into()];
    rig.control.replace(vec![tcp("e-1", &[one.address], port), second.clone()]);
    assert_eq!((Talk::begin(port).hear(), Talk::begin(other).hear()), ("1".into(), "2".into()));
    second.tcp_port = Some(port);
    rig.control.replace(vec![tcp("e-1", &[one.address], other), second.clone()]);
    assert_eq!((Talk::begin(port).hear(), Talk::begin(other).hear()), ("2".into(), "1".into()));
    rig.control.change(None);
    assert!(TcpStream::connect(at(other)).is_err(), "refused");
    assert_eq!(Talk::begin(port).hear(), "2");
    rig.restart();
    assert_eq!(Talk::begin(port).hear(), "2", "from the saved table");
}

#[test]
fn tables_that_cannot_be_are_refused() {
    let mut rig = Rig::start();
    let (app, port) = (service("1"), free_port());
    let good = tcp("e-1", &[app.address], port);
    rig.control.replace(vec![good.clone()]);
    let zero = AppRoute { tcp_port: Some(0), ..good.clone() };
    let mut shared = AppRoute { tls_passthrough: true, ..route("e-1", &[app.address]) };
    shared.domains.push("shop.test/api".into());
    let table = |routes: &[&AppRoute]| {
        let named = |(number, route): (usize, &&AppRoute)| {
            (format!("a-{number}").parse().expect("legal"), AppRoute::clone(route))
        };
        Request::Replace {
            table: Table { generation: 9, apps: routes.iter().enumerate().map(named).collect() },
        }
    };
    let change = |id: &str, route: &AppRoute| {
        let apps = [(id.parse().expect("legal"), Some(route.clone()))].into();
        Request::Change { base_generation: 1, generation: 2, apps }
    };
    for (request, word) in [
        (table(&[&zero]), "not a TCP port"),
        (table(&[&good, &good]), "is that of app a-0"),
        (table(&[&shared]), "cannot be passed on"),
        (change("a-1", &good), "is that of app a-0"),
    ] {
        match rig.control.ask(&request) {
            Reply::Refused { reason } => assert!(reason.contains(word), "{reason}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    rig.control.change(Some(good));
    assert_eq!(Talk::begin(port).hear(), "1", "as before");
}

#[test]
fn upgrades_and_crashes_of_the_router_close_no_port() {
    let mut supervised = Supervised::start();
    let control = |supervised: &Supervised| Control::connect(&supervised.place().join("control"));
    let versions: Vec<App> = (0..8).map(|number| service(&number.to_string())).collect();
    let port = free_port();
    let to = |number: usize| tcp(&format!("e-{number}"), &[versions[number].address], port);
    control(&supervised).replace(vec![to(0)]);
    let mut open = Talk::begin(port);
    assert_eq!(open.hear(), "0");
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
    let client = spawn(move || {
        let mut newest = 0;
        while !stopped.load(Ordering::SeqCst) {
            let version: u64 = Talk::begin(port).hear().parse().expect("a version");
            assert!(version >= newest, "version {version} after {newest}");
            newest = version;
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for number in 1..6 {
        teal_router::upgrade(&supervised.place().join("control")).expect("upgrades");
        supervised.wait_for_worker();
        control(&supervised).change(Some(to(number)));
        let before = count.load(Ordering::SeqCst);
        until("streams are made", || count.load(Ordering::SeqCst) > before + 20 || client.is_finished());
        assert_eq!(open.say("still here"), "still here");
    }
    stop.store(true, Ordering::SeqCst);
    client.join().expect("no client failed");
    assert_eq!(control(&supervised).counts("e-0").upgraded, 1, "of the worker before all others");

    supervised.kill_worker();
    assert_eq!(Talk::begin(port).hear(), "5", "it waits for the next worker");
    supervised.wait_for_worker();
    // A port that was opened by a worker that is gone closes, too: nobody holds a socket of it.
    control(&supervised).change(Some(route("e-6", &[versions[6].address])));
    until("the port is free", || TcpListener::bind(at(port)).is_ok());
    assert!(Path::new(&format!("/proc/{}", supervised.pid())).exists());
}
