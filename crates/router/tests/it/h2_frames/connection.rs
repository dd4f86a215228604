//! A client's connection that sends whatever bytes it is told to, and collects what comes back.

use super::{
    block,
    frame::{self, Frame, MARK, PREFACE},
};
use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

/// What came back so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The code of the `GOAWAY`.
    pub(crate) goaway: Option<u32>,
    /// The connection is over.
    pub(crate) closed: bool,
    /// Codes of `RST_STREAM`, by stream.
    pub(crate) resets: BTreeMap<u32, u32>,
    /// Statuses of answers, by stream.
    pub(crate) answers: BTreeMap<u32, Vec<u16>>,
    /// Lengths of `DATA` frames, by stream.
    pub(crate) data: BTreeMap<u32, Vec<usize>>,
    /// Streams that the other side has ended in good order.
    pub(crate) ended: Vec<u32>,
    /// The answer to our `PING` came.
    pub(crate) pong: bool,
    /// Acknowledgements of our settings.
    pub(crate) acks: usize,
    /// The other side's settings.
    pub(crate) settings: BTreeMap<u16, u32>,
    /// How much of each kind of frame came.
    pub(crate) kinds: BTreeMap<u8, usize>,
}

pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
    /// Why the last write failed.
    broke: Option<io::ErrorKind>,
    pub(crate) seen: Seen,
}

impl Connection {
    /// After the handshake of TLS; nothing of HTTP/2 was said yet.
    pub(crate) fn dial(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("sets");
        stream.set_nodelay(true).expect("sets");
        let name = ServerName::try_from("shop.test").expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("legal");
        let mut stream = StreamOwned::new(tls, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("shakes hands");
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        Self { stream, unread: Vec::new(), broke: None, seen: Seen::default() }
    }

    /// As every honest client begins: each side has the other's settings, and knows so.
    pub(crate) fn open(address: SocketAddr, config: &Arc<ClientConfig>, settings: &[(u16, u32)]) -> Self {
        let mut this = Self::dial(address, config);
        this.send(&[PREFACE, &frame::settings(settings)].concat());
        this.until(|seen| seen.acks > 0 && seen.kinds.contains_key(&frame::SETTINGS) || seen.closed);
        assert!(!this.seen.closed, "{:?}", this.seen);
        this.send(&frame::frame(frame::SETTINGS, frame::ACK, 0, &[]));
        this.seen.acks = 0;
        this
    }

    /// Sends it; `false` if the other side takes no more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        self.broke = sent.err().map(|error| error.kind());
        self.broke.is_none()
    }

    /// From now on a write that the other side does not take fails soon.
    pub(crate) fn give_up_soon(&mut self) {
        self.stream.sock.set_write_timeout(Some(Duration::from_secs(1))).expect("sets");
    }

    /// The other side has not closed, as far as can be seen without reading what it has sent.
    pub(crate) fn is_alive(&self) -> bool {
        use nix::sys::socket::{getsockopt, sockopt::SocketError};
        self.broke.is_none_or(|kind| matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
            && getsockopt(&self.stream.sock, SocketError).is_ok_and(|error| error == 0)
    }

    /// Reads until it is so, or until the connection is over, or until nothing comes for 20 s; says whether it is so.
    pub(crate) fn until(&mut self, so: impl Fn(&Seen) -> bool) -> bool {
        while !so(&self.seen) {
            if self.seen.closed || !self.step() {
                return so(&self.seen);
            }
        }
        true
    }

    /// Takes one frame or more bytes; `false` if nothing came in time.
    fn step(&mut self) -> bool {
        if let Some((frame, length)) = frame::parse(&self.unread) {
            self.unread.drain(..length);
            self.see(&frame);
            return true;
        }
        let mut room = [0; 16 * 1024];
        match self.stream.read(&mut room) {
            Ok(0) => self.seen.closed = true,
            Ok(count) => self.unread.extend_from_slice(&room[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return false;
            }
            Err(_) => self.seen.closed = true,
        }
        true
    }

    fn see(&mut self, frame: &Frame) {
        let seen = &mut self.seen;
        *seen.kinds.entry(frame.kind).or_default() += 1;
        match frame.kind {
            frame::GOAWAY => seen.goaway = Some(frame.number(4)),
            frame::RST_STREAM => drop(seen.resets.insert(frame.stream, frame.number(0))),
            frame::HEADERS => {
                let statuses = seen.answers.entry(frame.stream).or_default();
                statuses.extend(block::status(&frame.payload));
            }
            frame::DATA => seen.data.entry(frame.stream).or_default().push(frame.payload.len()),
            frame::PING => seen.pong |= frame.flags & frame::ACK != 0 && frame.payload == MARK,
            frame::SETTINGS if frame.flags & frame::ACK != 0 => seen.acks += 1,
            frame::SETTINGS => {
                let values = frame.payload.as_chunks::<6>().0.iter();
                let value = |at: &[u8; 6]| {
                    (u16::from_be_bytes([at[0], at[1]]), u32::from_be_bytes([at[2], at[3], at[4], at[5]]))
                };
                seen.settings.extend(values.map(value));
            }
            _ => (),
        }
        let ends = matches!(frame.kind, frame::HEADERS | frame::DATA) && frame.flags & frame::END_STREAM != 0;
        if ends {
            seen.ended.push(frame.stream);
        }
    }

    /// The client is gone, without a word.
    pub(crate) fn vanish(self) {
        let _ = self.stream.sock.shutdown(Shutdown::Both);
    }
}
