//! Listening sockets: bound once, and handed from process to process, so that they stay open while workers come and go.
//!
//! Each address has one socket for each worker thread (`SO_REUSEPORT`), so that threads do not wake each other for one client. Who takes them over must serve
//! all of them: a socket that nobody accepts from would keep its share of the clients waiting.
//! TCP ports of apps are opened later, by the worker that the table tells of them ([`crate::ports`]); each has one socket.

use crate::{channel::MAX_FDS, channel::Report, error::Error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// Clients that may wait while a worker starts again; the system may allow fewer.
const QUEUE: i32 = 4096;

/// A client that has been silent for this long is asked by the kernel whether it is there.
const ASKED: Duration = Duration::from_secs(60);

/// Sockets for TCP ports of apps: as many as fit into one message beside all others.
pub(crate) const MAX_TCP: usize = 128;

/// All listening sockets of a router.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// For plain HTTP.
    pub(crate) http: Vec<TcpListener>,
    /// For TLS.
    pub(crate) https: Vec<TcpListener>,
    /// TCP ports of apps.
    pub(crate) tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Binds all addresses, each `share` times, and listens.
    pub(crate) fn bind(http: &[SocketAddr], https: &[SocketAddr], share: usize) -> Result<Self, Error> {
        let addresses = http.len() + https.len();
        if addresses == 0 {
            return Err(Error::NoAddress);
        }
        let most = MAX_FDS - MAX_TCP;
        if addresses > most {
            return Err(Error::Addresses { most });
        }
        let share = share.clamp(1, most / addresses);
        Ok(Self { http: bind(http, share)?, https: bind(https, share)?, tcp: Vec::new() })
    }

    /// The sockets that came over a channel: `plain` of them for plain HTTP, then `tls`, or all that are left, then TCP ports.
    pub(crate) fn of(fds: Vec<OwnedFd>, plain: usize, tls: Option<usize>) -> io::Result<Self> {
        let tls = tls.unwrap_or_else(|| fds.len().saturating_sub(plain));
        if fds.is_empty() || plain.saturating_add(tls) > fds.len() {
            return Err(io::Error::other("the listening sockets are not complete"));
        }
        let mut http: Vec<TcpListener> = fds.into_iter().map(TcpListener::from).collect();
        let mut https = http.split_off(plain);
        let tcp = https.split_off(tls);
        Ok(Self { http, https, tcp })
    }

    /// Those of the operator's addresses as they go over a channel, plain ones first.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.http.iter().chain(&self.https).map(AsFd::as_fd).collect()
    }

    /// Those of TCP ports.
    pub(crate) fn tcp_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.tcp.iter().map(AsFd::as_fd).collect()
    }

    /// Keeps what a worker has opened, closes what it has closed. Everything else is none of the sockets' business.
    pub(crate) fn note(&mut self, report: &Report, fds: Vec<OwnedFd>) {
        match report {
            Report::Opened if self.tcp.len() + fds.len() <= MAX_TCP => {
                self.tcp.extend(fds.into_iter().map(TcpListener::from));
            }
            Report::Closed { port } => self.tcp.retain(|listener| port_of(listener) != Some(*port)),
            _ => (),
        }
    }

    /// Deals them out to `count` workers: each socket to one of them, and one at least of each address to each as long as there are enough.
    pub(crate) fn deal(&self, count: usize) -> io::Result<Vec<Self>> {
        let mut hands: Vec<Self> = (0..count.max(1)).map(|_| Self::default()).collect();
        deal(&self.http, &mut hands, |hand| &mut hand.http)?;
        deal(&self.https, &mut hands, |hand| &mut hand.https)?;
        Ok(hands)
    }
}

fn deal(
    listeners: &[TcpListener],
    hands: &mut [Sockets],
    part: impl Fn(&mut Sockets) -> &mut Vec<TcpListener>,
) -> io::Result<()> {
    let mut groups: Vec<(SocketAddr, Vec<&TcpListener>)> = Vec::new();
    for listener in listeners {
        let address = listener.local_addr()?;
        match groups.iter_mut().find(|(of, _)| *of == address) {
            Some((_, group)) => group.push(listener),
            None => groups.push((address, vec![listener])),
        }
    }
    for (_, group) in groups {
        // More threads than sockets: some accept from the same one.
        for turn in 0..group.len().max(hands.len()) {
            let (listener, hand) = (group[turn % group.len()], turn % hands.len());
            part(&mut hands[hand]).push(listener.try_clone()?);
        }
    }
    Ok(())
}

