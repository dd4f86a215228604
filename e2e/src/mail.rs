//! A real mail server that keeps what it gets, and can be down.

use anyhow::Result;
use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

/// A mail that was delivered.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// Who got it.
    pub to: Vec<String>,
    /// Everything, headers first.
    pub text: String,
}

/// The server. It lives as long as the test's process.
#[derive(Clone)]
pub struct MailServer {
    address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl MailServer {
    /// Listens on a free port of the loopback.
    ///
    /// # Errors
    /// If it cannot.
    pub fn start() -> Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Listens on this address: for a server that comes up after it was down.
    ///
    /// # Errors
    /// If it cannot.
    pub fn start_on(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let this = Self { address: listener.local_addr()?, mails: Arc::default() };
        let mails = Arc::clone(&this.mails);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let handler = Handler { mails: Arc::clone(&mails), current: Mail::default() };
                std::thread::spawn(move || converse(&stream, handler).is_ok());
            }
        });
        Ok(this)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it got so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One conversation, to its end.
fn converse(stream: &TcpStream, handler: Handler) -> std::io::Result<()> {
    let mut session = mailin::SessionBuilder::new("mail.test").build(stream.peer_addr()?.ip(), handler);
    let mut output = stream;
    session.greeting().write_to(&mut output)?;
    let mut input = BufReader::new(stream);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let response = session.process(&line);
        line.clear();
        if response.action != mailin::Action::NoReply {
            response.write_to(&mut output)?;
        }
        if response.action == mailin::Action::Close {
            break;
        }
    }
    Ok(())
}

struct Handler {
    mails: Arc<Mutex<Vec<Mail>>>,
    current: Mail,
}

impl mailin::Handler for Handler {
    fn data_start(&mut self, _: &str, _: &str, _: bool, to: &[String]) -> mailin::Response {
        self.current = Mail { to: to.to_vec(), text: String::new() };
        mailin::response::OK
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.current.text.push_str(&String::from_utf8_lossy(bytes));
        Ok(())
    }

    fn data_end(&mut self) -> mailin::Response {
        let mail = std::mem::take(&mut self.current);
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        mailin::response::OK
    }
}
