//! The rig against a server that switches well, and against servers whose switch is sabotaged, each in one way: every one must turn it red.

use super::{Options, Report, Rig};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What is wrong with the server once it has switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    OldVersionAgain,
    DropsConnections,
    BreaksAnswersOff,
    AnswersWith502,
    RecordsTwice,
    ForgetsPosts,
    CutsWebSockets,
}

struct Server {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: tokio::runtime::Runtime,
}

struct State {
    sabotage: Sabotage,
    switched: AtomicBool,
    change: watch::Sender<bool>,
    answers: AtomicU64,
    records: Mutex<Vec<String>>,
    recorded: watch::Sender<usize>,
}

impl State {
    fn version(&self) -> &'static str {
        let old =
            self.sabotage == Sabotage::OldVersionAgain && self.answers.load(Ordering::Relaxed) % 50 == 49;
        if self.switched.load(Ordering::Acquire) && !old { "v2" } else { "v1" }
    }

    fn record(&self, id: String) {
        let sabotaged =
            self.switched.load(Ordering::Acquire) && self.answers.load(Ordering::Relaxed).is_multiple_of(10);
        let times = match self.sabotage {
            Sabotage::RecordsTwice if sabotaged => 2,
            Sabotage::ForgetsPosts if sabotaged => 0,
            _ => 1,
        };
        let mut records = self.records.lock().expect("lock");
        records.extend(std::iter::repeat_n(id, times));
        self.recorded.send_replace(records.len());
    }
}

impl Server {
    fn start(sabotage: Sabotage) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("binds");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            sabotage,
            switched: AtomicBool::new(false),
            change: watch::Sender::new(false),
            answers: AtomicU64::new(0),
            records: Mutex::default(),
            recorded: watch::Sender::new(0),
        });
        let accepting = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&accepting)));
            }
        });
        Self { address, state, _runtime: runtime }
    }

    fn switch(&self) {
        self.state.switched.store(true, Ordering::Release);
        self.state.change.send_replace(true);
    }
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let mut start = [0; 7];
    while !matches!(stream.peek(&mut start).await, Ok(0 | 7) | Err(_)) {}
    if &start == b"GET /ws" {
        return websocket(stream, &state).await;
    }
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut change = state.change.subscribe();
    tokio::select! {
        _ = connection => {}
        () = sabotaged(&mut change, state.sabotage == Sabotage::DropsConnections) => {}
    }
}

/// Resolves at the switch, if that is how it is sabotaged.
async fn sabotaged(change: &mut watch::Receiver<bool>, so: bool) {
    let _ = change.wait_for(|switched| *switched && so).await;
}

type Body = BoxBody<Bytes, std::io::Error>;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    let number = state.answers.fetch_add(1, Ordering::Relaxed);
    let sabotaged = state.switched.load(Ordering::Acquire) && number.is_multiple_of(100);
    let head = Response::builder().header("x-version", state.version());
    if request.uri().path() == "/events" {
        return Ok(head.body(events(state)).expect("legal"));
    }
    if request.method() == "POST" {
        let id = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        state.record(String::from_utf8_lossy(&id).into_owned());
    }
    let status = if sabotaged && state.sabotage == Sabotage::AnswersWith502 { 502 } else { 200 };
    let body = if sabotaged && state.sabotage == Sabotage::BreaksAnswersOff {
        BodyExt::boxed(StreamBody::new(SyncStream(Mutex::new(Box::pin(broken())))))
    } else {
        Full::new(Bytes::from_static(b"hello")).map_err(|never| match never {}).boxed()
    };
    Ok(head.status(status).body(body).expect("legal"))
}

/// Half an answer; the pause lets its head out first.
fn broken() -> impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send {
    let rest = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("sabotage"))
    });
    futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"half")))]).chain(rest)
}

fn events(state: Arc<State>) -> Body {
    let changes = state.recorded.subscribe();
    let stream = futures_util::stream::unfold((state, changes, 0), |(state, mut changes, sent)| async move {
        while *changes.borrow_and_update() <= sent {
            changes.changed().await.ok()?;
        }
        let line = {
            let records = state.records.lock().expect("lock");
            format!("data: recorded boot {sent} {}\n\n", records[sent])
        };
        Some((Ok(Frame::data(Bytes::from(line))), (state, changes, sent + 1)))
    });
    // The first byte is there at once, as for any event stream.
    let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b": hello\n\n")))]);
    BodyExt::boxed(StreamBody::new(SyncStream(Mutex::new(Box::pin(first.chain(stream))))))
}

type Frames =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send>>;

/// A boxed body must be `Sync`, which a stream of futures is not.
struct SyncStream(Mutex<Frames>);

impl futures_util::Stream for SyncStream {
    type Item = Result<Frame<Bytes>, std::io::Error>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.lock().expect("lock").as_mut().poll_next(context)
    }
}

async fn websocket(stream: TcpStream, state: &State) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let mut change = state.change.subscribe();
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(message)) if message.is_text() => {
                    let text = format!("{} {}", state.version(), message.to_text().expect("text"));
                    if socket.send(tokio_tungstenite::tungstenite::Message::text(text)).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            },
            () = sabotaged(&mut change, state.sabotage == Sabotage::CutsWebSockets) => return,
        }
    }
}

/// Loads a server, switches it in the middle, and goes on until enough was seen.
fn run(sabotage: Sabotage) -> Report {
    let server = Server::start(sabotage);
    let options = Options {
        target: server.address,
        secure: None,
        host: "app.localhost".into(),
        rate: 400,
        posts: 20,
        websockets: 3,
        streams: 2,
        hold: false,
    };
    let rig = Rig::start(options).expect("starts");
    let reach = |requests: u64| {
        let began = Instant::now();
        while rig.standing().requests < requests {
            assert!(began.elapsed() < Duration::from_secs(60), "stuck at {:?}", rig.standing());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    reach(700);
    server.switch();
    reach(2000);
    rig.stop()
}

fn kinds(report: &Report) -> Vec<&str> {
    report.failures.iter().map(|failure| failure.kind.as_str()).collect()
}

#[test]
fn a_clean_switch_is_green() {
    let report = run(Sabotage::None);
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.switches.len(), 1);
    assert!(report.switches[0].requests_around >= 50 && report.posts.recorded_once > 100, "{report:#?}");
    assert!(report.kept > report.fresh * 2 && report.fresh > 300, "{} and {}", report.kept, report.fresh);
    assert!(report.websockets.opened == 3 && report.websockets.messages > 3 && report.streams.messages > 100);
}

#[test]
fn every_sabotaged_switch_is_red() {
    for (sabotage, kind) in [
        (Sabotage::OldVersionAgain, "old version after new"),
        (Sabotage::DropsConnections, "idle connection ended"),
        (Sabotage::BreaksAnswersOff, "answer broke off"),
        (Sabotage::AnswersWith502, "status"),
        (Sabotage::CutsWebSockets, "websocket cut"),
    ] {
        let report = run(sabotage);
        assert!(!report.ok && report.failed > 0, "{sabotage:?} went unseen");
        assert!(kinds(&report).contains(&kind), "{sabotage:?}: {:?}", kinds(&report));
    }
}

#[test]
fn posts_that_are_lost_or_doubled_are_red() {
    let report = run(Sabotage::RecordsTwice);
    assert!(!report.ok && report.posts.repeated > 0, "{:?}", report.posts);
    let report = run(Sabotage::ForgetsPosts);
    assert!(!report.ok && report.posts.missing > 0, "{:?}", report.posts);
}
