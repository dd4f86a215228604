//! TCP ports of apps: opened when the table names them, closed when it does not any more; every worker thread accepts on all of them.
//!
//! A port that cannot be opened is told and tried again; it must never keep a table from being used. The supervisor is told of all sockets, so that they
//! outlive this process.

use crate::{
    channel::Report,
    error::Error,
    listeners::{self, MAX_TCP, port_of},
    worker::Order,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::{AsFd as _, BorrowedFd},
};
use teal_core::control::PortTrouble;
use tokio::sync::mpsc;

/// Changes that wait for the supervisor to be told of them.
const NEWS: usize = 4 * MAX_TCP;

/// What the supervisor is to be told of a port.
#[derive(Debug)]
pub(crate) enum News {
    /// Its sockets.
    Opened(Vec<TcpListener>),
    /// Nobody needs it any more.
    Closed(u16),
}

impl News {
    /// The same as it goes over the channel.
    pub(crate) fn report(&self) -> (Report, Vec<BorrowedFd<'_>>) {
        match self {
            Self::Opened(sockets) => (Report::Opened, sockets.iter().map(|socket| socket.as_fd()).collect()),
            Self::Closed(port) => (Report::Closed { port: *port }, Vec::new()),
        }
    }
}

/// Where news go in, and come out.
pub(crate) fn news() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(NEWS)
}

/// The ports of one router. Their sockets are the workers' and the supervisor's.
#[derive(Debug)]
pub(crate) struct Ports {
    addresses: BTreeSet<IpAddr>,
    open: BTreeSet<u16>,
    troubles: BTreeMap<u16, String>,
    /// From the worker that served before.
    inherited: BTreeMap<u16, Vec<TcpListener>>,
    workers: Vec<mpsc::Sender<Order>>,
    /// To the supervisor, if there is one that wants to know.
    tell: Option<mpsc::Sender<News>>,
}

impl Ports {
    /// Ports on the addresses of `http`; the sockets in `inherited` are used as soon as the table names their ports.
    pub(crate) fn new(
        http: &[SocketAddr],
        inherited: Vec<TcpListener>,
        workers: Vec<mpsc::Sender<Order>>,
        tell: Option<mpsc::Sender<News>>,
    ) -> Self {
        let mut by_port: BTreeMap<u16, Vec<TcpListener>> = BTreeMap::new();
        for listener in inherited {
            if let Some(port) = port_of(&listener) {
                by_port.entry(port).or_default().push(listener);
            }
        }
        Self {
            addresses: http.iter().map(SocketAddr::ip).collect(),
            open: BTreeSet::new(),
            troubles: BTreeMap::new(),
            inherited: by_port,
            workers,
            tell,
        }
    }

    /// Opens what is wanted and not open, closes what is open and not wanted.
    pub(crate) async fn follow(&mut self, wanted: &BTreeSet<u16>) {
        let unwanted: Vec<u16> = self.open.difference(wanted).copied().collect();
        for port in unwanted {
            self.close(port).await;
        }
        for (port, sockets) in std::mem::take(&mut self.inherited) {
            match wanted.contains(&port) {
                // The supervisor has them already.
                true => drop(self.deal(port, sockets).await),
                false => self.tell(News::Closed(port)),
            }
        }
        self.troubles.retain(|port, _| wanted.contains(port));
        let missing: Vec<u16> = wanted.difference(&self.open).copied().collect();
        for port in missing {
            self.open(port).await;
        }
    }

    /// What cannot be opened, and why.
    pub(crate) fn troubles(&self) -> Vec<PortTrouble> {
        self.troubles.iter().map(|(port, why)| PortTrouble { port: *port, why: why.clone() }).collect()
    }

    /// Something cannot be opened.
    pub(crate) fn has_troubles(&self) -> bool {
        !self.troubles.is_empty()
    }

    async fn open(&mut self, port: u16) {
        let opened = match self.bind(port) {
            Ok(sockets) => self.deal(port, sockets).await,
            Err(why) => Err(why),
        };
        match opened {
            Ok(sockets) => self.tell(News::Opened(sockets)),
            Err(why) => self.trouble(port, why),
        }
    }

    async fn close(&mut self, port: u16) {
        self.open.remove(&port);
        for worker in &self.workers {
            // A worker that is gone accepts nobody.
            let _ = worker.send(Order::Close { port }).await;
        }
        self.tell(News::Closed(port));
    }

    fn bind(&self, port: u16) -> Result<Vec<TcpListener>, String> {
        if (self.open.len() + 1) * self.addresses.len() > MAX_TCP {
            return Err(format!(
                "a router opens {MAX_TCP} sockets for TCP ports at most, and each port takes {}: give up another one first",
                self.addresses.len()
            ));
        }
        let addresses: Vec<SocketAddr> = self.addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        listeners::bind(&addresses, 1).map_err(|error| match error {
            Error::Listen { address, source } => reason(address, &source),
            other => other.to_string(),
        })
    }

