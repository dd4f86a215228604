//! Which TCP sockets listen inside, from `/proc/net`.

use std::{
    fs::File,
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The kernel lists listening sockets before all others, so this much holds every one that matters.
const MAX_TABLE: u64 = 256 * 1024;

/// More than this is not told.
const MAX_SOCKETS: usize = 256;

/// Every listening TCP socket of this network namespace.
pub(crate) fn sockets() -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let mut text = String::new();
        // Without IPv6 there is no second table.
        if let Ok(file) = File::open(table) {
            let _ = file.take(MAX_TABLE).read_to_string(&mut text);
        }
        found.extend(text.lines().skip(1).filter_map(parse));
    }
    found.truncate(MAX_SOCKETS);
    found
}

fn parse(row: &str) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut columns = row.split_ascii_whitespace().skip(1);
    let local = columns.next()?;
    if columns.nth(1)? != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(SocketAddr::new(parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Addresses are printed as 32-bit words of the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (i, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i * 8)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_rows_count() {
        let listening =
            "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1";
        let established = listening.replace(" 0A ", " 01 ");
        assert_eq!(parse(listening), Some("127.0.0.1:3000".parse().expect("address")));
        assert_eq!(parse(&established), None);
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn version_six_is_read_too() {
        let any = "0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A rest";
        let loopback =
            "0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A rest";
        assert_eq!(parse(any), Some("[::]:8080".parse().expect("address")));
        assert_eq!(parse(loopback), Some("[::1]:8080".parse().expect("address")));
    }

    #[test]
    fn a_real_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port 0");
        assert!(sockets().contains(&listener.local_addr().expect("bound")));
    }
}
