//! A real mail server that keeps what it gets: the conversation is mailin's, the socket is ours, so that it can be stopped.

use super::mail::Mail;
use crate::error::{Error, Result};
use mailin::{Action, Handler, Response, SessionBuilder, response};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The largest mail, in bytes; the most mails.
const MAX_MAIL: usize = 4 * 1024 * 1024;
const MAX_MAILS: usize = 1000;
/// The longest line of a conversation, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// The mail server.
pub(super) struct Mailbox {
    address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Mailbox {
    /// Listens on a free port of 127.0.0.1 until the process ends.
    pub(super) fn start() -> Result<Self> {
        let failed = |e| Error::because("the demo's mail server cannot start", e);
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mails = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&mails);
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let mails = Arc::clone(&received);
                // A conversation that breaks off is the sender's trouble: it tries again.
                let _ =
                    std::thread::Builder::new().name("mail".into()).spawn(move || converse(&stream, mails));
            }
        };
        std::thread::Builder::new().name("mailbox".into()).spawn(accept).map_err(failed)?;
        Ok(Self { address, mails })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it got so far.
    pub(super) fn mails(&self) -> Vec<Mail> {
        lock(&self.mails).clone()
    }
}

fn lock(mails: &Mutex<Vec<Mail>>) -> MutexGuard<'_, Vec<Mail>> {
    mails.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(stream: &TcpStream, mails: Arc<Mutex<Vec<Mail>>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let peer = stream.peer_addr()?.ip();
    let mut session = SessionBuilder::new("demo.teal.localhost")
        .build(peer, Receiver { to: Vec::new(), data: Vec::new(), mails });
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    session.greeting().write_to(&mut writer)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let reply = session.process(&line);
        match reply.action {
            Action::NoReply => {}
            Action::Close => return reply.write_to(&mut writer),
            Action::Reply | Action::UpgradeTls => {
                reply.write_to(&mut writer)?;
                writer.flush()?;
            }
        }
    }
}

/// One conversation's mail.
struct Receiver {
    to: Vec<String>,
    data: Vec<u8>,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Handler for Receiver {
    fn mail(&mut self, _: IpAddr, _: &str, _: &str) -> Response {
        self.to.clear();
        response::OK
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.to.push(to.to_owned());
        response::OK
    }

    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        self.data.clear();
        response::OK
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.data.len() + line.len() > MAX_MAIL {
            return Err(std::io::Error::other("the mail is too large"));
        }
        self.data.extend_from_slice(line);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let mut mails = lock(&self.mails);
        if mails.len() >= MAX_MAILS {
            return response::NO_STORAGE;
        }
        mails.push(Mail::read(std::mem::take(&mut self.to), &self.data));
        response::OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_that_is_sent_is_received() {
        let mailbox = Mailbox::start().expect("starts");
        let mut stream = TcpStream::connect(mailbox.address()).expect("connects");
        let mut reader = BufReader::new(stream.try_clone().expect("clones"));
        let mut line = String::new();
        for say in [
            "",
            "EHLO me\r\n",
            "MAIL FROM:<a@example.org>\r\n",
            "RCPT TO:<b@example.org>\r\n",
            "DATA\r\n",
            "Subject: it failed\r\n\r\nwhy\r\n..\r\n.\r\n",
            "QUIT\r\n",
        ] {
            stream.write_all(say.as_bytes()).expect("says");
            loop {
                line.clear();
                reader.read_line(&mut line).expect("hears");
                if line.as_bytes().get(3) == Some(&b' ') {
                    break;
                }
            }
            assert!(line.starts_with(['2', '3']), "{say:?} was answered by {line}");
        }
        let mails = mailbox.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!((mails[0].subject.as_str(), mails[0].text.trim()), ("it failed", "why\n."));
        assert_eq!(mails[0].to, ["b@example.org"]);
    }
}
