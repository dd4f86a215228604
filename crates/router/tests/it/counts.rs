//! What the router counts is what clients saw: each answer once, every byte, and what is open while it is open.

use crate::{
    app::{App, gate},
    client::Client,
    rig::{Rig, nowhere, route, until},
};
use std::{io::Write as _, net::TcpStream, thread::spawn};
use teal_core::{
    control::{Reply, Request, VERSION},
    route::{Absent, AppRoute},
};

/// Answers with the status that the path names.
fn statuses() -> App {
    App::answering(|asked| {
        let status = asked.path.trim_start_matches('/').to_owned();
        asked.stream.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok").as_bytes())
    })
}

fn other(domain: &str, environment: &str) -> AppRoute {
    AppRoute { name: "other".into(), domains: vec![domain.into()], ..route(environment, &[nowhere()]) }
}

#[test]
fn every_answer_is_counted_once_by_class_and_span() {
    let (mut rig, app) = (Rig::start(), statuses());
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let address = rig.http();
    let client = move || {
        let mut client = Client::connect(address).expect("connects");
        for status in [200, 204, 302, 404, 404, 500] {
            for _ in 0..5 {
                client
                    .send(format!("HEAD /{status} HTTP/1.1\r\nHost: shop.test\r\n\r\n").as_bytes())
                    .expect("sent");
                assert_eq!(client.head().expect("an answer").status, status);
            }
        }
    };
    let clients: Vec<_> = (0..6).map(|_| spawn(client)).collect();
    clients.into_iter().for_each(|client| client.join().expect("no panic"));
    let served = rig.control.served("e-1");
    assert_eq!(served.answers, [0, 60, 30, 60, 30]);
    assert_eq!(served.latency.count(), served.answered());
    assert!(served.latency.sum_ns > 0 && served.latency.quantile_us(0.99) >= served.latency.quantile_us(0.5));
    assert_eq!((served.traffic.requests, served.traffic.server_errors), (180, 30));
    assert!(served.own.is_empty(), "{:?}", served.own);
}

#[test]
fn the_routers_own_answers_are_counted_with_their_reason() {
    let (mut rig, app) = (Rig::start(), App::answering(|_| Err(std::io::ErrorKind::Other.into())));
    let absent = AppRoute { live: None, absent: Some(Absent::Stopped), ..other("absent.test", "e-3") };
    rig.control.replace(vec![route("e-1", &[app.address]), other("dead.test", "e-2"), absent]);
    let ask = |text: &str| {
        let mut client = Client::connect(rig.http()).expect("connects");
        client.send(text.as_bytes()).expect("sent");
        client.answer().expect("an answer").status
    };
    let get = |host: &str| format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    let statuses = ["shop.test", "dead.test", "absent.test", "unknown.test"].map(|host| ask(&get(host)));
    assert_eq!(statuses, [502, 502, 503, 404]);
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
    let reason = |word: &str| [(word.to_owned(), 1)].into();
    let (broken, dead) = (rig.control.served("e-1"), rig.control.served("e-2"));
    assert_eq!((broken.own, dead.own), (reason("broken"), reason("unreachable")));
    for (answers, spans) in [(broken.answers, broken.latency), (dead.answers, dead.latency)] {
        assert_eq!((answers, spans.count()), ([0, 0, 0, 0, 1], 1));
    }
    let edge = rig.control.metrics().edge;
    let counted = ["absent", "unknown_domain", "refused"].map(|word| edge.unrouted[word]);
    assert_eq!((counted, edge.unrouted.values().sum::<u64>()), ([1, 1, 1], 3));
}

