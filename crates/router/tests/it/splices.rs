//! Large bodies whose length is known, which go from socket to socket: whole, counted, held back and broken off like any other.

use crate::{
    app::{App, gate, respond},
    client::Client,
    rig::{Control, Rig, route, until},
    supervisor::Supervised,
};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::Ordering,
    time::Duration,
};

/// Sizes around everything that decides how a body goes.
const SIZES: &[usize] = &[
    0, 1, 16_000, 16_384, 16_385, 32_768, 65_536, 65_537, 100_000, 131_072, 262_144, 262_145, 1_000_000,
    7_654_321,
];

/// More than all buffers of two loopback connections and the router together.
const TOO_MUCH: usize = 256 * 1024 * 1024;

/// A body of which no two kibibytes are alike, another one for each size.
fn body(size: usize) -> String {
    let letter = |at: usize| char::from(b'a' + u8::try_from((at * 7 + at / 251 + size) % 26).expect("small"));
    // Repeated with a prime number as its length: unoptimised, each letter takes its time.
    let mut body = (0..7919.min(size)).map(letter).collect::<String>().repeat(size / 7919 + 1);
    body.truncate(size);
    body
}

/// Answers `/<size>` with a body of that size, and says of a `POST` what it got.
fn sizes() -> App {
    App::answering(|asked| match asked.path.trim_start_matches('/').parse() {
        Ok(size) if asked.head.starts_with("GET") => respond(asked, &body(size)),
        _ => {
            let same = asked.body == body(asked.body.len()).as_bytes();
            let said = format!("{} {same}", asked.body.len());
            respond(asked, &said)
        }
    })
}

#[test]
fn large_bodies_arrive_whole_on_kept_connections_and_are_counted() {
    let (mut rig, app) = (Rig::start(), sizes());
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for size in SIZES {
        assert_eq!(client.get(&format!("/{size}")).expect("an answer").text(), body(*size), "{size}");
        assert_eq!(client.post("/", &body(*size)).expect("an answer").text(), format!("{size} true"));
    }
    assert_eq!(app.seen.connections.load(Ordering::SeqCst), 1, "both sides are kept");
    drop(client);
    let all: u64 = SIZES.iter().map(|size| *size as u64).sum();
    until("all is counted", || rig.control.counts("e-1").in_flight == 0);
    let served = rig.control.served("e-1");
    let heads = 400 * SIZES.len() as u64;
    assert!((all..all + heads).contains(&served.bytes_in), "{} of {all}", served.bytes_in);
    assert!((all..all + heads).contains(&served.bytes_out), "{} of {all}", served.bytes_out);
}

#[test]
fn a_request_behind_a_large_upload_is_the_next_one() {
    let (mut rig, app) = (Rig::start(), sizes());
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for size in SIZES {
        let upload =
            format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {size}\r\n\r\n{}", body(*size));
        client.send((upload + "GET /70000 HTTP/1.1\r\nHost: shop.test\r\n\r\n").as_bytes()).expect("sends");
        assert_eq!(client.answer().expect("an answer").text(), format!("{size} true"));
        assert_eq!(client.answer().expect("an answer").text(), body(70_000));
    }
}

#[test]
fn a_large_answer_that_the_app_breaks_off_does_not_look_whole() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")?;
        asked.stream.send(body(1_000_000).as_bytes())?;
        Err(std::io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    for _ in 0..20 {
        let mut client = Client::connect(rig.http()).expect("connects");
        client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
        assert_eq!(client.head().expect("a head").status, 200);
        let mut arrived = Vec::new();
        // An end or a reset; the app had closed with nothing unread, so all that it sent can be there.
        let _ = client.stream.read_to_end(&mut arrived);
        assert!(body(1_000_000).as_bytes().starts_with(&arrived), "{} bytes", arrived.len());
    }
    until("all are counted", || rig.control.counts("e-1").failed == 20);
    assert_eq!(rig.control.counts("e-1").in_flight, 0);
}

/// An app that begins an answer of [`TOO_MUCH`], and sends it as long as somebody takes it.
fn endless() -> App {
    App::answering(|asked| {
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n").as_bytes())?;
        let piece = vec![b'x'; 1 << 20];
        (0..TOO_MUCH >> 20).try_for_each(|_| asked.stream.send(&piece))
    })
}

