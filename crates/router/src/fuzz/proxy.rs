//! Bytes as a header of the PROXY protocol: it ends where it says, never takes a byte of what follows, and names whom a plain reader finds in it.

use super::Found;
use crate::codec::proxy_protocol::{MAX_HEADER, Step, step};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads a header as a connection does, then again by its positions.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let Some((length, client)) = ours(bytes) else { return found };
    assert!(length <= MAX_HEADER, "{length} bytes");
    let header = &bytes[..length];
    if let Some(client) = client {
        assert_eq!(Some(client), plainly(header), "{header:?}");
        found.compared += 1;
        let again = written(client);
        assert_eq!(ours(again.as_bytes()), Some((again.len(), Some(client))), "{again:?}");
        found.written += 1;
    }
    found
}

/// The header's length, and the client that it names; nothing if it is none or not whole.
fn ours(bytes: &[u8]) -> Option<(usize, Option<SocketAddr>)> {
    let mut have = 0;
    loop {
        match step(&bytes[..have]).ok()? {
            Step::More(0) => panic!("nothing more is needed, and yet it is not whole: {bytes:?}"),
            Step::More(more) => have += more,
            Step::Line => have += bytes.get(have..)?.iter().position(|byte| *byte == b'\n')? + 1,
            Step::Whole(client) => return Some((have, client)),
        }
        if have > bytes.len() {
            return None;
        }
    }
}

/// The client's address and port, from where they stand.
fn plainly(header: &[u8]) -> Option<SocketAddr> {
    if header.starts_with(b"PROXY ") {
        let words: Vec<&str> = std::str::from_utf8(header).ok()?.split_ascii_whitespace().collect();
        return Some(SocketAddr::new(words.get(2)?.parse().ok()?, words.get(4)?.parse().ok()?));
    }
    let block = header.get(16..)?;
    let (ip, port): (IpAddr, _) = match header.get(13)? >> 4 {
        1 => (Ipv4Addr::from(*block.first_chunk::<4>()?).into(), block.get(8..10)?),
        2 => (Ipv6Addr::from(*block.first_chunk::<16>()?).into(), block.get(32..34)?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])))
}

fn written(client: SocketAddr) -> String {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let ip = client.ip();
    format!("PROXY {family} {ip} {ip} {} {}\r\n", client.port(), client.port())
}
