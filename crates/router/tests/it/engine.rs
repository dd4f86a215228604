//! What HTTP/1.1 allows beyond a request and its answer: interim answers, old clients, early answers, limits in time, and back-pressure.

use crate::{
    app::{App, Seen, gate, respond},
    client::Client,
    rig::{Rig, route, until},
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::spawn,
    time::Duration,
};

/// More than all buffers of two loopback connections and the router together.
const TOO_MUCH: usize = 256 * 1024 * 1024;

#[test]
fn interim_answers_come_through_in_order() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked
            .stream
            .send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")?;
        respond(asked, "done")
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..2 {
        client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
        let early = client.head().expect("an interim answer");
        assert_eq!((early.status, early.headers["link"].as_str()), (103, "</a>"));
        assert_eq!(client.head().expect("another one").status, 102);
        assert_eq!(client.answer().expect("an answer").text(), "done");
    }
    client.send(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n").expect("sends");
    assert_eq!(client.answer().expect("no interim answer for old clients").text(), "done");
}

#[test]
fn interim_answers_without_end_are_none() {
    let mut rig = Rig::start();
    let app =
        App::answering(|asked| asked.stream.send("HTTP/1.1 102 Processing\r\n\r\n".repeat(1000).as_bytes()));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    let last = std::iter::repeat_with(|| client.head().expect("a head")).find(|head| head.status != 102);
    assert_eq!(last.map(|head| head.status), Some(502));
}

