//! TLS over one client's socket, without a buffer of its own while nothing is on its way.
//!
//! A write is told as done only when the socket has taken all of its records: whoever closes behind it loses nothing.

use crate::socket::Socket;
use rustls::{ServerConfig, ServerConnection};
use std::{
    io::{self, Read as _, Write as _},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::net::TcpStream;

/// What one write may turn into records at once, in bytes.
const MOST: usize = 64 * 1024;

/// One side of a TLS connection.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ServerConnection,
    /// Decrypted and not read yet.
    plain: usize,
    /// Encrypted for a caller that was not told so yet, because not all of it has left.
    taken: usize,
    /// The client has said that nothing more comes, or is gone.
    ended: bool,
}

impl Tls {
    /// Before the handshake.
    pub(crate) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(2 * MOST));
        Ok(Self { connection, plain: 0, taken: 0, ended: false })
    }

    /// The protocol that both agreed on, once the handshake is done.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Makes the handshake.
    ///
    /// # Errors
    /// If the client goes, or wants what we do not do; it was told what.
    pub(crate) fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
    ) -> Poll<io::Result<()>> {
        while self.connection.is_handshaking() {
            ready!(self.poll_flush(cx, stream))?;
            if !self.connection.is_handshaking() {
                break;
            }
            ready!(self.poll_receive(cx, stream))?;
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        self.poll_flush(cx, stream)
    }

    /// Ready when there is something to read: bytes, or the end.
    pub(crate) fn poll_read_ready(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
    ) -> Poll<io::Result<()>> {
        while self.plain == 0 && !self.ended {
            // Tickets and answers to the client's own housekeeping leave whenever there is room.
            if let Poll::Ready(flushed) = self.poll_flush(cx, stream) {
                flushed?;
            }
            ready!(self.poll_receive(cx, stream))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what there is; 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_read_ready(cx, stream))?;
        if self.plain == 0 {
            return Poll::Ready(Ok(0));
        }
        let count = self.connection.reader().read(room)?;
        self.plain -= count.min(self.plain);
        Poll::Ready(Ok(count))
    }

    /// Encrypts these parts and has the socket take them. Pending: the same bytes have to be offered again.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        parts: &[&[u8]],
    ) -> Poll<io::Result<usize>> {
        if self.taken == 0 {
            ready!(self.poll_flush(cx, stream))?;
            let mut left = MOST;
            for part in parts {
                let part = &part[..part.len().min(left)];
                let count = self.connection.writer().write(part)?;
                self.taken += count;
                left -= count;
                if count < part.len() || left == 0 {
                    break;
                }
            }
        }
        ready!(self.poll_flush(cx, stream))?;
        Poll::Ready(Ok(std::mem::take(&mut self.taken)))
    }

    /// Says that nothing more will come from us, if there is room for saying it.
    pub(crate) fn shut(&mut self, stream: &TcpStream) {
        self.connection.send_close_notify();
        let _ = self.connection.write_tls(&mut Socket(stream));
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(stream)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(stream.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Receives some records and decrypts them.
    fn poll_receive(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<io::Result<()>> {
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match self.connection.read_tls(&mut Socket(stream)) {
                // An end without notice: the length of what was sent is the framing's business, which finds it out.
                Ok(0) => self.ended = true,
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The client is told why, if there is room for it.
                    let _ = self.connection.write_tls(&mut Socket(stream));
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            };
            self.plain = state.plaintext_bytes_to_read();
            self.ended |= state.peer_has_closed();
            return Poll::Ready(Ok(()));
        }
    }
}