#[test]
fn every_byte_is_counted_both_ways_and_pipelined_requests_get_their_own() {
    let (mut rig, app) = (Rig::start(), App::version("twelve bytes"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let one = "GET /a HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let two =
        "POST /b HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let three = "GET /c HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(rig.http()).expect("connects");
    let sent = [one, two, three].concat();
    stream.write_all(sent.as_bytes()).expect("sent");
    let got = std::io::Read::bytes(stream).map_while(Result::ok).count() as u64;
    until("all bytes are counted", || rig.control.served("e-1").bytes_out == got);
    let served = rig.control.served("e-1");
    assert_eq!((served.bytes_in, served.answers[1]), (sent.len() as u64, 3));
    let edge = rig.control.metrics().edge;
    assert_eq!((edge.bytes_in, edge.bytes_out), (0, 0));
}

#[test]
fn a_long_answer_is_seen_before_it_has_ended() {
    const HALF: usize = 1024 * 1024;
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * HALF).as_bytes())?;
        asked.stream.send(&vec![b'x'; HALF])?;
        wait.pass()?;
        asked.stream.send(&vec![b'x'; HALF])
    });
    let mut rig = Rig::start();
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sent");
    let head = client.head().expect("a head");
    let mut half = vec![0; HALF];
    std::io::Read::read_exact(&mut client.stream, &mut half).expect("half");
    until("half of it is counted", || rig.control.served("e-1").bytes_out > HALF as u64 / 2);
    let served = rig.control.served("e-1");
    assert_eq!((served.traffic.in_flight, served.answers[1], served.latency.count()), (1, 1, 1));
    open.send(()).expect("waits");
    std::io::Read::read_exact(&mut client.stream, &mut half).expect("the rest");
    until("all of it is counted", || rig.control.served("e-1").bytes_out > 2 * HALF as u64);
    assert_eq!(head.status, 200);
}

#[test]
fn websockets_are_counted_while_they_are_open_with_their_bytes() {
    let (mut rig, app) = (Rig::start(), App::websocket("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let dial = || {
        let stream = TcpStream::connect(rig.http()).expect("connects");
        tokio_tungstenite::tungstenite::client("ws://shop.test/", stream).expect("upgrades").0
    };
    let (mut first, second) = (dial(), dial());
    until("both are open", || rig.control.served("e-1").websockets == 2);
    let before = rig.control.served("e-1");
    assert_eq!((before.answers[0], before.latency.count()), (2, 2));
    let text = "x".repeat(50_000);
    first.send(text.into()).expect("sent");
    assert_eq!(first.read().expect("an echo").len(), 50_000);
    until("the echo is counted", || {
        let now = rig.control.served("e-1");
        now.bytes_in > before.bytes_in + 50_000 && now.bytes_out > before.bytes_out + 50_000
    });
    drop((first, second));
    until("none is open", || rig.control.served("e-1").websockets == 0);
}

#[test]
fn connections_and_handshakes_are_counted() {
    let mut rig = Rig::with(|options| options.https = vec![([127, 0, 0, 1], 0).into()]);
    let https = rig.router.as_ref().expect("runs").https()[0];
    let connections: Vec<_> = (0..3).map(|_| TcpStream::connect(rig.http()).expect("connects")).collect();
    until("they are open", || rig.control.metrics().edge.connections == 3);
    drop(connections);
    until("they are gone", || rig.control.metrics().edge.connections == 0);
    TcpStream::connect(https).expect("connects").write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    until("the handshake has failed", || rig.control.metrics().edge.handshakes_failed == 1);
    let edge = rig.control.metrics().edge;
    assert_eq!((edge.accepted, edge.handshakes), (4, 0));
}

#[test]
fn a_server_that_cannot_do_without_metrics_is_accepted() {
    let mut rig = Rig::start();
    let requires = vec![teal_core::metrics::CAPABILITY.to_owned()];
    let reply = rig.control.ask(&Request::Hello { version: VERSION, requires: requires.clone() });
    let Reply::Hello { capabilities, .. } = reply else { panic!("{reply:?}") };
    assert!(requires.iter().all(|name| capabilities.contains(name)));
    let metrics = rig.control.metrics();
    assert!(metrics.since <= metrics.at && metrics.since.0 > 0);
}