#[test]
fn an_app_tells_its_client_to_go_on_itself() {
    let mut rig = Rig::start();
    let app = App::raw(Arc::<Seen>::default(), |mut stream| {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            seen.push(byte[0]);
        }
        assert!(String::from_utf8_lossy(&seen).contains("Expect: 100-continue\r\n"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\nX: from-app\r\n\r\n").expect("writes");
        stream.read_exact(&mut [0; 4]).expect("the body");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head.as_bytes()).expect("sends");
    let interim = client.head().expect("an interim answer");
    assert_eq!((interim.status, interim.headers["x"].as_str()), (100, "from-app"));
    client.send(b"body").expect("sends");
    assert_eq!(client.answer().expect("one more, and only one").text(), "ok");
}

#[test]
fn a_refused_expectation_needs_no_body() {
    let mut rig = Rig::start();
    let app = App::raw(Arc::<Seen>::default(), |mut stream| {
        let mut byte = [0; 512];
        let _ = stream.read(&mut byte).expect("a head");
        stream.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno").expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    client.send(head.as_bytes()).expect("sends");
    assert_eq!(client.answer().expect("an answer").status, 417);
    assert!(client.line().is_err(), "the body never came: the connection ends");
}

#[test]
fn old_clients_get_no_chunks() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked.stream.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n5\r\nof it\r\n0\r\n\r\n",
        )
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive\r\n\r\n").expect("sends");
    let head = client.head().expect("a head");
    assert!(!head.headers.contains_key("transfer-encoding") && head.headers["connection"] == "close");
    let mut body = String::new();
    client.stream.read_to_string(&mut body).expect("to the end");
    assert_eq!(body, "all of it");
}

#[test]
fn old_clients_never_take_a_part_for_the_whole() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked.stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")?;
        Err(ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n").expect("sends");
    let end = client.stream.read_to_end(&mut Vec::new()).expect_err("a reset, not an end");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn old_clients_may_keep_their_connection() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..3 {
        client.send(b"GET / HTTP/1.0\r\nHost: shop.test\r\nConnection: Keep-Alive\r\n\r\n").expect("sends");
        let answer = client.answer().expect("an answer");
        assert_eq!((answer.text(), answer.headers["connection"].as_str()), ("v", "keep-alive"));
    }
    client.send(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n").expect("sends");
    assert_eq!(client.answer().expect("an answer").headers["connection"], "close");
    assert!(client.line().is_err());
}

#[test]
fn an_early_answer_is_relayed_and_ends_the_connection() {
    let mut rig = Rig::start();
    let app = App::raw(Arc::<Seen>::default(), |mut stream| {
        let _ = stream.read(&mut [0; 4096]).expect("a head");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").expect("writes");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nhalf").expect("sends");
    assert_eq!(client.answer().expect("an answer").text(), "early");
    // What follows is the rest of a body, and never a request.
    let _ = client.send(b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    assert!(client.line().is_err());
    until("counted down", || rig.control.counts("e-1").in_flight == 0);
    assert_eq!(rig.control.counts("e-1").requests, 1);
}

#[test]
fn an_app_that_reads_slowly_holds_its_client_back() {
    let mut rig = Rig::start();
    let (open, wait) = gate();
    let app = App::raw(Arc::<Seen>::default(), move |mut stream| {
        wait.pass().expect("opened");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let mut body = std::io::Read::take(&mut stream, TOO_MUCH as u64);
        let count = std::io::copy(&mut body, &mut std::io::sink()).expect("a body");
        let text = count.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let sent = Arc::new(AtomicUsize::new(0));
    let (address, count) = (rig.http(), Arc::clone(&sent));
    let uploading = spawn(move || {
        let mut client = Client::connect(address).expect("connects");
        let head = format!("POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {TOO_MUCH}\r\n\r\n");
        client.send(head.as_bytes()).expect("sends");
        while count.load(Ordering::SeqCst) < TOO_MUCH {
            client.send(&[b'x'; 65536]).expect("sends");
            count.fetch_add(65536, Ordering::SeqCst);
        }
        client.answer().expect("an answer").text().to_owned()
    });
    let (mut last, mut still) = (0, 0);
    until("it stands still", || {
        let now = sent.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        still >= 40
    });
    assert!(last < TOO_MUCH / 2, "{last} bytes are in buffers");
    open.send(()).expect("waits");
    assert_eq!(uploading.join().expect("no panic"), TOO_MUCH.to_string());
}

#[test]
fn bodies_go_both_ways_at_once() {
    let mut rig = Rig::start();
    // Echoes each chunk before it reads the next.
    let app = App::raw(Arc::<Seen>::default(), |stream| {
        let mut client = Client { stream: std::io::BufReader::new(stream) };
        while !client.line().expect("a line").is_empty() {}
        client.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").expect("writes");
        loop {
            let chunk = client.chunk().expect("a chunk");
            client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).expect("writes");
            client.send(&[chunk.as_slice(), b"\r\n"].concat()).expect("writes");
            if chunk.is_empty() {
                break;
            }
        }
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sends");
    assert_eq!(client.head().expect("an answer before the body").status, 200);
    for word in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()).as_bytes()).expect("sends");
        assert_eq!(client.chunk().expect("the same"), word.as_bytes());
    }
    client.send(b"0\r\n\r\n").expect("sends");
    assert!(client.chunk().expect("the end").is_empty());
}

#[test]
fn trailers_of_a_request_arrive() {
    let mut rig = Rig::start();
    let (arrived, seen) = std::sync::mpsc::channel();
    let arrived = std::sync::Mutex::new(arrived);
    let app = App::raw(Arc::<Seen>::default(), move |mut stream| {
        let (mut bytes, mut all) = ([0; 4096], String::new());
        while !all.contains("0\r\n") || !all.ends_with("\r\n\r\n") {
            let count = stream.read(&mut bytes).expect("reads");
            all += std::str::from_utf8(&bytes[..count]).expect("text");
        }
        arrived.lock().expect("sound").send(all).expect("waits");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("writes");
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n";
    client
        .send(
            (head.to_owned() + "2\r\nok\r\n0\r\nSum: 7\r\nHost: evil\r\nX-Forwarded-For: evil\r\n\r\n")
                .as_bytes(),
        )
        .expect("sends");
    assert_eq!(client.answer().expect("an answer").status, 200);
    let all = seen.recv_timeout(Duration::from_secs(20)).expect("arrived");
    assert!(all.ends_with("\r\n\r\n2\r\nok\r\n0\r\nSum: 7\r\n\r\n"), "{all}");
    assert!(!all.contains("evil"));
}

#[test]
fn heads_and_bodies_that_do_not_come_are_not_waited_for() {
    let mut rig = Rig::with(|options| {
        options.limits.head = Duration::from_millis(100);
        options.limits.stalled = Duration::from_millis(100);
    });
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    for part in [
        "GET",
        "GET / HTTP/1.1\r\nHost: sho",
        "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9\r\n\r\nhalf",
    ] {
        let mut client = Client::connect(rig.http()).expect("connects");
        client.send(part.as_bytes()).expect("sends");
        assert_eq!(client.answer().expect("an answer").status, 408, "{part:?}");
        assert!(client.line().is_err());
    }
    assert_eq!(rig.control.counts("e-1").in_flight, 0);
}

#[test]
fn a_client_that_never_reads_is_not_waited_for() {
    let mut rig = Rig::with(|options| options.limits.stalled = Duration::from_millis(200));
    let app = App::answering(|asked| {
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n").as_bytes())?;
        loop {
            asked.stream.send(&[b'x'; 65536])?;
        }
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    until("given up", || rig.control.counts("e-1").in_flight == 0);
    assert_eq!(rig.control.counts("e-1").failed, 0, "the client's doing");
}

#[test]
fn idle_connections_that_apps_close_are_nobodys_error_under_load() {
    let mut rig = Rig::start();
    let count = Arc::new(AtomicUsize::new(0));
    let turns = Arc::clone(&count);
    // Every third answer is the last one on its connection, and nobody is told.
    let app = App::answering(move |asked| {
        respond(asked, "v")?;
        if turns.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            Err(ErrorKind::Other.into())
        } else {
            Ok(())
        }
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let address = rig.http();
    let load = move || {
        let mut client = Client::connect(address).expect("connects");
        (0..500).filter(|_| client.get("/").is_ok_and(|answer| answer.status == 200)).count()
    };
    let clients: Vec<_> = (0..8).map(|_| spawn(load)).collect();
    let served: usize = clients.into_iter().map(|client| client.join().expect("no panic")).sum();
    assert_eq!(served, 8 * 500);
    let counts = rig.control.counts("e-1");
    assert_eq!((counts.failed, counts.refused, counts.requests), (0, 0, 4000));
}

#[test]
fn pipelined_requests_with_bodies_keep_their_order_and_their_bodies() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        let text = format!("{} {}", asked.path, String::from_utf8_lossy(&asked.body));
        respond(asked, &text)
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let request = |number: usize| match number % 3 {
        0 => format!("GET /{number} HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
        1 => format!("POST /{number} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nab"),
        _ => format!(
            "POST /{number} HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        ),
    };
    let all: String = (0..300).map(request).collect();
    for piece in all.as_bytes().chunks(1777) {
        client.send(piece).expect("sends");
    }
    for number in 0..300 {
        let body = if number % 3 == 0 { "" } else { "ab" };
        assert_eq!(client.answer().expect("an answer").text(), format!("/{number} {body}"));
    }
}

#[test]
fn pages_for_head_have_no_body() {
    let mut rig = Rig::start();
    rig.control.replace(vec![]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..2 {
        client.send(b"HEAD / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").expect("sends");
        assert_eq!(client.head().expect("a head").status, 404);
    }
    client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").expect("sends");
    assert_eq!(client.answer().expect("the same connection").text(), "No app has the domain nobody.test.\n");
}
