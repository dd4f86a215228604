//! Streams without an end of their own: WebSockets, other upgrades, and server-sent events.

use crate::{
    app::{App, Seen, gate},
    client::{Client, get},
    rig::{Rig, route, until},
};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, protocol::CloseFrame};

pub(crate) fn socket(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
    tungstenite::client("ws://shop.test/chat", stream).expect("upgrades").0
}

pub(crate) fn say(socket: &mut WebSocket<TcpStream>, text: &str) -> String {
    socket.send(Message::text(text)).expect("sends");
    socket.read().expect("an answer").into_text().expect("text").to_string()
}

/// The close frame, and that the connection ends in good order behind it.
pub(crate) fn closed(socket: &mut WebSocket<TcpStream>) -> Option<CloseFrame> {
    let Message::Close(frame) = socket.read().expect("a close frame") else { panic!("not a close frame") };
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    frame
}

#[test]
fn a_websocket_survives_the_switch_and_new_ones_land_on_the_new_version() {
    let mut rig = Rig::start();
    let (old, new) = (App::websocket("old"), App::websocket("new"));
    rig.control.replace(vec![route("e-1", &[old.address])]);
    let mut before = socket(rig.http());
    assert_eq!(say(&mut before, "version"), "old");
    rig.control.change(Some(route("e-2", &[new.address])));
    let mut after = socket(rig.http());
    assert_eq!(say(&mut after, "version"), "new");
    assert_eq!(say(&mut before, "version"), "old");
    let large = "x".repeat(1_000_000);
    assert_eq!(say(&mut before, &large), large, "beyond every buffer");
    assert_eq!(rig.control.counts("e-1").upgraded, 1);
    assert_eq!(rig.control.counts("e-1").in_flight, 0);
    before.close(None).expect("closes");
    assert!(closed(&mut before).is_none(), "the app's own close");
    until("counted down", || rig.control.counts("e-1").upgraded == 0);
    assert_eq!(say(&mut after, "still"), "still");
}

#[test]
fn a_cut_websocket_gets_1012_and_others_are_left_alone() {
    let mut rig = Rig::start();
    let (old, new) = (App::websocket("old"), App::websocket("new"));
    rig.control.replace(vec![route("e-1", &[old.address])]);
    let mut cut: Vec<_> = (0..10).map(|_| socket(rig.http())).collect();
    cut.iter_mut().for_each(|socket| assert_eq!(say(socket, "version"), "old"));
    rig.control.change(Some(route("e-2", &[new.address])));
    let mut kept = socket(rig.http());
    rig.control.cut("e-1", 200);
    for socket in &mut cut {
        assert_eq!(closed(socket).expect("a reason").code, 1012.into());
    }
    until("counted down", || rig.control.counts("e-1").upgraded == 0);
    assert_eq!(say(&mut kept, "version"), "new");
}

