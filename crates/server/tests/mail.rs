//! The outbox against a real SMTP conversation on loopback: delivered once, whatever the mail server does in between.

#![allow(missing_docs, reason = "a test program has no readers of its documentation")]

use mailin::{Action, Handler, Response, SessionBuilder, response};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use teal_core::time::Time;
use teal_server::{
    config::Smtp,
    notify::{self, Outbox},
    platform::Changed,
    store::{Carrier, QueuedMail, Result},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::JoinHandle,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// A mail server that takes what it gets, unless it was told something else to say first.
#[derive(Clone, Default)]
struct Post {
    mails: Arc<watch::Sender<Vec<String>>>,
    /// What it says to the next recipients, before it is willing again.
    moods: Arc<Mutex<Vec<u16>>>,
    /// It takes this many mails and breaks the connection instead of saying so.
    silences: Arc<Mutex<usize>>,
}

impl Post {
    async fn listen(&self, address: SocketAddr) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.expect("listens");
        let address = listener.local_addr().expect("address");
        let post = self.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(post.clone().converse(stream));
            }
        });
        (address, task)
    }

    async fn converse(self, stream: TcpStream) -> io::Result<()> {
        let silent = Arc::new(Mutex::new(false));
        let clerk = Clerk { post: self.clone(), letter: Vec::new(), silent: Arc::clone(&silent) };
        let peer = stream.peer_addr()?.ip();
        let mut session = SessionBuilder::new("post").build(peer, clerk);
        let mut stream = BufReader::new(stream);
        stream.write_all(&session.greeting().buffer()?).await?;
        loop {
            let mut line = Vec::new();
            if stream.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let response = session.process(&line);
            if *silent.lock().expect("lock") {
                return Ok(());
            }
            if !matches!(response.action, Action::NoReply) {
                stream.write_all(&response.buffer()?).await?;
            }
            if matches!(response.action, Action::Close) {
                return Ok(());
            }
        }
    }

    async fn has(&self, count: usize) -> Vec<String> {
        let mut mails = self.mails.subscribe();
        let wait = mails.wait_for(|mails| mails.len() >= count);
        tokio::time::timeout(PATIENCE, wait).await.expect("the mail arrives").expect("open").clone()
    }
}

struct Clerk {
    post: Post,
    letter: Vec<u8>,
    silent: Arc<Mutex<bool>>,
}

impl Handler for Clerk {
    fn rcpt(&mut self, _to: &str) -> Response {
        match self.post.moods.lock().expect("lock").pop() {
            None => response::OK,
            Some(code) => Response::custom(code, "not in the mood".into()),
        }
    }

    fn data_start(&mut self, _domain: &str, _from: &str, _is8bit: bool, _to: &[String]) -> Response {
        self.letter.clear();
        response::OK
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.letter.extend_from_slice(bytes);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let letter = String::from_utf8_lossy(&self.letter).into_owned();
        let mut silences = self.post.silences.lock().expect("lock");
        if *silences > 0 {
            *silences -= 1;
            *self.silent.lock().expect("lock") = true;
        }
        self.post.mails.send_modify(|mails| mails.push(letter));
        response::OK
    }
}

/// An outbox in memory in which pauses are a thousand times shorter, so that a test need not wait for them.
#[derive(Clone, Default)]
struct Tray {
    rows: Arc<watch::Sender<BTreeMap<String, Row>>>,
}

#[derive(Clone)]
struct Row {
    mail: QueuedMail,
    next: Time,
    delivered: bool,
    given_up: bool,
    error: Option<String>,
}

impl Tray {
    fn put(&self, id: &str, recipient: &str) {
        let mail = QueuedMail {
            id: id.into(),
            recipient: recipient.into(),
            subject: "shop: a1b2c3d failed\r\nBcc: all@example.org".into(),
            text: "plain\n".into(),
            html: "<p>html</p>".into(),
            hook: None,
            queued_at: now(),
            attempts: 0,
        };
        let row = Row { mail, next: Time(0), delivered: false, given_up: false, error: None };
        self.rows.send_modify(|rows| drop(rows.insert(id.into(), row)));
    }

    async fn row(&self, id: &str, wanted: impl Fn(&Row) -> bool) -> Row {
        let mut rows = self.rows.subscribe();
        let wait = rows.wait_for(|rows| rows.get(id).is_some_and(&wanted));
        tokio::time::timeout(PATIENCE, wait).await.expect("it comes so far").expect("open")[id].clone()
    }
}

fn now() -> Time {
    teal_server::world::now()
}

impl Outbox for Tray {
    async fn due(&self, _: Carrier, now: Time, limit: u32) -> Result<Vec<QueuedMail>> {
        let rows = self.rows.borrow();
        let due = rows.values().filter(|row| !row.delivered && !row.given_up && row.next <= now);
        Ok(due.take(limit as usize).map(|row| row.mail.clone()).collect())
    }

    async fn next(&self, _: Carrier) -> Result<Option<Time>> {
        let rows = self.rows.borrow();
        Ok(rows.values().filter(|row| !row.delivered && !row.given_up).map(|row| row.next).min())
    }

    async fn delivered(&self, id: String, _at: Time, _said: String) -> Result<()> {
        self.rows.send_modify(|rows| rows.get_mut(&id).expect("known").delivered = true);
        Ok(())
    }

