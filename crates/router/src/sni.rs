//! The name that a client asks for in its TLS handshake, looked at where it lies: nothing is taken from the socket, so whoever goes on with the connection, an
//! app or our own TLS, reads it from its first byte.
//!
//! It must never wait for more than a client has to send anyway, and never look at more than one buffer's worth.

use crate::{
    buffer::Buffer,
    codec::client_hello::{Hello, read},
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, recv},
};
use std::{io, os::fd::AsRawFd as _};
use tokio::{io::Interest, net::TcpStream};

/// The host that the handshake is for; nothing if it names none, is no handshake, or is larger than any honest one. Takes as long as the client does.
pub(crate) async fn peek(stream: &TcpStream) -> Option<Box<str>> {
    let mut known = 0;
    loop {
        let ready = stream.ready(Interest::READABLE).await.ok()?;
        match stream.try_io(Interest::READABLE, || look(stream, known)) {
            Ok((Hello::Whole(name), _)) => return name,
            Ok((Hello::Other, _)) => return None,
            Ok((Hello::Part, count)) => known = count,
            // Nothing new: the readiness is cleared, unless nothing will ever come.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => (),
            Err(_) => return None,
        }
    }
}

/// What there is, if it is more than what is known already.
fn look(stream: &TcpStream, known: usize) -> io::Result<(Hello, usize)> {
    let mut buffer = Buffer::take(false);
    let room = buffer.room(false);
    let count = recv(stream.as_raw_fd(), room, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    match count {
        Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
        Ok(count) if count <= known => Err(io::ErrorKind::WouldBlock.into()),
        Ok(count) => match read(&room[..count]) {
            Hello::Part if count == room.len() => Ok((Hello::Other, count)),
            hello => Ok((hello, count)),
        },
    }
}
