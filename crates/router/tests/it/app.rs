//! Apps to route to: a small HTTP/1.1 server that says its version, and a WebSocket echo.

use crate::client::Client;
use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{JoinHandle, spawn},
    time::Duration,
};
use tokio_tungstenite::tungstenite;

/// What it saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) bodies: Mutex<Vec<String>>,
    pub(crate) heads: Mutex<Vec<String>>,
    pub(crate) connections: AtomicUsize,
}

/// One request as the app got it.
pub(crate) struct Asked<'a> {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) stream: &'a mut Client,
}

/// A listening app; gone with its connections when dropped.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl App {
    /// Answers every request with its version; `POST` bodies are recorded.
    pub(crate) fn version(version: &str) -> Self {
        let version = version.to_owned();
        Self::answering(move |asked| respond(asked, &version))
    }

    /// Answers HTTP requests with `answer`; an error closes the connection.
    pub(crate) fn answering(answer: impl Fn(Asked<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Seen::default());
        let record = Arc::clone(&seen);
        Self::raw(seen, move |stream| {
            let mut stream = Client { stream: BufReader::new(stream) };
            while let Ok((path, head, body)) = read_request(&mut stream) {
                record.heads.lock().expect("sound").push(head.clone());
                if head.starts_with("POST") {
                    record.bodies.lock().expect("sound").push(String::from_utf8_lossy(&body).into_owned());
                }
                if answer(Asked { path, head, body, stream: &mut stream }).is_err() {
                    break;
                }
            }
        })
    }

    /// Echoes WebSocket messages; says its version to the message `version`.
    pub(crate) fn websocket(version: &str) -> Self {
        let version = version.to_owned();
        Self::raw(Arc::default(), move |stream| {
            let Ok(mut socket) = tungstenite::accept(stream) else { return };
            while let Ok(message) = socket.read() {
                let text = message.is_text();
                let is_version = text && message.to_text().is_ok_and(|text| text == "version");
                let reply = if is_version { tungstenite::Message::text(version.clone()) } else { message };
                if (text || reply.is_binary()) && socket.send(reply).is_err() {
                    break;
                }
            }
        })
    }

    /// Gives each connection to `serve` on a thread of its own.
    pub(crate) fn raw(seen: Arc<Seen>, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        let (stop, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let serve = Arc::new(serve);
        let (stopped, connections, count) = (Arc::clone(&stop), Arc::clone(&open), Arc::clone(&seen));
        let thread = spawn(move || {
            let mut threads = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                count.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).expect("sets");
                connections.lock().expect("sound").push(stream.try_clone().expect("clones"));
                let serve = Arc::clone(&serve);
                threads.push(spawn(move || {
                    let end = stream.try_clone().expect("clones");
                    serve(stream);
                    let _ = end.shutdown(Shutdown::Both);
                }));
            }
            drop(listener);
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
        Self { address, seen, stop, open, thread: Some(thread) }
    }

    /// Closes all connections that are open now, without a word.
    pub(crate) fn hang_up(&self) {
        for stream in self.open.lock().expect("sound").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// All bodies of `POST` requests.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen.bodies.lock().expect("sound").clone()
    }

    /// The last request's head.
    pub(crate) fn last_head(&self) -> String {
        self.seen.heads.lock().expect("sound").last().cloned().unwrap_or_default()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.hang_up();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported already.
            let _ = thread.join();
        }
    }
}

/// Where requests wait until the test lets them go.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<Receiver<()>>>);

impl Gate {
    /// Waits for one opening; an error if the test has gone on without one.
    pub(crate) fn pass(&self) -> io::Result<()> {
        let wait = self.0.lock().expect("sound");
        wait.recv_timeout(Duration::from_secs(20)).map_err(io::Error::other)
    }
}

pub(crate) fn gate() -> (Sender<()>, Gate) {
    let (open, wait) = channel();
    (open, Gate(Arc::new(Mutex::new(wait))))
}

pub(crate) fn respond(asked: Asked<'_>, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    asked.stream.send((head + body).as_bytes())
}

fn read_request(client: &mut Client) -> io::Result<(String, String, Vec<u8>)> {
    let (mut head, mut length, mut chunked) = (String::new(), 0, false);
    loop {
        let line = client.line()?;
        if line.is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        chunked |= lower == "transfer-encoding: chunked";
        head += &format!("{lower}\n").replacen(&lower, &line, usize::from(head.is_empty()));
    }
    let mut body = vec![0; length];
    client.stream.read_exact(&mut body)?;
    while chunked {
        let chunk = client.chunk()?;
        chunked = !chunk.is_empty();
        body.extend(chunk);
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    client.stream.get_mut().flush()?;
    Ok((path, head, body))
}