    /// Gives every worker each of these sockets.
    async fn deal(&mut self, port: u16, sockets: Vec<TcpListener>) -> Result<Vec<TcpListener>, String> {
        for socket in &sockets {
            for worker in &self.workers {
                let listener = socket.try_clone();
                let listener = listener.map_err(|error| format!("its socket cannot be shared: {error}"))?;
                // A worker that is gone accepts nobody; that it is gone ends the router.
                let _ = worker.send(Order::Open { port, listener }).await;
            }
        }
        if self.troubles.remove(&port).is_some() {
            tracing::info!(port, "a TCP port could be opened at last");
        }
        self.open.insert(port);
        Ok(sockets)
    }

    fn trouble(&mut self, port: u16, why: String) {
        // Each second the same: said once.
        if self.troubles.get(&port) != Some(&why) {
            tracing::error!(port, why, "a TCP port cannot be opened: its app has no streams by it");
            self.troubles.insert(port, why);
        }
    }

    fn tell(&self, news: News) {
        let Some(tell) = &self.tell else { return };
        if let Err(error) = tell.try_send(news) {
            tracing::error!(%error, "the supervisor is not told of a TCP port: the port would not outlive this worker");
        }
    }
}

/// Why an address cannot be had, and what to do.
fn reason(address: SocketAddr, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program listens on {address}: stop that one, or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "the router may not listen on {address}: choose a port from 1024 on, or let it (CAP_NET_BIND_SERVICE)"
            )
        }
        _ => format!("the router cannot listen on {address}: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free() -> u16 {
        TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("an address")
            .port()
    }

    const LOOPBACK: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0)];

    fn opened(news: News) -> Vec<TcpListener> {
        match news {
            News::Opened(sockets) => sockets,
            News::Closed(port) => panic!("{port} is closed"),
        }
    }

    #[tokio::test]
    async fn workers_and_supervisor_hear_what_opens_and_what_closes() {
        let ((orders, mut worker), (tell, mut supervisor)) = (mpsc::channel(4), news());
        let mut ports = Ports::new(&LOOPBACK, Vec::new(), vec![orders], Some(tell));
        let port = free();
        ports.follow(&[port].into()).await;
        assert!(matches!(worker.try_recv(), Ok(Order::Open { port: open, .. }) if open == port));
        assert_eq!(port_of(&opened(supervisor.try_recv().expect("told"))[0]), Some(port));
        ports.follow(&[port].into()).await;
        assert!(worker.try_recv().is_err() && supervisor.try_recv().is_err(), "nothing changes");
        ports.follow(&BTreeSet::new()).await;
        assert!(matches!(worker.try_recv(), Ok(Order::Close { port: closed }) if closed == port));
        assert!(matches!(supervisor.try_recv(), Ok(News::Closed(closed)) if closed == port));
        TcpListener::bind(("127.0.0.1", port)).expect("free again");
    }

    #[tokio::test]
    async fn what_was_handed_over_is_used_or_given_up() {
        let ((orders, mut worker), (tell, mut supervisor)) = (mpsc::channel(4), news());
        let inherited = listeners::bind(&[LOOPBACK[0], LOOPBACK[0]], 1).expect("binds");
        let of: Vec<u16> = inherited.iter().filter_map(port_of).collect();
        let mut ports = Ports::new(&LOOPBACK, inherited, vec![orders], Some(tell));
        ports.follow(&[of[0]].into()).await;
        assert!(matches!(worker.try_recv(), Ok(Order::Open { port, .. }) if port == of[0]));
        assert!(matches!(supervisor.try_recv(), Ok(News::Closed(port)) if port == of[1]));
        assert!(supervisor.try_recv().is_err(), "it has the other one already");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_and_tried_again() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = port_of(&taken).expect("a port");
        let mut ports = Ports::new(&LOOPBACK, Vec::new(), Vec::new(), None);
        let wanted = [port, free()].into();
        ports.follow(&wanted).await;
        let troubles = ports.troubles();
        assert!(troubles.len() == 1 && troubles[0].port == port, "{troubles:?}");
        assert!(troubles[0].why.contains("another program listens on"), "{troubles:?}");
        drop(taken);
        ports.follow(&wanted).await;
        assert!(!ports.has_troubles());
    }

    #[tokio::test]
    async fn there_are_not_more_than_can_be_handed_over() {
        let mut ports = Ports::new(&LOOPBACK, Vec::new(), Vec::new(), None);
        ports.open = (1..=u16::try_from(MAX_TCP).expect("few")).collect();
        let mut wanted = ports.open.clone();
        wanted.insert(free());
        ports.follow(&wanted).await;
        assert!(ports.troubles()[0].why.contains("at most"), "{:?}", ports.troubles());
    }
}
