//! Names for instances: a DNS relay on the gateway address of each, so that instances reach the host's name servers without reaching the host.
//!
//! It binds exactly the gateway addresses (never 0.0.0.0, never a local resolver's 127.0.0.53) and passes questions and answers on as they are:
//! it caches nothing and invents nothing but SERVFAIL. It lives on one thread of its own, as long as the [`Relay`]: while the server is down,
//! instances have no name service. Everything an instance can send is bounded: questions at once, sizes, connections, times.

mod resolvers;
mod tcp;
mod udp;

use crate::network::Range;
use resolvers::Resolvers;
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// DNS's port.
const PORT: u16 = 53;
/// Questions being answered at once, for all instances together.
const MAX_QUESTIONS: usize = 512;
/// Questions being answered at once, for one instance.
const MAX_QUESTIONS_EACH: usize = 64;
/// TCP connections at once, for one instance.
const MAX_CONNECTIONS_EACH: usize = 16;
/// How long a name server may take before the next one is asked.
const SERVER_WAIT: Duration = Duration::from_secs(2);
/// Name servers that are asked in turn, at most.
const MAX_SERVERS: usize = 3;
/// A header; anything shorter is no question.
const HEADER: usize = 12;

/// What a relay thread is told.
enum Order {
    Serve(Ipv4Addr, UdpSocket, TcpListener),
    Close(Ipv4Addr),
}

/// The relay of one network. Dropping it ends its thread and closes its sockets.
#[derive(Debug)]
pub(crate) struct Relay {
    orders: mpsc::UnboundedSender<Order>,
    /// Gateways that are served.
    served: Mutex<Vec<Ipv4Addr>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What every question's task needs.
#[derive(Debug)]
pub(crate) struct Shared {
    resolvers: Resolvers,
    all: Semaphore,
}

impl Relay {
    /// Starts the thread. `fixed` answers; if it is empty, the host's own name servers. Servers inside `pool` are never asked: that would be ourselves.
    pub(crate) fn start(fixed: Vec<SocketAddr>, pool: Range) -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared =
            Arc::new(Shared { resolvers: Resolvers::new(fixed, pool), all: Semaphore::new(MAX_QUESTIONS) });
        let thread = thread::Builder::new()
            .name("teal-dns".to_owned())
            .spawn(move || runtime.block_on(obey(inbox, shared)))?;
        Ok(Self { orders, served: Mutex::default(), thread: Some(thread) })
    }

    /// Answers on a gateway, which an interface must have already. Idempotent.
    pub(crate) fn serve(&self, gateway: Ipv4Addr) -> io::Result<()> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.contains(&gateway) {
            return Ok(());
        }
        let address = SocketAddrV4::new(gateway, PORT);
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        self.orders.send(Order::Serve(gateway, udp, tcp)).map_err(io::Error::other)?;
        served.push(gateway);
        Ok(())
    }

    /// Closes the sockets of a gateway. Idempotent.
    pub(crate) fn close(&self, gateway: Ipv4Addr) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.retain(|known| *known != gateway);
        // The thread has ended only if we are being dropped: its sockets are closed then anyway.
        let _ended = self.orders.send(Order::Close(gateway));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        drop(std::mem::replace(&mut self.orders, closed));
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The thread: keeps one pair of tasks per gateway until the relay is dropped.
async fn obey(mut inbox: mpsc::UnboundedReceiver<Order>, shared: Arc<Shared>) {
    let mut serving: HashMap<Ipv4Addr, [JoinHandle<()>; 2]> = HashMap::new();
    let stop = |tasks: [JoinHandle<()>; 2]| tasks.iter().for_each(JoinHandle::abort);
    while let Some(order) = inbox.recv().await {
        let (gateway, started) = match order {
            Order::Close(gateway) => (gateway, None),
            Order::Serve(gateway, udp, tcp) => (gateway, start(udp, tcp, &shared)),
        };
        serving.remove(&gateway).into_iter().for_each(stop);
        if let Some(tasks) = started {
            serving.insert(gateway, tasks);
        }
    }
}

fn start(udp: UdpSocket, tcp: TcpListener, shared: &Arc<Shared>) -> Option<[JoinHandle<()>; 2]> {
    let sockets = tokio::net::UdpSocket::from_std(udp)
        .and_then(|udp| Ok((udp, tokio::net::TcpListener::from_std(tcp)?)));
    match sockets {
        Ok((udp, tcp)) => Some([
            tokio::spawn(udp::serve(udp, Arc::clone(shared))),
            tokio::spawn(tcp::serve(tcp, Arc::clone(shared))),
        ]),
        Err(error) => {
            tracing::warn!(%error, "a DNS relay could not be started");
            None
        }
    }
}

/// Is this an answer to that question? (Same id, and marked as a response.)
fn answers(question: &[u8], answer: &[u8]) -> bool {
    answer.len() >= HEADER
        && question.get(..2) == answer.get(..2)
        && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// "I could not": the question's header and name, marked as a response with code 2.
fn servfail(question: &[u8]) -> Vec<u8> {
    let mut answer = question.get(..question_end(question)).unwrap_or_default().to_vec();
    if let [_, _, flags, code, _, questions, rest @ ..] = answer.as_mut_slice() {
        *flags = (*flags & 0x79) | 0x80;
        *code = 0x82;
        *questions = u8::from(rest.len() > HEADER - 6);
        // No answers, authorities or additions.
        rest.iter_mut().take(HEADER - 6).for_each(|byte| *byte = 0);
    }
    answer
}

/// Where the first question ends; only the header if it is malformed.
fn question_end(message: &[u8]) -> usize {
    let mut at = HEADER;
    while let Some(length @ 1..=63) = message.get(at) {
        at += usize::from(*length) + 1;
    }
    // The closing zero, type and class.
    let end = at + 5;
    if message.get(at) == Some(&0) && message.len() >= end { end } else { HEADER.min(message.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `example.org A`, with an additional record behind it.
    fn question() -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
        bytes.extend(b"\x07example\x03org\x00\x00\x01\x00\x01");
        bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_refusal_repeats_the_question_and_nothing_else() {
        let answer = servfail(&question());
        assert!(answers(&question(), &answer));
        assert_eq!(answer.len(), 12 + 17);
        assert_eq!(answer[2..12], [0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer[12..], question()[12..29]);
    }

    #[test]
    fn malformed_questions_are_no_harm() {
        let mut long = question();
        long[12] = 63;
        for bad in [&long[..], &[0xff; 12], &[0; 12], &[1; 300]] {
            let answer = servfail(bad);
            assert_eq!(answer.len(), 12, "{bad:?}");
            assert_eq!(answer[5], 0);
        }
        assert!(!answers(&question(), &[0xab, 0xcd]));
        assert!(!answers(&question(), &question()), "a question is no answer");
    }
}
