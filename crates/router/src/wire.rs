//! A connection that knows how much went through it, and can say whether the other side has closed it.
//!
//! Both are needed to be certain that nothing of a request left this machine before it is tried elsewhere.

use crate::buffer::Buffer;
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, shutdown},
};
use std::{
    io::{self, IoSlice},
    os::fd::AsRawFd,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// One socket.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    written: u64,
    read: u64,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, written: 0, read: 0 }
    }

    /// Bytes that the kernel took from us so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that came so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Nothing came in while the connection was idle: no end, no error, no byte that nobody asked for. Asks the kernel, because the
    /// runtime may not have seen the event yet.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.stream.as_raw_fd(), &mut byte, flags) == Err(Errno::EAGAIN)
    }

    /// Reads into the buffer, which is taken only once there is something to read; 0 is the end.
    ///
    /// # Errors
    /// What the socket says; `OutOfMemory` if the buffer is full.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Option<Buffer>,
        large: bool,
    ) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_read_ready(cx))?;
        let buffer = buffer.get_or_insert_with(|| Buffer::take(large));
        let room = buffer.room(large);
        if room.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let count = ready!(self.poll_read(cx, room))?;
        buffer.filled(count);
        Poll::Ready(Ok(count))
    }

    /// Reads what there is; 0 is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        self.read += room.filled().len() as u64;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Writes as much as the socket takes of these parts, in one call.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let count = match parts {
            [only] => ready!(stream.poll_write(cx, only))?,
            _ => {
                let mut slices = [IoSlice::new(&[]); 3];
                for (slice, part) in slices.iter_mut().zip(parts) {
                    *slice = IoSlice::new(part);
                }
                ready!(stream.poll_write_vectored(cx, &slices[..parts.len().min(3)]))?
            }
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Says that nothing more will come from us.
    pub(crate) fn shut(&self) -> io::Result<()> {
        match shutdown(self.stream.as_raw_fd(), Shutdown::Write) {
            // It is closed already: what was wanted.
            Err(Errno::ENOTCONN) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    /// Makes the coming close a reset: for an answer that would look complete otherwise.
    pub(crate) fn reset(&self) {
        // If it fails, the connection is gone, which the other side will notice, too.
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO));
    }

    /// Reads to the end and forgets what comes: closing before that would be a reset, which can take our last answer with it.
    pub(crate) async fn exhaust(&mut self) -> io::Result<()> {
        self.shut()?;
        let mut rest = Some(Buffer::take(false));
        while std::future::poll_fn(|cx| self.poll_fill(cx, &mut rest, false)).await? > 0 {
            if let Some(rest) = &mut rest {
                rest.skip(usize::MAX / 2);
            }
        }
        Ok(())
    }
}

/// Waits until all of it is written.
pub(crate) async fn write_all(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        sent += std::future::poll_fn(|cx| wire.poll_write(cx, &[&bytes[sent..]])).await?;
    }
    Ok(())
}
