//! Whole exchanges over HTTP/2: streams without end, clients that go, trailers, bodies that stand still, and a router that stops.

use crate::{
    app::{App, Seen, gate},
    h2_frames::{Site, site},
    rig::until,
    secure::{H2, h2_with, https},
};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Bytes, Frame, Incoming},
};
use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
};
use tokio::sync::mpsc;

/// More than all buffers of the way together.
const TOO_MUCH: usize = 64 * 1024 * 1024;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is what is sent to it, for as long as the sender lives.
fn body() -> (mpsc::UnboundedSender<Frame<Bytes>>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames =
        stream::unfold(receiver, |mut receiver| async { Some((Ok(receiver.recv().await?), receiver)) });
    (sender, StreamBody::new(frames).boxed_unsync())
}

fn empty() -> Body {
    http_body_util::Empty::new().boxed_unsync()
}

async fn client(site: &Site) -> H2<Body> {
    h2_with(https(&site.rig), Arc::clone(&site.client)).await
}

fn request(method: &str, lines: &[(&str, &str)], body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri("https://shop.test/");
    let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body).expect("legal")
}

async fn ask(client: &H2<Body>, request: Request<Body>) -> Response<Incoming> {
    client.clone().send_request(request).await.expect("an answer")
}

/// The next part of a body.
async fn part(body: &mut Incoming) -> Bytes {
    let frame = body.frame().await.expect("goes on").expect("whole");
    frame.into_data().expect("data")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_one_by_one() {
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        asked.stream.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        for number in 0..3 {
            asked.stream.send(format!("9\r\ndata: {number}\n\n\r\n").as_bytes())?;
            // Only goes on once the client has it: whoever buffers never ends.
            wait.pass()?;
        }
        asked.stream.send(b"0\r\n\r\n")
    });
    let mut site = site(app);
    let client = client(&site).await;
    let mut events = ask(&client, request("GET", &[], empty())).await.into_body();
    for number in 0..3 {
        assert_eq!(part(&mut events).await, format!("data: {number}\n\n"));
        assert_eq!(site.rig.control.counts("e-1").upgraded, 1, "an answer without end is not waited for");
        open.send(()).expect("waits");
    }
    assert!(events.collect().await.expect("a good end").to_bytes().is_empty());
    until("counted down", || site.rig.control.counts("e-1").upgraded == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_takes_the_request_along() {
    let (ended, end) = channel();
    let ended = std::sync::Mutex::new(ended);
    // Answers nothing; says when the router has gone.
    let app = App::raw(Arc::<Seen>::default(), move |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        let _ = ended.lock().expect("sound").send(());
    });
    let mut site = site(app);
    let client = client(&site).await;
    let (mut other, get) = (client.clone(), request("GET", &[], empty()));
    let waiting = tokio::spawn(async move { other.send_request(get).await.is_ok() });
    until("in flight", || site.rig.control.counts("e-1").in_flight == 1);
    waiting.abort();
    end.recv_timeout(std::time::Duration::from_secs(30)).expect("the app's connection ends");
    until("gone", || site.rig.control.counts("e-1").in_flight == 0);
    assert_eq!(site.rig.control.counts("e-1").failed, 0, "the client's doing");
    assert!(!client.is_closed(), "its other requests go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_both_ways() {
    let (saw, seen) = channel();
    let saw = std::sync::Mutex::new(saw);
    let app = App::raw(Arc::<Seen>::default(), move |mut stream| {
        let (mut all, mut byte) = (Vec::new(), [0]);
        while !all.ends_with(b"x-sum: 7\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a request with a trailer");
            all.push(byte[0]);
        }
        let _ = saw.lock().expect("sound").send(String::from_utf8_lossy(&all).into_owned());
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-back\r\n\r\n2\r\nok\r\n0\r\nx-back: 8\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("writes");
    });
    let site = site(app);
    let client = client(&site).await;
    let (sender, body) = body();
    sender.send(Frame::data(Bytes::from_static(b"body"))).expect("waits");
    let trailers: HeaderMap =
        [("x-sum".parse().expect("legal"), "7".parse().expect("legal"))].into_iter().collect();
    sender.send(Frame::trailers(trailers)).expect("waits");
    drop(sender);
    let answer = ask(&client, request("POST", &[("te", "trailers"), ("trailer", "x-sum")], body)).await;
    let whole = answer.into_body().collect().await.expect("whole");
    assert_eq!(whole.trailers().expect("trailers")["x-back"], "8");
    assert_eq!(whole.to_bytes(), "ok");
    let seen = seen.recv_timeout(std::time::Duration::from_secs(30)).expect("a request");
    assert!(seen.ends_with("\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_expects_100_is_served_all_the_same() {
    // The app's own interim answer is not what the client takes for its answer.
    let app = App::answering(|asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        asked.stream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        crate::app::respond(asked, &body)
    });
    let site = site(app);
    let client = client(&site).await;
    for _ in 0..2 {
        let (sender, body) = body();
        sender.send(Frame::data(Bytes::from_static(b"body"))).expect("waits");
        drop(sender);
        let answer =
            ask(&client, request("POST", &[("expect", "100-continue"), ("content-length", "4")], body)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "body");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_holds_his_own_answer_back_and_nobody_elses() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let app = App::answering(move |asked| {
        if asked.head.starts_with("POST") {
            return crate::app::respond(asked, "quick");
        }
        asked.stream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n").as_bytes())?;
        while count.load(Ordering::SeqCst) < TOO_MUCH {
            asked.stream.send(&[b'x'; 65536])?;
            count.fetch_add(65536, Ordering::SeqCst);
        }
        Ok(())
    });
    let mut site = site(app);
    let client = client(&site).await;
    let mut slow = ask(&client, request("GET", &[], empty())).await.into_body();
    let (mut last, mut still) = (0, 0);
    until("it stands still", || {
        let now = written.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        still >= 40
    });
    assert!(last < TOO_MUCH / 2, "{last} bytes are in buffers");
    let quick = ask(&client, request("POST", &[], empty())).await;
    assert_eq!(quick.into_body().collect().await.expect("whole").to_bytes(), "quick");
    let mut whole = 0;
    while let Some(frame) = slow.frame().await {
        whole += frame.expect("whole").into_data().expect("data").len();
    }
    assert_eq!(whole, TOO_MUCH);
    until("counted down", || site.rig.control.counts("e-1").in_flight == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_all_that_comes_leaves_room_for_others() {
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let app = App::answering(move |asked| {
        if asked.head.starts_with("POST") {
            return crate::app::respond(asked, &"x".repeat(2_000_000));
        }
        asked.stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
        while !stop.load(Ordering::SeqCst) {
            asked.stream.send(chunk.as_bytes())?;
        }
        asked.stream.send(b"0\r\n\r\n")
    });
    let site = site(app);
    let client = client(&site).await;
    let mut without_end = ask(&client, request("GET", &[], empty())).await.into_body();
    let reading =
        tokio::spawn(async move { while without_end.frame().await.is_some_and(|frame| frame.is_ok()) {} });
    // Each of them is thirty times what waits for a client at most.
    for _ in 0..4 {
        let answer = ask(&client, request("POST", &[], empty())).await;
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes().len(), 2_000_000);
    }
    over.store(true, Ordering::SeqCst);
    reading.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_reads_slowly_holds_the_client_back() {
    let (open, wait) = gate();
    let app = App::raw(Arc::<Seen>::default(), move |mut stream| {
        wait.pass().expect("opened");
        let (mut all, mut room) = (0, vec![0; 65536]);
        // The body and its framing; the end is the test's own mark.
        while !room[..all].ends_with(b"0\r\n\r\n") {
            all = stream.read(&mut room).expect("reads");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("writes");
    });
    let site = site(app);
    let client = client(&site).await;
    let given = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&given);
    let frames = stream::unfold((), move |()| {
        let count = Arc::clone(&count);
        async move {
            let more = count.fetch_add(16_384, Ordering::SeqCst) < TOO_MUCH;
            more.then(|| (Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 16_384]))), ()))
        }
    });
    let upload = request("POST", &[], StreamBody::new(frames).boxed_unsync());
    let mut sender = client.clone();
    let answer = tokio::spawn(async move { sender.send_request(upload).await.expect("an answer").status() });
    let (mut last, mut still) = (0, 0);
    until("it stands still", || {
        let now = given.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        still >= 40
    });
    assert!(last < TOO_MUCH / 2, "{last} bytes are in buffers");
    open.send(()).expect("waits");
    assert_eq!(answer.await.expect("no panic"), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_stops_says_so_and_finishes_what_it_has() {
    let (open, wait) = gate();
    let app = App::answering(move |asked| {
        asked.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")?;
        wait.pass()?;
        asked.stream.send(b"half")
    });
    let mut site = site(app);
    let client = client(&site).await;
    let mut answer = ask(&client, request("GET", &[], empty())).await.into_body();
    assert_eq!(part(&mut answer).await, "half");
    let router = site.rig.router.take().expect("runs");
    let stopping = std::thread::spawn(move || router.stop());
    // The client learns by GOAWAY that nothing new is taken, while what is under way goes on.
    let mut refused = client.clone();
    while refused.ready().await.is_ok() && refused.send_request(request("HEAD", &[], empty())).await.is_ok() {
    }
    open.send(()).expect("waits");
    assert_eq!(part(&mut answer).await, "half");
    assert!(answer.frame().await.is_none(), "ended in good order");
    stopping.join().expect("no panic");
}
