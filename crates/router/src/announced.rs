//! Connections that come through a proxy of the operator's which speaks the PROXY protocol: its header is read first, and the client that it names is
//! the one who asks from then on.
//!
//! Nothing behind the header may be read here, and a connection without one must never be served: whose word it is would be unknown.

use crate::{
    codec::proxy_protocol::{MAX_HEADER, Malformed, Step, step},
    serve::{self, LAST_BYTES, Origin},
    worker::Worker,
};
use memchr::memchr;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

/// Connections from this address must begin with a header.
pub(crate) fn is_expected(worker: &Worker, address: IpAddr) -> bool {
    worker.proxy_protocol && worker.trusted.contains(&address.to_canonical())
}

/// Reads the header and serves the client behind it.
pub(crate) async fn connection(worker: Rc<Worker>, mut stream: TcpStream, origin: Origin) {
    let stopped = async {
        worker.stopping.cancelled().await;
        tokio::time::sleep(LAST_BYTES).await;
    };
    let read = tokio::select! {
        read = timeout(worker.limits.announce, header(&mut stream)) => read,
        () = stopped => return,
    };
    match read {
        Ok(Ok(client)) => {
            if let Some(origin) = origin.behind(&worker, client) {
                serve::begin(&worker, stream, origin);
            }
        }
        // Its look whether we are there.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!(proxy = origin.node(), "a proxy went without a word");
        }
        Ok(Err(error)) => tracing::warn!(proxy = origin.node(), %error, "a proxy's connection is closed"),
        Err(_) => tracing::warn!(proxy = origin.node(), "a proxy did not say in time for whom it speaks"),
    }
}

/// The client that the header names, if it names one.
async fn header(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut room = [0; MAX_HEADER];
    let mut taken = 0;
    loop {
        let malformed = |error: Malformed| io::Error::new(io::ErrorKind::InvalidData, error);
        let most = match step(&room[..taken]).map_err(malformed)? {
            Step::Whole(client) => return Ok(client),
            Step::More(count) => count,
            Step::Line => up_to_line_feed(stream, &mut room[taken..]).await?,
        };
        let room = room.get_mut(taken..taken + most).ok_or(io::ErrorKind::InvalidData)?;
        match stream.read(room).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => taken += count,
        }
    }
}

/// How many of the bytes that are there belong to the line: all of them, unless it ends.
async fn up_to_line_feed(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    match stream.peek(room).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(memchr(b'\n', &room[..count]).map_or(count, |end| end + 1)),
    }
}