#[test]
fn a_close_frame_never_lands_inside_a_frame() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    // Half a frame, and the other half when the test says so.
    let app = App::raw(Arc::<Seen>::default(), move |stream| {
        let mut socket = tungstenite::accept(stream).expect("upgrades");
        let stream = socket.get_mut();
        stream.write_all(&[0x82, 126, 0x01, 0x00]).expect("writes");
        stream.write_all(&[7; 100]).expect("writes");
        wait.pass().expect("opened");
        stream.write_all(&[7; 156]).expect("writes");
        stream.write_all(&[0x82, 1, 9]).expect("writes");
        // The close frame for the app: what is read behind it is its end.
        assert!(socket.read().expect("a close frame").is_close());
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(head.as_bytes()).expect("sends");
    assert_eq!(client.head().expect("an answer").status, 101);
    let mut start = [0; 104];
    client.stream.read_exact(&mut start).expect("half a frame");
    rig.control.cut("e-1", 0);
    open.send(()).expect("waits");
    let mut rest = vec![0; 156 + 4];
    client.stream.read_exact(&mut rest).expect("the other half");
    assert_eq!(&rest[..156], &[7; 156]);
    assert_eq!(&rest[156..], &[0x88, 2, 0x03, 0xf4]);
}

#[test]
fn any_other_upgrade_is_carried_both_ways() {
    let mut rig = Rig::start();
    let app = App::raw(Arc::<Seen>::default(), |mut stream| {
        let mut head = [0; 1];
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut head).expect("a head");
            seen.push(head[0]);
        }
        let seen = String::from_utf8(seen).expect("text").to_ascii_lowercase();
        assert!(seen.contains("connection: upgrade\r\n") && seen.contains("upgrade: chat\r\n"), "{seen}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).expect("writes");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("reads to the client's end");
        stream.write_all(&bytes).expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let request = "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nearly";
    client.send(request.as_bytes()).expect("sends");
    let head = client.head().expect("an answer");
    assert_eq!((head.status, head.headers["upgrade"].as_str()), (101, "chat"));
    let mut word = [0; 5];
    client.stream.read_exact(&mut word).expect("what followed the head");
    assert_eq!(&word, b"hello");
    client.send(b" and late").expect("sends");
    client.stream.get_mut().shutdown(std::net::Shutdown::Write).expect("half closes");
    let mut echo = String::new();
    client.stream.read_to_string(&mut echo).expect("echo");
    assert_eq!(echo, "early and late");
    until("counted down", || rig.control.counts("e-1").upgraded == 0);
}

/// Sends an event each time the gate opens, and ends when it is gone.
fn events() -> (std::sync::mpsc::Sender<()>, App) {
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
        asked.stream.send(head.as_bytes())?;
        while wait.pass().is_ok() {
            asked.stream.send(b"9\r\ndata: x\n\n\r\n")?;
        }
        Err(io::ErrorKind::Other.into())
    });
    (open, app)
}

#[test]
fn events_arrive_as_they_are_sent_and_count_as_upgraded() {
    let mut rig = Rig::start();
    let (open, app) = events();
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    // Each of these reads would time out if the router waited for more.
    assert_eq!(client.head().expect("the head before any event").status, 200);
    let counts = rig.control.counts("e-1");
    assert_eq!((counts.in_flight, counts.upgraded), (0, 1));
    for _ in 0..3 {
        open.send(()).expect("waits");
        assert_eq!(client.chunk().expect("an event"), b"data: x\n\n");
    }
    drop(client);
    // The app notices at its next events.
    until("counted down", || {
        let _ = open.send(());
        rig.control.counts("e-1").upgraded == 0
    });
    drop(open);
}

#[test]
fn a_cut_event_stream_ends_in_good_order() {
    let mut rig = Rig::start();
    let (open, app) = events();
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    open.send(()).expect("waits");
    client.chunk().expect("an event");
    rig.control.cut("e-1", 0);
    assert!(client.chunk().expect("the last chunk").is_empty());
    until("counted down", || rig.control.counts("e-1").upgraded == 0);
    drop(open);
}

#[test]
fn cut_requests_break_off_or_say_why() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        if asked.path == "/half" {
            asked.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?;
        }
        let _ = wait.pass();
        Err(io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let address = rig.http();
    let mut half = Client::connect(address).expect("connects");
    half.send(b"GET /half HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    let mut body = [0; 4];
    half.head().and_then(|_| half.stream.read_exact(&mut body)).expect("half an answer");
    let waiting = std::thread::spawn(move || get(address, "/none"));
    until("in flight", || rig.control.counts("e-1").in_flight == 2);
    rig.control.cut("e-1", 0);
    let answer = waiting.join().expect("no panic");
    assert_eq!((answer.status, answer.headers["connection"].as_str()), (503, "close"));
    assert!(half.stream.read_exact(&mut body).is_err(), "never looks complete");
    until("counted down", || rig.control.counts("e-1").in_flight == 0);
    drop(open);
    // The order was for what was in flight: new requests are served.
    let new = App::version("new");
    rig.control.change(Some(route("e-1", &[new.address])));
    assert_eq!(get(address, "/").text(), "new");
}

#[test]
fn a_client_that_does_not_read_is_cut_too() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked.stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        loop {
            asked.stream.send(&chunk)?;
        }
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    rig.control.cut("e-1", 0);
    until("counted down", || rig.control.counts("e-1").in_flight == 0);
}
