//! Clients that take what waits for them too slowly to be worth an instance's connection, and those that only look like it.

use crate::{
    app::{App, gate},
    client::Client,
    rig::{Rig, route, until},
    streams::socket,
};
use std::{io::Read as _, time::Duration};
use teal_router::Options;
use tokio_tungstenite::tungstenite::Message;

/// More than a client takes in these tests before it is given up.
const TOO_MUCH: usize = 1024 * 1024 * 1024;

/// No client is as fast, so that it is only a matter of whether it is judged.
pub(crate) fn hurried(options: &mut Options) {
    options.limits.stalled = Duration::from_millis(200);
    options.limits.answer_rate = u64::MAX / 1024;
}

/// An app whose answer goes on until nobody takes it.
fn pouring() -> App {
    App::answering(|asked| {
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n").as_bytes())?;
        loop {
            asked.stream.send(&[b'x'; 65536])?;
        }
    })
}

/// Takes a little again and again until there is no more; how much that was.
fn drip(client: &mut Client) -> usize {
    let (mut all, mut piece) = (0, [0; 65536]);
    while all < TOO_MUCH {
        match client.stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => all += count,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    all
}

#[test]
fn a_client_that_takes_its_answer_in_drops_is_given_up() {
    let mut rig = Rig::with(hurried);
    let app = pouring();
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    assert!(drip(&mut client) < TOO_MUCH, "it never stood still, and was too slow all the same");
    until("the app is free", || rig.control.counts("e-1").in_flight == 0);
    assert_eq!(rig.control.counts("e-1").failed, 0, "the client's doing");
}

#[test]
fn without_a_minimum_a_client_may_be_as_slow_as_it_likes() {
    let mut rig = Rig::with(|options| {
        hurried(options);
        (options.limits.stalled, options.limits.answer_rate) = (Duration::from_secs(600), 0);
    });
    let app = pouring();
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    let mut taken = vec![0; 64 * 1024 * 1024];
    for piece in taken.chunks_mut(65536) {
        client.stream.read_exact(piece).expect("it goes on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn events_that_the_app_does_not_send_are_nobodys_fault() {
    let mut rig = Rig::with(hurried);
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        asked.stream.send(head.as_bytes())?;
        loop {
            wait.pass()?;
            asked.stream.send(b"6\r\ntick\n\n\r\n")?;
        }
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    for _ in 0..20 {
        // Several of them pass in the time in which a client is judged.
        std::thread::sleep(Duration::from_millis(60));
        open.send(()).expect("the app waits");
        assert_eq!(client.chunk().expect("an event"), b"tick\n\n");
    }
    // The app waits for the next one no longer.
    drop(open);
}

#[test]
fn a_websocket_whose_client_takes_too_little_is_given_up_and_a_silent_one_is_not() {
    let mut rig = Rig::with(hurried);
    let app = App::websocket("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut quiet = socket(rig.http());
    let mut greedy = socket(rig.http());
    // The echo's end takes nothing, so that at last neither side can go on.
    let big = Message::binary(vec![0; 1024 * 1024]);
    greedy.get_mut().set_write_timeout(Some(Duration::from_secs(30))).expect("sets");
    while greedy.send(big.clone()).is_ok() {}
    until("one is given up", || rig.control.counts("e-1").upgraded == 1);
    quiet.send(Message::text("version")).expect("sends");
    assert_eq!(quiet.read().expect("an answer").into_text().expect("text").as_str(), "v");
}
