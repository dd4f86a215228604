//! Listening sockets: bound once, handed from the supervisor to its worker, so that they stay open while workers come and go.

use crate::error::Error;
use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, sockopt,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
};

/// Sockets that one router can have.
const MAX: usize = 64;

/// Clients that may wait while a worker starts again; the system may allow fewer.
const QUEUE: i32 = 4096;

/// Binds all addresses and listens.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    if addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    let listen = |address: &SocketAddr| {
        // Where IPv4 has a socket of its own, the IPv6 one must leave it alone.
        let shared = !addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        let bound = bind_one(*address, shared);
        bound.map_err(|source| Error::Listen { address: *address, source })
    };
    addresses.iter().take(MAX).map(listen).collect()
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !shared)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, QUEUE)?;
    Ok(TcpListener::from(socket))
}

/// The addresses that the sockets got.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, Error> {
    let addresses: io::Result<_> = listeners.iter().map(TcpListener::local_addr).collect();
    addresses.map_err(|source| Error::Start { part: "a listening socket", source })
}

/// Puts the sockets into `channel`; the other end takes them with [`take`].
pub(crate) fn give(channel: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("too many listening sockets"));
    }
    sendmsg(channel, &[IoSlice::new(b"L")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Takes the sockets that the other end has [given](give).
pub(crate) fn take(channel: &UnixStream) -> io::Result<Vec<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut word = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut word)], &mut control, flags)?;
    let mut listeners = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            listeners.extend(fds.map(TcpListener::from));
        }
    }
    if received.bytes == 0 || word != *b"L" || listeners.is_empty() {
        return Err(io::Error::other("standard input is not the supervisor's channel"));
    }
    Ok(listeners)
}

/// The supervisor's channel: this process's standard input.
pub(crate) fn inherited() -> io::Result<UnixStream> {
    let input: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    if sockopt::socket_type(&input)? != SocketType::STREAM {
        return Err(io::Error::other("standard input is not a stream socket"));
    }
    Ok(UnixStream::from(input))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_survive_the_hand_over() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = bind(&[loopback, loopback]).expect("binds");
        let before = addresses(&bound).expect("addresses");
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        give(&ours, &bound).expect("gives");
        drop(bound);
        let taken = take(&theirs).expect("takes");
        assert_eq!(addresses(&taken).expect("addresses"), before);
        std::net::TcpStream::connect(before[1]).expect("still listens");
    }

    #[test]
    fn a_channel_without_sockets_is_refused() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(ours);
        assert!(take(&theirs).is_err());
    }
}
