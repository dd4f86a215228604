//! A connection that knows how much went through it, and can say whether the other side has closed it.
//!
//! Both are needed to be certain that nothing of a request left this machine before it is tried elsewhere.

use crate::{buffer::Buffer, h2::Pipe, socket::Socket, splice::Splice, tls::Tls};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, Shutdown, recv, shutdown},
};
use rustls::ServerConfig;
use std::{
    io::{self, IoSlice, Read as _, Write as _},
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::coop::has_budget_remaining,
};

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    carrier: Carrier,
    written: u64,
    read: u64,
    /// The task that is woken when something comes, if it has asked for that and nothing was read since; 0 is none.
    asked: usize,
}

/// What the bytes go over.
#[derive(Debug)]
enum Carrier {
    Tcp(TcpStream),
    Tls(TcpStream, Box<Tls>),
    /// A stream of HTTP/2.
    Stream(Box<Pipe>),
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self::over(Carrier::Tcp(stream))
    }

    /// Over a stream of HTTP/2.
    pub(crate) fn stream(pipe: Pipe) -> Self {
        Self::over(Carrier::Stream(Box::new(pipe)))
    }

    /// Over TLS, once the handshake is made; and the protocol that was agreed on.
    ///
    /// # Errors
    /// If the client goes, or wants what we do not do.
    pub(crate) async fn tls(
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> io::Result<(Self, Option<Vec<u8>>)> {
        let mut tls = Box::new(Tls::new(config)?);
        std::future::poll_fn(|cx| tls.poll_handshake(cx, &stream)).await?;
        let protocol = tls.protocol().map(<[u8]>::to_vec);
        Ok((Self::over(Carrier::Tls(stream, tls)), protocol))
    }

    fn over(carrier: Carrier) -> Self {
        Self { carrier, written: 0, read: 0, asked: 0 }
    }

    /// The other end is our own HTTP/2.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.carrier, Carrier::Stream(_))
    }

    fn socket(&self) -> Option<&TcpStream> {
        match &self.carrier {
            Carrier::Tcp(stream) | Carrier::Tls(stream, _) => Some(stream),
            Carrier::Stream(_) => None,
        }
    }

    /// Bytes that the kernel took from us so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that came so far.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// So many bytes came on another way, and count as if they had been read here.
    pub(crate) fn came(&mut self, count: usize) {
        self.read += count as u64;
    }

    /// Nothing came in while the connection was idle: no end, no error, no byte that nobody asked for. Asks the kernel, because the
    /// runtime may not have seen the event yet.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        self.socket().is_some_and(|stream| recv(stream.as_raw_fd(), &mut byte, flags) == Err(Errno::EAGAIN))
    }

    /// As [`Self::is_silent`], as far as the runtime has been told: costs nothing where nothing came. What was told and is no longer so, as behind
    /// a body that was read to its last byte and not beyond, is forgotten: the next read need not find out.
    pub(crate) fn seems_silent(&self) -> bool {
        let peek = |stream: &TcpStream| {
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            stream.try_io(Interest::READABLE, || Ok(recv(stream.as_raw_fd(), &mut [0], flags)?))
        };
        let peeked = self.socket().map(peek);
        matches!(peeked, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
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
        ready!(self.poll_read_ready(cx))?;
        let buffer = buffer.get_or_insert_with(|| Buffer::take(large));
        let room = buffer.room(large);
        if room.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let count = ready!(self.poll_read(cx, room))?;
        buffer.filled(count);
        Poll::Ready(Ok(count))
    }

    /// Ready when there may be something to read, or the end.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(came) = self.news(cx) {
            // Asked in vain before, and woken since: the turn that this task has is not used up by it.
            return if came { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        // A task that has used up its turn waits without having asked.
        let has_turn = has_budget_remaining();
        let ready = match &mut self.carrier {
            Carrier::Tcp(stream) => stream.poll_read_ready(cx),
            Carrier::Tls(stream, tls) => return tls.poll_read_ready(cx, stream),
            Carrier::Stream(pipe) => return pipe.poll_read_ready(),
        };
        self.asked = if ready.is_pending() && has_turn { cx.waker().data().addr() } else { 0 };
        ready
    }

    /// Whether something came since this task asked to be woken; `None`: it has to ask, as it always has where more lies between the socket and
    /// the bytes. To ask again would cost more than to look.
    fn news(&self, cx: &Context<'_>) -> Option<bool> {
        let has_asked = self.asked != 0 && self.asked == cx.waker().data().addr();
        let stream = self.plain().ok().filter(|_| has_asked)?;
        Some(Socket(stream).has_news())
    }

    /// Nothing came since this task asked to be woken.
    pub(crate) fn is_quiet(&self, cx: &Context<'_>) -> bool {
        self.news(cx) == Some(false)
    }

    /// Whoever has it next asks anew.
    pub(crate) fn rest(&mut self) {
        self.asked = 0;
    }

    /// Reads what there is; 0 is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.asked = 0;
        let count = match &mut self.carrier {
            Carrier::Tcp(stream) => ready!(poll_socket_read(cx, stream, room))?,
            Carrier::Stream(pipe) => ready!(pipe.poll_read(room))?,
            Carrier::Tls(stream, tls) => ready!(tls.poll_read(cx, stream, room))?,
        };
        self.read += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes as much as the other side takes of these parts, in one call. Pending: the same bytes have to be offered again.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
        let count = match &mut self.carrier {
            Carrier::Tcp(stream) => ready!(poll_socket_write(cx, stream, parts))?,
            Carrier::Stream(pipe) => ready!(pipe.poll_write(parts))?,
            Carrier::Tls(stream, tls) => ready!(tls.poll_write(cx, stream, parts))?,
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    /// The socket, if nothing lies between it and the bytes.
    fn plain(&self) -> io::Result<&TcpStream> {
        match &self.carrier {
            Carrier::Tcp(stream) => Ok(stream),
            Carrier::Tls(..) | Carrier::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What comes here can go there through a pipe.
    pub(crate) fn joins(&self, to: &Self) -> bool {
        self.plain().is_ok() && to.plain().is_ok()
    }

    /// Reads into the pipe, which is empty; 0 is the end. `Unsupported`: it has to be copied.
    pub(crate) fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        splice: &mut Splice,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        self.asked = 0;
        let count = ready!(splice.poll_fill(cx, self.plain()?, most))?;
        self.read += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes what the other side takes of what is in the pipe.
    pub(crate) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        splice: &mut Splice,
    ) -> Poll<io::Result<usize>> {
        let count = ready!(splice.poll_drain(cx, self.plain()?))?;
        self.written += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Says that nothing more will come from us.
    pub(crate) fn shut(&mut self) -> io::Result<()> {
        self.farewell();
        let Some(stream) = self.socket() else { return Ok(()) };
        match shutdown(stream.as_raw_fd(), Shutdown::Write) {
            // It is closed already: what was wanted.
            Err(Errno::ENOTCONN) => Ok(()),
            other => other.map_err(io::Error::from),
        }
    }

    /// Over TLS: the end is said before the socket is closed, so that nobody can cut an answer short unnoticed.
    pub(crate) fn farewell(&mut self) {
        if let Carrier::Tls(stream, tls) = &mut self.carrier {
            tls.shut(stream);
        }
    }

    /// Makes the coming close a reset: for an answer that would look complete otherwise.
    pub(crate) fn reset(&self) {
        // If it fails, the connection is gone, which the other side will notice, too.
        if let Some(stream) = self.socket() {
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
        }
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

fn poll_socket_read(cx: &mut Context<'_>, stream: &TcpStream, room: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        match Socket(stream).read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_read_ready(cx))?,
            done => return Poll::Ready(done),
        }
    }
}

fn poll_socket_write(cx: &mut Context<'_>, stream: &TcpStream, parts: &[&[u8]]) -> Poll<io::Result<usize>> {
    loop {
        match write_parts(&mut Socket(stream), parts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
            done => return Poll::Ready(done),
        }
    }
}

fn write_parts(socket: &mut Socket<'_>, parts: &[&[u8]]) -> io::Result<usize> {
    if let [only] = parts {
        return socket.write(only);
    }
    let mut slices = [IoSlice::new(&[]); 3];
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    socket.write_vectored(&slices[..parts.len().min(3)])
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(Self::poll_read(self.get_mut(), cx, room.initialize_unfilled()))?;
        room.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(self.get_mut(), cx, &[bytes])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut slices: [&[u8]; 3] = [&[]; 3];
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = part;
        }
        Self::poll_write(self.get_mut(), cx, &slices[..parts.len().min(3)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was told as written has left.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().shut())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};
    use tokio::{
        net::TcpListener,
        task::{LocalSet, coop::poll_proceed, spawn_local, yield_now},
        time::timeout,
    };

    /// A wire, and the other end of it.
    async fn pair() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("bound");
        let (here, there) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Wire::new(here.expect("connects")), there.expect("accepts").0)
    }

    /// Uses up what this task may do in one turn.
    fn use_up(cx: &mut Context<'_>) {
        while let Poll::Ready(turn) = poll_proceed(cx) {
            turn.made_progress();
        }
    }

    #[tokio::test]
    async fn a_task_that_had_used_up_its_turn_is_woken_all_the_same() {
        let (mut wire, there) = pair().await;
        let woken = async move {
            poll_fn(|cx| {
                use_up(cx);
                assert!(wire.poll_read_ready(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            poll_fn(|cx| wire.poll_read_ready(cx)).await.expect("ready");
        };
        let beside = async move {
            let woken = spawn_local(woken);
            yield_now().await;
            drop(there);
            timeout(Duration::from_secs(60), woken).await.expect("it is woken").expect("ends");
        };
        LocalSet::new().run_until(beside).await;
    }

    #[tokio::test]
    async fn who_has_asked_is_told_of_each_piece() {
        let (mut wire, there) = pair().await;
        let reading = async move {
            let (mut room, mut read) = ([0; 8], 0);
            while read < 20 {
                poll_fn(|cx| {
                    let quiet = wire.poll_read_ready(cx).is_pending();
                    // Whoever asks twice is still told.
                    if quiet { wire.poll_read_ready(cx).map_ok(drop) } else { Poll::Ready(Ok(())) }
                })
                .await
                .expect("ready");
                read += poll_fn(|cx| wire.poll_read(cx, &mut room)).await.expect("reads");
            }
        };
        let beside = async move {
            let reading = spawn_local(reading);
            for _ in 0..20 {
                there.writable().await.expect("open");
                assert_eq!(there.try_write(b"x").expect("writes"), 1);
                yield_now().await;
            }
            timeout(Duration::from_secs(60), reading).await.expect("all of it is read").expect("ends");
        };
        LocalSet::new().run_until(beside).await;
    }
}
