//! The agent's socket: few clients, bounded frames, never waited for.

use crate::pid1::channel::Channel;
use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
};
use teal_core::agent::{MAX_FRAME, Reply, Request, body_length, decode, encode};

/// More at once than a server ever opens; the oldest goes first.
const MAX_CLIENTS: usize = 32;

#[derive(Debug)]
struct Client {
    id: u64,
    stream: UnixStream,
    received: Vec<u8>,
    open: bool,
}

/// The socket and who is connected to it.
#[derive(Debug)]
pub(crate) struct Clients {
    listener: UnixListener,
    all: Vec<Client>,
    next: u64,
}

impl Clients {
    /// Nobody yet.
    pub(crate) fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, all: Vec::new(), next: 0 })
    }

    /// The listening socket.
    fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Takes who knocks.
    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.all.len() >= MAX_CLIENTS {
                self.all.remove(0);
            }
            self.next += 1;
            self.all.push(Client { id: self.next, stream, received: Vec::new(), open: true });
        }
    }
}

impl Channel for Clients {
    /// The listening socket, then those who are connected.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let all = self.all.iter().map(|client| client.stream.as_fd());
        std::iter::once(self.listener()).chain(all).collect()
    }

    fn requests(&mut self, ready: &[bool]) -> Vec<(u64, Request)> {
        let mut requests = Vec::new();
        for (client, _) in self.all.iter_mut().zip(ready.iter().skip(1)).filter(|(_, ready)| **ready) {
            client.receive(&mut requests);
        }
        self.all.retain(|client| client.open);
        if ready.first() == Some(&true) {
            self.accept();
        }
        requests
    }

    /// One that has gone or does not read is closed.
    fn answer(&mut self, id: u64, reply: &Reply) {
        let Some(client) = self.all.iter_mut().find(|client| client.id == id) else { return };
        // A socket's buffer takes a whole frame: who has not read the last answers is broken.
        let sent =
            encode(reply, MAX_FRAME).map_err(io::Error::other).and_then(|f| client.stream.write_all(&f));
        client.open = sent.is_ok();
        self.all.retain(|client| client.open);
    }
}

impl Client {
    fn receive(&mut self, requests: &mut Vec<(u64, Request)>) {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.open = false,
            Ok(n) => self.received.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.open = false,
        }
        while let Some(prefix) = self.received.first_chunk::<4>() {
            let Ok(length) = body_length(*prefix, MAX_FRAME) else {
                self.open = false;
                return;
            };
            let Some(body) = self.received.get(4..4 + length) else { return };
            match decode(body) {
                Ok(request) => requests.push((self.id, request)),
                Err(_) => self.open = false,
            }
            self.received.drain(..4 + length);
        }
    }
}