    async fn failed(&self, id: String, next: Option<Time>, error: String) -> Result<()> {
        self.rows.send_modify(|rows| {
            let row = rows.get_mut(&id).expect("known");
            row.mail.attempts += 1;
            row.given_up = next.is_none();
            row.next = next.map_or(row.next, |next| now().plus(next.since(now()) / 1_000));
            row.error = Some(error);
        });
        Ok(())
    }
}

fn smtp(address: SocketAddr) -> Smtp {
    Smtp {
        host: address.ip().to_string(),
        port: address.port(),
        encryption: "none".into(),
        user: None,
        password_file: None,
        from: "Teal <teal@example.org>".into(),
    }
}

/// The worker, with the sender that wakes it.
fn worker(address: SocketAddr, outbox: &Tray) -> (JoinHandle<()>, broadcast::Sender<Changed>) {
    let changes = broadcast::Sender::new(8);
    let task =
        tokio::spawn(notify::deliver(notify::Post(smtp(address)), outbox.clone(), changes.subscribe()));
    (task, changes)
}

fn wake(changes: &broadcast::Sender<Changed>) {
    changes.send(Changed { app: "a-shop".parse().expect("legal") }).expect("somebody listens");
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

#[tokio::test]
async fn a_mail_that_waited_for_the_mail_server_is_delivered_once() {
    let address = TcpListener::bind(loopback()).await.expect("listens").local_addr().expect("address");
    let outbox = Tray::default();
    outbox.put("d-1-ada", "ada@example.org");
    let (task, changes) = worker(address, &outbox);
    let row = outbox.row("d-1-ada", |row| row.mail.attempts >= 2).await;
    assert!(row.error.is_some_and(|error| !error.is_empty()));
    let post = Post::default();
    let (_, server) = post.listen(address).await;
    outbox.row("d-1-ada", |row| row.delivered).await;
    outbox.put("d-2-ada", "ada@example.org");
    wake(&changes);
    let mails = post.has(2).await;
    assert_eq!(mails.len(), 2);
    let first = &mails[0];
    for header in
        ["Message-ID: <d-1-ada@example.org>", "Auto-Submitted: auto-generated", "To: ada@example.org"]
    {
        assert!(first.contains(header), "{header:?} is not in {first}");
    }
    assert!(!first.contains("\nBcc:"), "{first}");
    assert!(first.contains("text/plain") && first.contains("text/html"), "{first}");
    task.abort();
    server.abort();
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again_and_one_for_good_is_not() {
    let post = Post::default();
    let (address, server) = post.listen(loopback()).await;
    *post.moods.lock().expect("lock") = vec![451, 450];
    let outbox = Tray::default();
    outbox.put("d-1-ada", "ada@example.org");
    let (task, changes) = worker(address, &outbox);
    let row = outbox.row("d-1-ada", |row| row.delivered).await;
    assert_eq!(row.mail.attempts, 2);

    *post.moods.lock().expect("lock") = vec![550];
    outbox.put("d-2-bob", "bob@example.org");
    outbox.put("d-3-eve", "not an address");
    wake(&changes);
    let refused = outbox.row("d-2-bob", |row| row.given_up).await;
    assert!(
        refused.error.as_ref().is_some_and(|error| error.contains("not in the mood")),
        "{:?}",
        refused.error
    );
    let illegal = outbox.row("d-3-eve", |row| row.given_up).await;
    assert!(illegal.error.is_some_and(|error| error.contains("not a mail address")));
    assert_eq!(post.has(1).await.len(), 1);
    task.abort();
    server.abort();
}

#[tokio::test]
async fn a_repetition_after_a_lost_answer_is_recognised() {
    let post = Post::default();
    let (address, server) = post.listen(loopback()).await;
    *post.silences.lock().expect("lock") = 1;
    let outbox = Tray::default();
    outbox.put("d-1-ada", "ada@example.org");
    let (task, _changes) = worker(address, &outbox);
    outbox.row("d-1-ada", |row| row.delivered).await;
    let mails = post.has(2).await;
    let id = |mail: &String| mail.lines().find(|line| line.starts_with("Message-ID")).map(str::to_owned);
    let date = |mail: &String| mail.lines().find(|line| line.starts_with("Date")).map(str::to_owned);
    assert_eq!(id(&mails[0]), id(&mails[1]));
    assert_eq!(date(&mails[0]), date(&mails[1]));
    task.abort();
    server.abort();
}

#[tokio::test]
async fn a_test_mail_tells_what_the_server_said() {
    let post = Post::default();
    let (address, server) = post.listen(loopback()).await;
    let said = notify::test(&smtp(address), "ada@example.org").await.expect("taken");
    assert!(said.starts_with("250"), "{said}");
    *post.moods.lock().expect("lock") = vec![550];
    let error = notify::test(&smtp(address), "ada@example.org").await.expect_err("refused");
    assert!(error.to_string().contains("not in the mood"), "{error}");
    let clear = Smtp { host: "mail.example.org".into(), user: Some("teal".into()), ..smtp(address) };
    assert!(matches!(notify::test(&clear, "ada@example.org").await, Err(notify::Error::ClearPassword(_))));
    let odd = Smtp { encryption: "ssl".into(), ..smtp(address) };
    assert!(matches!(notify::test(&odd, "ada@example.org").await, Err(notify::Error::Encryption(_))));
    server.abort();
}
