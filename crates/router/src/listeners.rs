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

/// What the supervisor's message begins with; the number of sockets for plain HTTP follows.
const WORD: u8 = b'L';

/// Clients that may wait while a worker starts again; the system may allow fewer.
const QUEUE: i32 = 4096;

/// All listening sockets of a router.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// For plain HTTP.
    pub(crate) http: Vec<TcpListener>,
    /// For TLS.
    pub(crate) https: Vec<TcpListener>,
}

impl Sockets {
    /// Binds all addresses and listens.
    pub(crate) fn bind(http: &[SocketAddr], https: &[SocketAddr]) -> Result<Self, Error> {
        if http.is_empty() && https.is_empty() {
            return Err(Error::NoAddress);
        }
        Ok(Self { http: bind(http)?, https: bind(https)? })
    }

    /// The sockets again, for one more owner.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let all = |listeners: &[TcpListener]| {
            listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()
        };
        Ok(Self { http: all(&self.http)?, https: all(&self.https)? })
    }

    /// Puts the sockets into `channel`; the other end takes them with [`Self::take`].
    pub(crate) fn give(&self, channel: &UnixStream) -> io::Result<()> {
        let fds: Vec<_> = self.http.iter().chain(&self.https).map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if fds.len() > MAX || !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("too many listening sockets"));
        }
        // No more than 64, so it fits.
        let plain = u8::try_from(self.http.len()).unwrap_or(u8::MAX);
        sendmsg(channel, &[IoSlice::new(&[WORD, plain])], &mut control, SendFlags::empty())?;
        Ok(())
    }

    /// Takes the sockets that the other end has [given](Self::give).
    pub(crate) fn take(channel: &UnixStream) -> io::Result<Self> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut word = [0; 2];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(channel, &mut [IoSliceMut::new(&mut word)], &mut control, flags)?;
        let mut http = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                http.extend(fds.map(TcpListener::from));
            }
        }
        if received.bytes != word.len()
            || word[0] != WORD
            || http.is_empty()
            || http.len() < usize::from(word[1])
        {
            return Err(io::Error::other("standard input is not the supervisor's channel"));
        }
        let https = http.split_off(usize::from(word[1]));
        Ok(Self { http, https })
    }
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
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
        let bound = Sockets::bind(&[loopback, loopback], &[loopback]).expect("binds");
        let of = |sockets: &Sockets| {
            (addresses(&sockets.http).expect("addresses"), addresses(&sockets.https).expect("addresses"))
        };
        let before = of(&bound);
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        bound.give(&ours).expect("gives");
        drop(bound);
        let taken = Sockets::take(&theirs).expect("takes");
        assert_eq!(of(&taken), before);
        std::net::TcpStream::connect(before.1[0]).expect("still listens");
    }

    #[test]
    fn a_channel_without_sockets_is_refused() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        drop(ours);
        assert!(Sockets::take(&theirs).is_err());
    }
}
