//! Questions by UDP: each is passed on from a socket (and so a port) of its own.

use super::{HEADER, MAX_QUESTIONS_EACH, SERVER_WAIT, Shared, answers, servfail};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::UdpSocket, sync::Semaphore, task::JoinSet, time};

/// Larger questions are not read wholly, in bytes.
const MAX_QUESTION: usize = 4096;
/// The largest UDP message.
const MAX_ANSWER: usize = 65_535;
/// After an error of the socket itself.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers on one gateway until it is aborted.
pub(crate) async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let (socket, own) = (Arc::new(socket), Arc::new(Semaphore::new(MAX_QUESTIONS_EACH)));
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; MAX_QUESTION];
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok((length, asker)) = socket.recv_from(&mut buffer).await else {
            time::sleep(PAUSE).await;
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        // Beyond the limit questions are dropped, as a network would: the asker tries again.
        let Ok(permit) = Arc::clone(&own).try_acquire_owned() else { continue };
        if question.len() < HEADER || answers(&question, &question) {
            continue;
        }
        let (socket, shared) = (Arc::clone(&socket), Arc::clone(&shared));
        tasks.spawn(async move {
            let answer = resolve(&question, &shared).await;
            let _asker_gone = socket.send_to(&answer, asker).await;
            drop(permit);
        });
    }
}

async fn resolve(question: &[u8], shared: &Shared) -> Vec<u8> {
    let Ok(_permit) = shared.all.acquire().await else { return servfail(question) };
    for server in shared.resolvers.servers() {
        if let Ok(Ok(answer)) = time::timeout(SERVER_WAIT, ask(server, question)).await {
            return answer;
        }
    }
    servfail(question)
}

/// The socket is connected: the kernel passes on nothing but what that server sends.
async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        buffer.truncate(length);
        if answers(question, &buffer) {
            return Ok(buffer);
        }
        buffer.resize(MAX_ANSWER, 0);
    }
}
