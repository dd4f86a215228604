//! A connection that knows how much was written to it, and can say whether the other side has closed it.
//!
//! Both are needed to be certain that nothing of a request left this machine before it is tried elsewhere. It also survives what hyper
//! would take for the end: an instance that answers and closes before it has read the whole request is still heard.

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, shutdown},
};
use std::{
    io,
    os::fd::AsRawFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What the pool sees of a connection while hyper drives it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    written: AtomicU64,
    /// The other end may close before it has read everything, and have answered.
    patient: bool,
}

impl Wire {
    /// To an instance.
    pub(crate) fn to_app(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self { stream, written: AtomicU64::new(0), patient: true })
    }

    /// To a client.
    pub(crate) fn to_client(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self { stream, written: AtomicU64::new(0), patient: false })
    }

    /// Reads to the end and forgets what comes: closing before that would be a reset, which can take our last answer with it.
    pub(crate) async fn exhaust(&self) -> io::Result<()> {
        shut(&self.stream)?;
        let mut rest = [0; 4096];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes that the kernel took from us so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Nothing came in while the connection was idle: no end, no error, no byte that nobody asked for. Asks the kernel, because the
    /// runtime may not have seen the event yet.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.stream.as_raw_fd(), &mut byte, flags) == Err(Errno::EAGAIN)
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Ok(count) => {
                    self.written.fetch_add(count as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                // Nothing more can be sent, but an answer may lie there. Reading finds it, or the end, and wakes whoever waits.
                Err(error) if self.patient && is_closed(&error) => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn shut(stream: &TcpStream) -> io::Result<()> {
    match shutdown(stream.as_raw_fd(), Shutdown::Write) {
        // It is closed already: what was wanted.
        Err(Errno::ENOTCONN) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

/// The reading and writing half that is given away: to hyper, and after an upgrade to the tunnel.
#[derive(Debug)]
pub(crate) struct Io(pub(crate) Arc<Wire>);

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buf) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shut(&self.0.stream))
    }
}