/// The port of a socket that listens.
pub(crate) fn port_of(listener: &TcpListener) -> Option<u16> {
    listener.local_addr().ok().map(|address| address.port())
}

/// Binds all addresses, each `share` times, and listens.
pub(crate) fn bind(addresses: &[SocketAddr], share: usize) -> Result<Vec<TcpListener>, Error> {
    let mut bound = Vec::new();
    for address in addresses {
        // Where IPv4 has a socket of its own, the IPv6 one must leave it alone.
        let shared = !addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        let all = bind_shared(*address, shared, share);
        bound.extend(all.map_err(|source| Error::Listen { address: *address, source })?);
    }
    Ok(bound)
}

/// One address, `share` times.
fn bind_shared(address: SocketAddr, shared: bool, share: usize) -> io::Result<Vec<TcpListener>> {
    // Alone at first: two routers that share an address without knowing it would each get half of the clients.
    let alone = bind_one(address, shared, false)?;
    let address = alone.local_addr()?;
    if share == 1 {
        return listen(alone).map(|listener| vec![listener]);
    }
    drop(alone);
    let mut all = Vec::with_capacity(share);
    for _ in 0..share {
        all.push(bind_one(address, shared, true)?);
    }
    // Only now, all at once: nobody is given to a socket of a set that does not come about.
    all.into_iter().map(listen).collect()
}

fn bind_one(address: SocketAddr, shared: bool, reuse: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, reuse)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !shared)?;
    }
    // Accepted sockets have these from the beginning, without a call for each: small answers go out at once, and dead clients are found out.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, ASKED)?;
    rustix::net::bind(&socket, &address)?;
    Ok(TcpListener::from(socket))
}

fn listen(socket: TcpListener) -> io::Result<TcpListener> {
    rustix::net::listen(&socket, QUEUE)?;
    Ok(socket)
}

/// The addresses that the sockets got, each once.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, Error> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.local_addr();
        let address = address.map_err(|source| Error::Start { part: "a listening socket", source })?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn every_socket_is_dealt_to_somebody_and_nobody_goes_empty() {
        for (share, workers) in [(1, 1), (1, 3), (2, 2), (4, 2), (3, 2), (2, 3)] {
            let sockets = Sockets::bind(&[LOOPBACK, LOOPBACK], &[LOOPBACK], share).expect("binds");
            assert_eq!(sockets.http.len(), 2 * share);
            let hands = sockets.deal(workers).expect("deals");
            assert_eq!(hands.len(), workers);
            let addresses_of = |hand: &Sockets| addresses(&hand.http).expect("addresses");
            assert!(hands.iter().all(|hand| addresses_of(hand).len() == 2), "{share} {workers}");
            let dealt: usize = hands.iter().map(|hand| hand.https.len()).sum();
            assert_eq!(dealt, share.max(workers), "{share} {workers}");
        }
    }

    #[test]
    fn what_a_client_needs_comes_with_the_accepted_socket() {
        let sockets = Sockets::bind(&[LOOPBACK], &[], 1).expect("binds");
        let address = sockets.http[0].local_addr().expect("an address");
        let _client = std::net::TcpStream::connect(address).expect("connects");
        let accepted = loop {
            match sockets.http[0].accept() {
                Ok((accepted, _)) => break accepted,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert!(sockopt::tcp_nodelay(&accepted).expect("asks"));
        assert!(sockopt::socket_keepalive(&accepted).expect("asks"));
        assert_eq!(sockopt::tcp_keepidle(&accepted).expect("asks"), ASKED);
    }

    #[test]
    fn an_address_that_somebody_has_is_refused() {
        let first = Sockets::bind(&[LOOPBACK], &[], 2).expect("binds");
        let taken = addresses(&first.http).expect("addresses");
        assert!(matches!(Sockets::bind(&taken, &[], 2), Err(Error::Listen { .. })));
        drop(first);
        Sockets::bind(&taken, &[], 2).expect("free again");
    }
}
