//! Requests inside of requests: whatever a client sends, the app gets whole requests that are written in one way only, and none that
//! the router did not see as one. The same backwards: no client gets what was not an answer to its request.

use crate::{
    app::{App, Seen},
    client::Client,
    rig::{Rig, route, until},
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n";

/// An app that keeps every byte it gets, and believes only what is written in the strictest way.
struct Origin {
    app: App,
    bytes: Arc<Mutex<Vec<u8>>>,
    odd: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    fn start() -> Self {
        let (bytes, odd) = (Arc::default(), Arc::default());
        let (record, complain) = (Arc::clone(&bytes), Arc::clone(&odd));
        let app = App::raw(Arc::<Seen>::default(), move |stream| serve(stream, &record, &complain));
        Self { app, bytes, odd }
    }

    fn text(&self) -> String {
        assert!(self.odd.lock().expect("sound").is_empty(), "{:?}", self.odd.lock().expect("sound"));
        String::from_utf8_lossy(&self.bytes.lock().expect("sound")).into_owned()
    }

    /// The targets of all requests.
    fn targets(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.split("\r\n").filter(|line| line.ends_with(" HTTP/1.1"));
        lines.filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect()
    }
}

fn serve(mut stream: TcpStream, record: &Mutex<Vec<u8>>, complain: &Mutex<Vec<String>>) {
    let (mut all, mut chunk) = (Vec::new(), [0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        record.lock().expect("sound").extend_from_slice(&chunk[..count]);
        all.extend_from_slice(&chunk[..count]);
        loop {
            match strict(&all) {
                Ok(Some(length)) => drop(all.drain(..length)),
                Ok(None) => break,
                Err(why) => return complain.lock().expect("sound").push(why),
            }
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    }
}

/// The length of the request at the beginning.
fn strict(bytes: &[u8]) -> Result<Option<usize>, String> {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, rest)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err(format!("line ends: {head:?}"));
    }
    let values = |name: &str| {
        let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    };
    let (hosts, lengths, codings): (Vec<_>, Vec<_>, Vec<_>) =
        (values("host"), values("content-length"), values("transfer-encoding"));
    let body = match (hosts.len(), lengths.as_slice(), codings.as_slice()) {
        (1, [], []) => Some(0),
        (1, [length], []) => {
            let length: usize = length.parse().map_err(|_| format!("length: {head:?}"))?;
            (rest.len() >= length).then_some(length)
        }
        (1, [], [coding]) if coding == "chunked" => chunks(rest)?,
        _ => return Err(format!("framing: {head:?}")),
    };
    Ok(body.map(|body| head.len() + 4 + body))
}

/// The length of a chunked body without extensions.
fn chunks(text: &str) -> Result<Option<usize>, String> {
    let mut at = 0;
    while let Some((line, _)) = text[at..].split_once("\r\n") {
        let size = usize::from_str_radix(line, 16).map_err(|_| format!("size: {line:?}"))?;
        if line != format!("{size:x}") {
            return Err(format!("size: {line:?}"));
        }
        at += line.len() + 2;
        if size == 0 {
            let rest = &text[at..];
            let end =
                if rest.starts_with("\r\n") { Some(2) } else { rest.find("\r\n\r\n").map(|end| end + 4) };
            return Ok(end.map(|end| at + end));
        }
        match text.get(at + size..at + size + 2) {
            None => return Ok(None),
            Some("\r\n") => at += size + 2,
            Some(other) => return Err(format!("chunk's end: {other:?}")),
        }
    }
    Ok(None)
}

fn rig() -> (Rig, Origin) {
    let (mut rig, origin) = (Rig::start(), Origin::start());
    rig.control.replace(vec![route("e-1", &[origin.app.address])]);
    (rig, origin)
}

/// The connection is over, in whichever way.
fn over(client: &mut Client) {
    let end = client.line().expect_err("no further answer").kind();
    assert!(matches!(end, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{end}");
}

#[test]
fn ambiguous_requests_go_nowhere() {
    let (rig, origin) = rig();
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\n";
    let zero = "0\r\n\r\n";
    let fields = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 48\r\n\r\n0\r\n\r\n", 400),
        ("Content-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
        ("Content-Length: 44\r\nContent-Length: 44\r\n\r\n", 400),
        ("Content-Length: +0\r\n\r\n", 400),
        ("Content-Length: 0,0\r\n\r\n", 400),
        ("Content-Length:\r\n\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n\r\n", 400),
        ("Content-Length : 0\r\n\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
        ("X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("X: \u{0}\r\n\r\n", 400),
        ("X: y\n\n", 400),
        ("Host: shop.test\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0\n\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n", 400),
    ];
    let mut cases: Vec<(String, u16)> =
        fields.map(|(fields, status)| (format!("{head}{fields}"), status)).into();
    for (case, status) in [
        ("POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET http://other.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: shop.test\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET /a\tb HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400),
        ("CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test\r\n\r\n", 405),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
    ] {
        cases.push((case.to_owned(), status));
    }
    cases.push((format!("GET /{} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "x".repeat(17_000)), 414));
    cases.push((format!("{head}X: {}\r\n\r\n", "x".repeat(70_000)), 431));
    cases.push((format!("{head}{}\r\n", "X: y\r\n".repeat(200)), 431));
    cases
        .push((format!("{head}Transfer-Encoding: chunked\r\n\r\n1;{}\r\nx\r\n{zero}", "x".repeat(300)), 400));
    for (case, status) in &cases {
        let mut client = Client::connect(rig.http()).expect("connects");
        client.send((case.to_owned() + SMUGGLED).as_bytes()).expect("sends");
        let answer = client.answer().unwrap_or_else(|error| panic!("{error}: {case:.200}"));
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (*status, "close"), "{case:.200}");
        over(&mut client);
    }
    assert_eq!(origin.text(), "", "not a byte went on");
}

#[test]
fn what_is_odd_but_certain_is_written_anew() {
    let (rig, origin) = rig();
    let mut client = Client::connect(rig.http()).expect("connects");
    // Its own name, so that no random one looks like what is searched for.
    let host = "Host: shop.test\r\nX-Request-Id: name\r\n";
    let requests = [
        format!(
            "POST /1 HTTP/1.1\r\n{host}TRANSFER-encoding:\tChunked\r\n\r\n003;a=\"b;c\"\r\nabc\r\n00000\r\nContent-Length: 9\r\nSum: 1\r\n\r\n"
        ),
        format!("\r\nPOST /2 HTTP/1.1\r\n{host}Content-Length: 0005\r\nContent_Length: 99\r\n\r\nhello"),
        format!(
            "GET /3 HTTP/1.1\r\n{host}Connection: content-length, x\r\nX: y\r\nContent-Length: 0\r\n\r\n"
        ),
        format!("POST /4 HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
        format!(
            "POST /5 HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{:X}\r\n{SMUGGLED}\r\n0\r\n\r\n",
            SMUGGLED.len()
        ),
        format!("GET http://shop.test/6?x HTTP/1.1\r\n{host}\r\n"),
    ];
    client.send(requests.concat().as_bytes()).expect("sends");
    for _ in &requests {
        assert_eq!(client.answer().expect("an answer").text(), "ok");
    }
    let text = origin.text();
    assert!(text.contains("\r\n\r\n3\r\nabc\r\n0\r\nSum: 1\r\n\r\n"), "{text}");
    assert!(
        text.contains("Content-Length: 5\r\n") && !text.contains("99") && !text.contains("X: y"),
        "{text}"
    );
    // Bodies are no requests: the two in there were part of what was announced.
    let targets: Vec<_> = origin.targets().into_iter().filter(|target| target != "/smuggled").collect();
    assert_eq!(targets, ["/1", "/2", "/3", "/4", "/5", "/6?x"]);
    assert_eq!(text.matches("ok").count(), 0);
}

#[test]
fn a_body_that_turns_bad_is_never_finished() {
    let (rig, origin) = rig();
    for (number, bad) in
        ["zz\r\n", "3\r\nabcX", "1\nx\r\n0\r\n\r\n", "0\r\nA : b\r\n\r\n", "0\r\n\n"].iter().enumerate()
    {
        let mut client = Client::connect(rig.http()).expect("connects");
        let head = format!(
            "POST /{number} HTTP/1.1\r\nHost: shop.test\r\nX-Request-Id: name\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        client.send((head + "5\r\nfirst\r\n").as_bytes()).expect("sends");
        let line = format!("POST /{number} HTTP/1.1\r\n");
        until("the beginning has arrived", || {
            origin.text().split_once(&line).is_some_and(|(_, after)| after.contains("5\r\nfirst\r\n"))
        });
        client.send(((*bad).to_owned() + SMUGGLED).as_bytes()).expect("sends");
        let answer = client.answer().expect("an answer");
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (400, "close"), "{bad:?}");
        over(&mut client);
    }
    let text = origin.text();
    assert!(!text.contains("0\r\n\r\n") && !text.contains("smuggled"), "{text}");
}

/// One answer of an app's to whatever it is asked, as raw bytes, and then the end.
fn answering(bytes: &[u8]) -> App {
    let bytes = bytes.to_vec();
    App::answering(move |asked| {
        asked.stream.send(&bytes)?;
        Err(ErrorKind::Other.into())
    })
}

#[test]
fn ambiguous_answers_are_not_passed_on() {
    let mut rig = Rig::start();
    for bad in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2,2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nX: y\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\rZ: w\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 99 No\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "<html>not HTTP</html>\r\n\r\n",
    ] {
        let app = answering(bad.as_bytes());
        rig.control.replace(vec![route("e-1", &[app.address])]);
        let answer = crate::client::get(rig.http(), "/");
        assert_eq!(
            (answer.status, answer.text()),
            (502, "shop answered with something that is not HTTP.\n"),
            "{bad:?}"
        );
    }
    assert_eq!(rig.control.counts("e-1").failed, 14);
}

#[test]
fn an_answer_that_turns_bad_breaks_off() {
    let mut rig = Rig::start();
    let (open, wait) = crate::app::gate();
    let app = App::answering(move |asked| {
        asked.stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")?;
        wait.pass()?;
        asked.stream.send(b"zz\r\n0\r\n\r\n")
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    client.head().expect("a head");
    assert_eq!(client.chunk().expect("a chunk"), b"ok");
    open.send(()).expect("waits");
    assert!(client.chunk().is_err(), "never looks complete");
    until("counted", || rig.control.counts("e-1").failed == 1);
}

#[test]
fn nobody_gets_an_answer_that_nobody_asked_for() {
    let mut rig = Rig::start();
    let two =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for bad in [
        two.to_owned(),
        two.replace("200 OK\r\nContent-Length: 2\r\n\r\nok", "204 No Content\r\n\r\n"),
        two.replace("200 OK\r\nContent-Length: 2\r\n\r\nok", "204 No Content\r\nContent-Length: 2\r\n\r\nok"),
        two.replace(
            "\r\nContent-Length: 2\r\n\r\nok",
            "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ] {
        let app = App::answering(move |asked| asked.stream.send(bad.as_bytes()));
        rig.control.replace(vec![route("e-1", &[app.address])]);
        let mut client = Client::connect(rig.http()).expect("connects");
        for _ in 0..20 {
            let answer = client.get("/").expect("an answer");
            assert!(matches!((answer.status, answer.text()), (200, "ok") | (204, "")), "{answer:?}");
        }
    }
}
