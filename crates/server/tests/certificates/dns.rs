//! Names for the tests: every name is on this machine, but those that begin with `nowhere`, which do not exist.

use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// Serves until the runtime ends; where.
pub(crate) async fn serve() -> SocketAddr {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("listens");
    let address = socket.local_addr().expect("address");
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..length]) {
                let _ = socket.send_to(&answer, peer).await;
            }
        }
    });
    address
}

/// RFC 1035: the header, the question again, and one address if an address of version 4 was asked for.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let name_end = question.iter().position(|byte| *byte == 0)? + 1;
    let question = question.get(..name_end + 4)?;
    let exists = !question.get(1..)?.to_ascii_lowercase().starts_with(b"nowhere");
    let wants_address = question[name_end..name_end + 2] == [0, 1];
    let answers = u8::from(exists && wants_address);
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, if exists { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(question);
    if answers == 1 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
