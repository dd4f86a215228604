//! Bodies: unbuffered both ways, with back-pressure, and gone when the client is gone.

use crate::{
    app::{App, Seen, gate, respond},
    client::{Client, raw},
    rig::{Rig, route, until},
};
use std::{
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// More than all buffers of two loopback connections and the router together.
const TOO_MUCH: usize = 256 * 1024 * 1024;

#[test]
fn chunked_and_sized_bodies_arrive_whole() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        respond(asked, &body)
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let large = "abcdefgh".repeat(200_000);
    let mut client = Client::connect(rig.http()).expect("connects");
    assert_eq!(client.post("/", &large).expect("an answer").text(), large);
    let chunked = format!("{:x}\r\n{large}\r\n3\r\nend\r\n0\r\n\r\n", large.len());
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send((head.to_owned() + &chunked).as_bytes()).expect("sends");
    assert_eq!(client.answer().expect("an answer").text(), large + "end");
}

#[test]
fn a_slow_upload_reaches_the_app_as_it_comes() {
    let mut rig = Rig::with(|options| options.limits.answer = Duration::from_secs(5));
    let (arrived, seen) = std::sync::mpsc::channel();
    let arrived = std::sync::Mutex::new(arrived);
    let app = App::raw(Arc::<Seen>::default(), move |mut stream| {
        let mut bytes = [0; 4096];
        let mut all = String::new();
        while !all.ends_with("0\r\n\r\n") {
            let count = stream.read(&mut bytes).expect("reads");
            all += std::str::from_utf8(&bytes[..count]).expect("text");
            let _ = arrived.lock().expect("sound").send(all.clone());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).expect("sends");
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes()).expect("sends");
        // Would time out if the router waited for the whole body.
        while !seen.recv_timeout(Duration::from_secs(30)).expect("it arrives").contains(word) {}
    }
    client.send(b"0\r\n\r\n").expect("sends");
    assert_eq!(client.answer().expect("an answer").text(), "ok");
}

#[test]
fn a_client_that_reads_slowly_holds_the_app_back() {
    let mut rig = Rig::start();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let app = App::answering(move |asked| {
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n").as_bytes())?;
        while count.load(Ordering::SeqCst) < TOO_MUCH {
            asked.stream.send(&[b'x'; 65536])?;
            count.fetch_add(65536, Ordering::SeqCst);
        }
        Ok(())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    // Held back: what the app could write stands still, far from the end.
    let mut last = 0;
    let mut still = 0;
    until("it stands still", || {
        let now = written.load(Ordering::SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        still >= 40
    });
    assert!(last < TOO_MUCH / 2, "{last} bytes are in buffers");
    let mut body = std::io::Read::take(&mut client.stream, TOO_MUCH as u64);
    let whole = std::io::copy(&mut body, &mut std::io::sink()).expect("the rest");
    assert_eq!(whole, TOO_MUCH as u64);
    until("counted down", || rig.control.counts("e-1").in_flight == 0);
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    let app = App::answering(move |_| {
        let _ = wait.pass();
        Err(std::io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    until("in flight", || rig.control.counts("e-1").in_flight == 1);
    drop(client);
    until("gone", || rig.control.counts("e-1").in_flight == 0);
    assert_eq!(rig.control.counts("e-1").failed, 0, "the client's doing");
    drop(open);
}

#[test]
fn an_upload_that_breaks_off_is_the_clients_doing() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf").expect("sends");
    until("in flight", || rig.control.counts("e-1").in_flight == 1);
    drop(client);
    until("gone", || rig.control.counts("e-1").in_flight == 0);
    assert_eq!(rig.control.counts("e-1").failed, 0);
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        respond(asked, &body)
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head.as_bytes()).expect("sends");
    assert_eq!(client.head().expect("an interim answer").status, 100);
    client.send(b"body").expect("sends");
    assert_eq!(client.answer().expect("an answer").text(), "body");
}

#[test]
fn trailers_reach_a_client_that_wants_them() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
        asked.stream.send((head.to_owned() + "2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n").as_bytes())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "GET / HTTP/1.1\r\nHost: shop.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    client.send(head.as_bytes()).expect("sends");
    client.head().expect("a head");
    assert_eq!(client.chunk().expect("a chunk"), b"ok");
    assert_eq!(client.line().expect("a line"), "0");
    assert_eq!(client.line().expect("a trailer"), "x-sum: 7");
}

#[test]
fn an_answer_without_length_ends_with_its_connection() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked.stream.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")?;
        Err(std::io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let answer = raw(rig.http(), "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "all of it"));
}

#[test]
fn head_requests_have_a_length_and_no_body() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| asked.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..3 {
        client.send(b"HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
        let head = client.head().expect("a head");
        assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "1234"));
    }
    assert_eq!(app.seen.connections.load(Ordering::SeqCst), 1, "kept alive");
}

#[test]
fn an_app_that_refuses_an_upload_early_is_heard() {
    let mut rig = Rig::start();
    let app = App::raw(Arc::<Seen>::default(), |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let answer = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!";
        stream.write_all(answer.as_bytes()).expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    for _ in 0..50 {
        let mut client = Client::connect(rig.http()).expect("connects");
        let head = format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {TOO_MUCH}\r\n\r\n");
        client.send(head.as_bytes()).expect("sends");
        client.send(&vec![b'x'; 300_000]).expect("sends");
        let answer = client.answer().expect("an answer");
        assert_eq!((answer.status, answer.text()), (413, "no!"));
    }
    assert_eq!(rig.control.counts("e-1").failed, 0);
}
