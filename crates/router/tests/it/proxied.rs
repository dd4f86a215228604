//! Connections that a proxy of the operator's passes on: whom it names by the PROXY protocol is who asks, and nobody else may name anybody.

use crate::{
    app::App,
    client::Client,
    rig::{Rig, route},
    secure::{Trust, give, https},
};
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 51221 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xcb\0\x71\x09\xc0\0\x02\x01\xc8\x15\0\x50\x01\0\x01h";
const SIX: &[u8] = b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n";

/// A router behind a proxy on this very host; `also` is trusted, too.
fn behind(also: &[IpAddr]) -> (Rig, App) {
    let mut rig = Rig::with(|options| {
        options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        options.trusted = [&[IpAddr::from(Ipv4Addr::LOCALHOST)], also].concat();
        options.proxy_protocol = true;
    });
    let app = App::version("one");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    (rig, app)
}

/// All that is answered to these bytes, until the router closes.
fn answered(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
    // The router may have closed already; then there is no answer, which is what is looked at.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_announced_client_is_who_asks() {
    let (rig, app) = behind(&[]);
    for (header, seen, forwarded) in [
        (V1, "203.0.113.9", "203.0.113.9"),
        (V2, "203.0.113.9", "203.0.113.9"),
        (SIX, "2001:db8::7", "\"[2001:db8::7]\""),
        (LOCAL, "127.0.0.1", "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", "127.0.0.1"),
    ] {
        let mut client = Client::connect(rig.http()).expect("connects");
        client.send(&[header, GET, GET].concat()).expect("sends");
        for _ in 0..2 {
            assert_eq!(client.answer().expect("answers").text(), "one");
            let head = app.last_head();
            assert!(head.contains(&format!("x-forwarded-for: {seen}\n")), "{head}");
            assert!(head.contains(&format!("forwarded: for={forwarded};")), "{head}");
        }
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let (rig, app) = behind(&[]);
    for header in [V1, V2] {
        let mut client = Client::connect(rig.http()).expect("connects");
        for byte in [header, GET].concat() {
            client.send(&[byte]).expect("sends");
        }
        assert_eq!(client.answer().expect("answers").status, 200);
        assert!(app.last_head().contains("x-forwarded-for: 203.0.113.9\n"));
    }
}

#[test]
fn a_header_comes_before_tls() {
    let (mut rig, app) = behind(&[]);
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    give(&mut rig, vec![own], Vec::new());
    for header in [V1, V2] {
        let mut stream = TcpStream::connect(https(&rig)).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
        stream.write_all(header).expect("sends");
        let name = ServerName::try_from("shop.test").expect("a name");
        let session = ClientConnection::new(trust.client(&[]), name).expect("legal");
        let mut stream = StreamOwned::new(session, stream);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("one"), "{answer}");
        let head = app.last_head();
        assert!(head.contains("x-forwarded-for: 203.0.113.9\n") && head.contains(";proto=https\n"), "{head}");
    }
}

#[test]
fn what_does_not_begin_with_a_header_is_closed_unanswered() {
    let (rig, app) = behind(&[]);
    let wrong: &[u8] = b"PROXY TCP4 203.0.113.999 192.0.2.1 51221 80\r\n";
    for bytes in [GET, wrong, &V2[..11], &[V1, V1, GET].concat()] {
        let answer = answered(rig.http(), &[bytes, GET].concat());
        // A second header is a request to whoever stands behind the first one, and none.
        assert!(answer.is_empty() || bytes.len() > 100 && answer.contains(" 400 "), "{answer}");
    }
    assert!(app.last_head().is_empty(), "nothing was forwarded");
}

#[test]
fn strangers_speak_for_themselves_only() {
    let mut rig = Rig::with(|options| {
        options.trusted = vec![IpAddr::from([192, 0, 2, 99])];
        options.proxy_protocol = true;
    });
    let app = App::version("one");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    assert!(answered(rig.http(), &[V1, GET].concat()).starts_with("HTTP/1.1 400"));
    assert!(app.last_head().is_empty());
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(GET).expect("sends");
    assert_eq!(client.answer().expect("answers").status, 200);
    assert!(app.last_head().contains("x-forwarded-for: 127.0.0.1\n"), "{}", app.last_head());
}

#[test]
fn a_trusted_proxy_behind_another_one_is_believed() {
    let (rig, app) = behind(&[IpAddr::from([203, 0, 113, 9])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(&[V2, GET].concat()).expect("sends");
    assert_eq!(client.answer().expect("answers").status, 200);
    assert!(app.last_head().contains("x-forwarded-for: 198.51.100.1, 203.0.113.9\n"), "{}", app.last_head());
}

#[test]
fn a_proxy_that_says_nothing_is_let_go() {
    let rig = Rig::with(|options| {
        options.trusted = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
        options.proxy_protocol = true;
        options.limits.announce = Duration::from_millis(100);
    });
    for bytes in [&b""[..], b"PROXY ", &V2[..20]] {
        assert_eq!(answered(rig.http(), bytes), "");
    }
}
