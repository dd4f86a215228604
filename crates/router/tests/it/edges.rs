//! What is refused, what is rewritten, and the pages that say why.

use crate::{
    app::App,
    client::{Client, get, raw},
    rig::{Rig, route, until},
};
use std::{io::ErrorKind, time::Duration};
use teal_core::route::{Absent, AppRoute};

fn absent(domain: &str, why: Absent) -> AppRoute {
    let domains = vec![domain.to_owned()];
    AppRoute { name: "my <shop>".into(), domains, absent: Some(why), ..AppRoute::default() }
}

fn ask(rig: &Rig, host: &str, more: &str) -> crate::client::Answer {
    raw(rig.http(), &format!("GET / HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).expect("an answer")
}

#[test]
fn pages_say_what_is_wrong() {
    let mut rig = Rig::start();
    rig.control.replace(vec![
        absent("stopped.test", Absent::Stopped),
        absent("starting.test", Absent::Starting),
        absent("never.test", Absent::NeverDeployed),
    ]);
    let unknown = ask(&rig, "nobody.test", "");
    assert_eq!((unknown.status, unknown.text()), (404, "No app has the domain nobody.test.\n"));
    let stopped = ask(&rig, "stopped.test", "");
    assert_eq!((stopped.status, stopped.text()), (503, "my <shop> is stopped.\n"));
    assert!(!stopped.headers.contains_key("retry-after"));
    let starting = ask(&rig, "STARTING.test:80", "");
    assert_eq!((starting.status, starting.headers["retry-after"].as_str()), (503, "1"));
    let never = ask(&rig, "never.test.", "Accept: text/html,*/*;q=0.8\r\n");
    assert_eq!((never.status, never.headers["content-type"].as_str()), (404, "text/html; charset=utf-8"));
    assert!(never.text().contains("my &lt;shop&gt; was never deployed"), "{}", never.text());
    assert_eq!(never.headers["cache-control"], "no-store");
}

#[test]
fn requests_with_no_host_or_two_are_refused() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let lines = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.test\r\nHost: shop.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.test, other.test\r\n\r\n",
        "GET http://shop.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil@shop.test\r\n\r\n",
    ];
    for request in lines {
        let answer = raw(rig.http(), request).expect("an answer");
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (400, "close"), "{request}");
    }
    let connect = raw(rig.http(), "CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(connect.expect("an answer").status, 405);
    assert!(app.last_head().is_empty(), "nothing was forwarded");
    let absolute = raw(rig.http(), "GET http://shop.test/x?y HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert_eq!(absolute.expect("an answer").status, 200);
    assert!(app.last_head().starts_with("GET /x?y HTTP/1.1\n"), "{}", app.last_head());
}

#[test]
fn requests_whose_end_is_in_doubt_go_no_further() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    for lines in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: +3\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: shop.test\r\n{lines}\r\nabc");
        if let Ok(answer) = raw(rig.http(), &request) {
            assert_eq!(answer.status, 400, "{lines}");
        }
    }
    let old =
        raw(rig.http(), "POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert!(old.is_err() || old.is_ok_and(|answer| answer.status == 400));
    assert!(app.last_head().is_empty(), "nothing was forwarded: {}", app.last_head());
}

#[test]
fn a_length_beside_chunks_is_dropped_and_the_connection_ends() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    let both = "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.send((both.to_owned() + smuggled).as_bytes()).expect("sends");
    let answer = client.answer().expect("an answer");
    assert!(answer.status == 400 || answer.headers["connection"] == "close");
    // A reset is an end, too: the router did not read what followed.
    let end = client.line().expect_err("no second answer").kind();
    assert!(matches!(end, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{end}");
    assert!(!app.last_head().contains("smuggled") && !app.last_head().contains("content-length"));
}

#[test]
fn the_app_sees_who_asks_and_nothing_of_the_connection() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let lines = "Connection: x-private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: 5\r\nX-Forwarded-For: 9.9.9.9\r\nX-Kept: 1\r\n";
    assert_eq!(ask(&rig, "Shop.Test:1234", lines).status, 200);
    let head = app.last_head();
    for line in [
        "host: shop.test:1234\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: shop.test:1234\n",
        "forwarded: for=127.0.0.1;host=\"shop.test:1234\";proto=http\n",
        "x-request-id: ",
        "x-kept: 1\n",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    for gone in ["x-private", "keep-alive", "9.9.9.9", "connection:"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
}

#[test]
fn answers_lose_what_concerned_the_apps_connection() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        let lines = "Connection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\nSet-Cookie: a\r\n";
        asked.stream.send(format!("HTTP/1.1 204 No Content\r\n{lines}\r\n").as_bytes())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let answer = get(rig.http(), "/");
    assert_eq!((answer.status, answer.headers["x-kept"].as_str()), (204, "1"));
    assert_eq!(answer.headers["set-cookie"], "a");
    for gone in ["x-hop", "keep-alive", "connection"] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
}

#[test]
fn heads_are_limited_in_size_and_time() {
    let mut rig = Rig::with(|options| {
        options.limits.idle = Duration::from_millis(100);
        options.limits.head_bytes = 8192;
        options.limits.header_lines = 20;
    });
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let long = format!("X-Long: {}\r\n", "x".repeat(10_000));
    assert_eq!(ask(&rig, "shop.test", &long).status, 431);
    assert_eq!(ask(&rig, "shop.test", &"X-Many: 1\r\n".repeat(30)).status, 431);
    let mut slow = Client::connect(rig.http()).expect("connects");
    slow.send(b"GET / HTTP/1.1\r\nHost:").expect("sends");
    // The router ends it; whether it says 408 before that is its own choice.
    let mut rest = String::new();
    let _ = std::io::Read::read_to_string(&mut slow.stream, &mut rest);
    assert!(!rest.contains("200"));
    assert!(app.last_head().is_empty());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        let path = asked.path.clone();
        crate::app::respond(asked, &path)
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let requests = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
    client.send(requests.collect::<String>().as_bytes()).expect("sends");
    for number in 0..20 {
        assert_eq!(client.answer().expect("an answer").text(), format!("/{number}"));
    }
}

#[test]
fn stopping_finishes_what_is_in_flight() {
    let mut rig = Rig::start();
    let (open, wait) = crate::app::gate();
    let app = App::answering(move |asked| {
        wait.pass().expect("opened");
        crate::app::respond(asked, "whole")
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let address = rig.http();
    let mut idle = Client::connect(address).expect("connects");
    let waiting = std::thread::spawn(move || get(address, "/"));
    until("in flight", || rig.control.counts("e-1").in_flight == 1);
    let router = rig.router.take().expect("runs");
    let stopping = std::thread::spawn(move || router.stop());
    until("nobody is accepted", || std::net::TcpStream::connect(address).is_err());
    open.send(()).expect("waits");
    let answer = waiting.join().expect("no panic");
    assert_eq!((answer.text(), answer.headers["connection"].as_str()), ("whole", "close"));
    stopping.join().expect("stops");
    assert!(idle.line().is_err(), "idle connections are closed");
}
