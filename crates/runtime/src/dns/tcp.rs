//! Questions by TCP: one after another on each connection, each passed on over a connection of its own.

use super::{HEADER, MAX_CONNECTIONS_EACH, SERVER_WAIT, Shared, answers, servfail};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time,
};

/// How long an asker may be silent, and how long it may take to read an answer.
const ASKER_WAIT: Duration = Duration::from_secs(10);
/// Questions on one connection.
const MAX_QUESTIONS_EACH: usize = 1000;
/// After an error of the socket itself.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers on one gateway until it is aborted.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let own = Arc::new(Semaphore::new(MAX_CONNECTIONS_EACH));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&own).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            time::sleep(PAUSE).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let _asker_gone = converse(stream, &shared).await;
            drop(permit);
        });
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    for _ in 0..MAX_QUESTIONS_EACH {
        let question = time::timeout(ASKER_WAIT, read(&mut stream)).await??;
        let answer = resolve(&question, shared).await;
        time::timeout(ASKER_WAIT, write(&mut stream, &answer)).await??;
    }
    Ok(())
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

async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write(&mut stream, question).await?;
    let answer = read(&mut stream).await?;
    if answers(question, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// One message: its length in two bytes, then itself.
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length < HEADER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