/// A client in the middle of such an answer.
fn in_the_middle(rig: &Rig) -> Client {
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    assert_eq!(client.head().expect("a head").status, 200);
    client.stream.read_exact(&mut vec![0; 2_000_000]).expect("a part");
    client
}

#[test]
fn a_client_that_leaves_a_large_answer_ends_it() {
    let (mut rig, app) = (Rig::start(), endless());
    rig.control.replace(vec![route("e-1", &[app.address])]);
    for _ in 0..20 {
        drop(in_the_middle(&rig));
    }
    until("all are gone", || rig.control.counts("e-1").in_flight == 0);
    assert_eq!(rig.control.counts("e-1").failed, 0, "the clients' doing");
}

#[test]
fn a_cut_ends_a_large_answer_in_the_middle() {
    let (mut rig, app) = (Rig::start(), endless());
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut clients: Vec<Client> = (0..4).map(|_| in_the_middle(&rig)).collect();
    assert_eq!(rig.control.counts("e-1").in_flight, 4);
    rig.control.cut("e-1", 0);
    until("all are ended", || rig.control.counts("e-1").in_flight == 0);
    for client in &mut clients {
        let mut rest = Vec::new();
        let _ = client.stream.read_to_end(&mut rest);
        assert!(rest.len() + 2_000_000 < TOO_MUCH, "it does not look whole");
    }
}

#[test]
fn an_upload_that_nobody_takes_is_held_back() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    let app = App::raw(std::sync::Arc::default(), move |stream| {
        let _ = wait.pass();
        let mut stream = stream;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let count =
            std::io::copy(&mut (&stream).take(TOO_MUCH as u64), &mut std::io::sink()).expect("a body");
        let said = count.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len());
        stream.write_all(answer.as_bytes()).expect("answers");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {TOO_MUCH}\r\n\r\n");
    client.send(head.as_bytes()).expect("sends");
    let sent = stuck(client.stream.get_ref());
    assert!(sent < TOO_MUCH / 2, "{sent} bytes are in buffers");
    open.send(()).expect("the app waits");
    client.send(&vec![b'x'; TOO_MUCH - sent]).expect("the rest");
    assert_eq!(client.answer().expect("an answer").text(), TOO_MUCH.to_string());
}

/// Sends until nothing is taken any more; how much was.
fn stuck(stream: &TcpStream) -> usize {
    let (mut stream, piece) = (stream, [b'x'; 65536]);
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("sets");
    let mut sent = 0;
    while sent < TOO_MUCH / 2 {
        match stream.write(&piece[..piece.len().min(TOO_MUCH - sent)]) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    stream.set_write_timeout(None).expect("sets");
    sent
}

/// What a process holds open: descriptors in all, and ends of pipes.
fn open(process: i32) -> (usize, usize) {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd")).expect("a process of ours");
    let links: Vec<_> = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    let pipes = links.iter().filter(|link| link.to_string_lossy().starts_with("pipe:")).count();
    (links.len(), pipes)
}

/// One exchange of each kind that ends early, and one that does not.
fn exchanges(address: std::net::SocketAddr) {
    let mut whole = Client::connect(address).expect("connects");
    assert_eq!(whole.get("/1000000").expect("an answer").body.len(), 1_000_000);
    let mut leaves = Client::connect(address).expect("connects");
    leaves.send(b"GET /7654321 HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    leaves.head().expect("a head");
    leaves.stream.read_exact(&mut vec![0; 70_000]).expect("a part");
    let mut sends = Client::connect(address).expect("connects");
    sends.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1000000\r\n\r\n").expect("sends");
    sends.send(body(300_000).as_bytes()).expect("sends");
}

#[test]
fn nothing_stays_open_behind_large_bodies() {
    let mut supervised = Supervised::start();
    let (address, app) = (supervised.wait_for_worker(), sizes());
    let mut control = Control::connect(&supervised.place().join("control"));
    control.replace(vec![route("e-1", &[app.address])]);
    let at_first = open(supervised.worker());
    for _ in 0..100 {
        exchanges(address);
    }
    until("all are over", || control.counts("e-1").in_flight == 0);
    // Two workers keep the few pipes that they needed at once; connections are closed, pooled ones after a second.
    until("what was opened is closed", || {
        let (all, pipes) = open(supervised.worker());
        all - pipes <= at_first.0 - at_first.1
    });
    let kept = open(supervised.worker()).1 - at_first.1;
    assert!((2..40).contains(&kept), "{kept} ends of pipes");
}
