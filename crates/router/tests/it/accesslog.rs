//! The access log: every request has its line whatever a client sends, and nobody who reads it too slowly can hold a request up.

use crate::{
    app::App,
    client::Client,
    rig::{Rig, nowhere, options, route, until},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::Path,
    sync::Arc,
};
use teal_core::{
    access::LogForm,
    route::{Absent, AppRoute},
};
use teal_router::{AccessLog, Router};

fn logging(form: LogForm) -> Rig {
    Rig::with(|options| {
        let file = options.control.with_file_name("access.log");
        options.access_log = AccessLog { form, file: Some(file) };
    })
}

fn lines(rig: &Rig, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(rig.directory.path().join("access.log")).unwrap_or_default();
    until("all lines are written", || read().matches('\n').count() >= count);
    read().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn every_request_has_its_line_and_no_secret_is_in_one() {
    let (mut rig, app) = (logging(LogForm::Json), App::version("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let head = "GET /cart?item=1 HTTP/1.1\r\nHost: shop.test\r\nX-Request-Id: r-1\r\nReferer: http://a.test/\r\nUser-Agent: curl/8\r\n\
                Authorization: Bearer hunter2\r\nCookie: session=hunter2\r\nX-Api-Key: hunter2\r\n\r\n";
    client.send(head.as_bytes()).expect("sent");
    let answer = client.answer().expect("an answer");
    client.send(b"GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n").expect("sent");
    client.answer().expect("an answer");
    client.send(b"nonsense\r\n\r\n").expect("sent");
    client.answer().expect("an answer");
    let lines = lines(&rig, 3);
    assert!(!lines.concat().contains("hunter2"), "{lines:?}");
    let read: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let first = &read[0];
    for (name, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("host", "shop.test"),
        ("path", "/cart?item=1"),
        ("app", "shop"),
        ("environment", "e-1"),
        ("request_id", "r-1"),
        ("referrer", "http://a.test/"),
        ("user_agent", "curl/8"),
        ("protocol", "HTTP/1.1"),
    ] {
        assert_eq!(first[name], value, "{name} in {first}");
    }
    assert_eq!((first["status"].as_u64(), first["bytes_in"].as_u64()), (Some(200), Some(head.len() as u64)));
    assert!(first["bytes_out"].as_u64().is_some_and(|bytes| bytes > answer.body.len() as u64));
    assert!(first["duration_us"].is_u64() && first["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!((&read[1]["own"], &read[1]["status"]), (&"unknown_domain".into(), &404.into()));
    assert_eq!(
        (&read[2]["own"], &read[2]["status"], &read[2]["path"]),
        (&"refused".into(), &400.into(), &Value::Null)
    );
}

#[test]
fn hostile_requests_make_one_honest_line_each() {
    for form in [LogForm::Json, LogForm::Combined] {
        let (mut rig, app) = (logging(form), App::version("one"));
        rig.control.replace(vec![route("e-1", &[app.address])]);
        let mut client = Client::connect(rig.http()).expect("connects");
        let hostile =
            ["\" 200 0 \"-\"", "\\\"},{\"status\":200", "\u{1b}[2J", "\u{9b}31m\u{2028}", "%0a%0d<script>"];
        for text in hostile {
            let path = text.replace(' ', "%20");
            let head = format!(
                "GET /{path} HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: {text}\r\nReferer: {text}\r\n\r\n"
            );
            let mut client = Client::connect(rig.http()).expect("connects");
            client.send(head.as_bytes()).expect("sent");
            client.answer().expect("an answer");
        }
        client
            .send(b"GET /last HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: \xff\xfe\xc3\r\n\r\n")
            .expect("sent");
        // The app takes text only: what it makes of this does not matter here.
        client.answer().expect("an answer");
        let lines = lines(&rig, hostile.len() + 1);
        assert_eq!(lines.len(), hostile.len() + 1, "{lines:?}");
        for line in &lines {
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line}");
            match form {
                LogForm::Json => {
                    assert!(serde_json::from_str::<Value>(line).expect("JSON")["status"].is_u64())
                }
                _ => assert!(line.is_ascii() && line.matches('"').count() == 10, "{line}"),
            }
        }
    }
}

#[test]
fn a_log_that_was_renamed_goes_on_in_a_new_file() {
    let (mut rig, app) = (logging(LogForm::Combined), App::version("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.get("/before").expect("an answer");
    assert!(lines(&rig, 1)[0].contains("\"GET /before HTTP/1.1\" 200"));
    fs::rename(rig.directory.path().join("access.log"), rig.directory.path().join("old.log"))
        .expect("renames");
    until("there is a new file", || {
        client.get("/after").expect("an answer");
        rig.directory.path().join("access.log").exists()
    });
    assert!(lines(&rig, 1)[0].contains("/after"));
}

#[test]
fn the_last_lines_are_written_when_the_router_stops() {
    let (mut rig, app) = (logging(LogForm::Json), App::version("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..20 {
        client.get("/").expect("an answer");
    }
    drop(client);
    rig.router.take().expect("runs").stop();
    let text = fs::read_to_string(rig.directory.path().join("access.log")).expect("reads");
    assert_eq!(text.matches("\"status\":200").count(), 20, "{text}");
}

#[test]
fn a_reader_that_does_not_read_holds_no_request_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    // Open for both, so that opening it waits for nobody; nothing is read.
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("opens");
    let mut rig = Rig::with(|options| {
        options.access_log = AccessLog { form: LogForm::Json, file: Some(pipe.clone()) };
    });
    let app = App::version("one");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let path = format!("/{}", "x".repeat(4000));
    let mut asked = 0;
    until("lines are dropped", || {
        assert_eq!(client.get(&path).expect("an answer").status, 200);
        asked += 1;
        asked % 50 == 0 && rig.control.metrics().edge.log_dropped > 100
    });
    // Everything is full, and requests go on as ever.
    for _ in 0..50 {
        assert_eq!(client.get("/more").expect("an answer").status, 200);
    }
    let edge = rig.control.metrics().edge;
    assert!(edge.log_lines > 0 && edge.log_lines + edge.log_dropped <= asked + 50, "{edge:?} of {asked}");
    // What was handed on is whole once somebody reads it.
    let mut chunk = [0; 16 * 1024];
    let count = reader.read(&mut chunk).expect("reads");
    let text = String::from_utf8_lossy(&chunk[..count]).into_owned();
    let first = text.lines().next().expect("a line");
    assert_eq!(serde_json::from_str::<Value>(first).expect("JSON")["path"], path.as_str());
    // A stop waits for a reader only so long.
    drop(rig);
}

#[test]
fn a_log_that_cannot_be_written_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = options(directory.path());
    options.access_log =
        AccessLog { form: LogForm::Json, file: Some(Path::new("/proc/nothing/access.log").into()) };
    let error = Router::start(options).expect_err("no such place");
    assert!(error.to_string().contains("/proc/nothing/access.log"), "{error}");
}

#[test]
fn every_stream_has_its_line_when_it_is_closed_also_one_that_nobody_takes() {
    let mut rig = logging(LogForm::Json);
    let app = App::raw(Arc::default(), |mut stream| {
        let _ = stream.write_all(b"hello").and_then(|()| stream.read_to_end(&mut Vec::new()));
    });
    let port = nowhere().port();
    let service = AppRoute { tcp_port: Some(port), ..route("e-1", &[app.address]) };
    rig.control.replace(vec![service.clone()]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.read_exact(&mut [0; 5]).expect("what it says");
    stream.write_all(b"good-bye").expect("sends");
    stream.shutdown(Shutdown::Write).expect("ends");
    stream.read_to_end(&mut Vec::new()).expect("ends, too");
    // Another thread may have the next one, and hand its line on earlier.
    lines(&rig, 1);

    rig.control.change(Some(AppRoute { live: None, absent: Some(Absent::Stopped), ..service }));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.read_to_end(&mut Vec::new()).expect("closed");
    let read: Vec<Value> =
        lines(&rig, 2).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (name, value) in [
        ("client", json!("127.0.0.1")),
        ("protocol", json!("TCP")),
        ("port", json!(port)),
        ("app", json!("shop")),
        ("environment", json!("e-1")),
        ("bytes_in", json!(8)),
        ("bytes_out", json!(5)),
        ("status", Value::Null),
        ("own", Value::Null),
    ] {
        assert_eq!(read[0][name], value, "{name} in {}", read[0]);
    }
    assert!(read[0]["duration_us"].is_u64());
    assert_eq!((&read[1]["own"], &read[1]["environment"]), (&json!("absent"), &Value::Null));
}
