//! What an app, and what one client, may have under way.

use crate::{
    app::{App, gate, respond},
    client::{Client, get},
    rig::{Rig, route, until},
};
use std::{
    io::Read as _,
    net::{IpAddr, Ipv4Addr, TcpStream},
    thread::spawn,
    time::Duration,
};
use teal_core::route::AppRoute;

fn limited(app: &App, max_requests: u32, max_requests_per_client: u32) -> AppRoute {
    AppRoute { max_requests, max_requests_per_client, ..route("e-1", &[app.address]) }
}

#[test]
fn more_requests_than_an_app_may_have_are_told_to_come_again() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        if asked.path == "/slow" {
            wait.pass()?;
        }
        respond(asked, "done")
    });
    rig.control.replace(vec![limited(&app, 2, 0)]);
    let address = rig.http();
    let slow: Vec<_> = (0..2).map(|_| spawn(move || get(address, "/slow").status)).collect();
    until("both in flight", || rig.control.counts("e-1").in_flight == 2);
    let mut client = Client::connect(address).expect("connects");
    for _ in 0..3 {
        let refused = client.get("/").expect("answers on the same connection");
        assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "1"));
        assert!(refused.text().contains("max_requests)"), "{}", refused.text());
    }
    // A switch does not make room: what is in flight is in flight.
    rig.control.change(Some(AppRoute {
        live: Some(crate::rig::target("e-2", &[app.address])),
        ..limited(&app, 2, 0)
    }));
    assert_eq!(client.get("/").expect("answers").status, 503);
    rig.control.change(Some(limited(&app, 3, 0)));
    assert_eq!(client.get("/").expect("answers").status, 200);
    rig.control.change(Some(limited(&app, 2, 0)));
    for _ in &slow {
        open.send(()).expect("waits");
    }
    slow.into_iter().for_each(|thread| assert_eq!(thread.join().expect("no panic"), 200));
    // Whoever has seen an answer's last byte sees its place free: not one of these is refused.
    for _ in 0..200 {
        assert_eq!(client.get("/").expect("answers").status, 200);
    }
}

#[test]
fn one_client_cannot_take_what_is_everybodys() {
    let mut rig = Rig::with(|options| options.trusted = vec![IpAddr::from(Ipv4Addr::LOCALHOST)]);
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        if asked.path == "/slow" {
            wait.pass()?;
        }
        respond(asked, "done")
    });
    rig.control.replace(vec![limited(&app, 0, 1)]);
    let address = rig.http();
    let ask = move |path: &str, of: &str| {
        let mut client = Client::connect(address).expect("connects");
        let head = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: {of}\r\n\r\n");
        client.send(head.as_bytes()).expect("sends");
        client.answer().expect("answers")
    };
    let slow = spawn(move || ask("/slow", "203.0.113.9").status);
    until("in flight", || rig.control.counts("e-1").in_flight == 1);
    let refused = ask("/", "198.51.100.7, 203.0.113.9");
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (429, "1"));
    assert!(refused.text().contains("max_requests_per_client"), "{}", refused.text());
    assert_eq!(ask("/", "203.0.113.9, 203.0.113.10").status, 200, "another client is not concerned");
    open.send(()).expect("waits");
    assert_eq!(slow.join().expect("no panic"), 200);
    for _ in 0..50 {
        assert_eq!(ask("/", "203.0.113.9").status, 200);
    }
}

#[test]
fn streams_without_an_end_take_no_place_for_ever() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        if asked.path == "/events" {
            asked.stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")?;
            wait.pass()?;
            return Err(std::io::ErrorKind::Other.into());
        }
        respond(asked, "done")
    });
    rig.control.replace(vec![limited(&app, 1, 1)]);
    let mut events = Client::connect(rig.http()).expect("connects");
    events.send(b"GET /events HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    assert_eq!(events.head().expect("a head").status, 200);
    until("a stream", || rig.control.counts("e-1").upgraded == 1);
    assert_eq!(get(rig.http(), "/").status, 200);
    open.send(()).expect("waits");
}

#[test]
fn a_client_has_no_more_connections_than_it_may() {
    let mut rig = Rig::with(|options| options.limits.connections_per_client = 2);
    let app = App::version("one");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut open: Vec<Client> = (0..2).map(|_| Client::connect(rig.http()).expect("connects")).collect();
    for client in &mut open {
        assert_eq!(client.get("/").expect("answers").status, 200);
    }
    let mut third = TcpStream::connect(rig.http()).expect("connects");
    third.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
    assert_eq!(third.read(&mut [0]).expect("ends"), 0, "it is closed unanswered");
    drop(open.pop());
    until("a place is free", || Client::connect(rig.http()).and_then(|mut client| client.get("/")).is_ok());
}

#[test]
fn a_proxy_may_have_as_many_connections_as_it_likes() {
    let mut rig = Rig::with(|options| {
        options.limits.connections_per_client = 1;
        options.trusted = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    });
    let app = App::version("one");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut open: Vec<Client> = (0..4).map(|_| Client::connect(rig.http()).expect("connects")).collect();
    assert!(open.iter_mut().all(|client| client.get("/").expect("answers").status == 200));
}

#[test]
fn who_is_announced_is_who_is_counted() {
    let mut rig = Rig::with(|options| {
        options.limits.connections_per_client = 1;
        options.trusted = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
        options.proxy_protocol = true;
    });
    let app = App::version("one");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let ask = |of: &str| {
        let mut client = Client::connect(rig.http())?;
        client.send(format!("PROXY TCP4 {of} 192.0.2.1 1 80\r\n").as_bytes())?;
        client.get("/").map(|answer| (answer.status, client))
    };
    let (status, _kept) = ask("203.0.113.9").expect("answers");
    assert_eq!(status, 200);
    assert!(ask("203.0.113.9").is_err());
    assert_eq!(ask("203.0.113.10").expect("answers").0, 200);
}
