//! The host's name servers, read again whenever the file changes.

use crate::network::Range;
use nix::net::if_::if_nametoindex;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// More of the file is not read, in bytes.
const MAX_FILE: usize = 64 << 10;

/// Who is asked.
#[derive(Debug)]
pub(crate) struct Resolvers {
    fixed: Vec<SocketAddr>,
    pool: Range,
    file: PathBuf,
    known: Mutex<Known>,
}

/// What the file said, and which file that was.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<(u64, u64, i64, i64)>,
    servers: Vec<SocketAddr>,
}

impl Resolvers {
    pub(crate) fn new(fixed: Vec<SocketAddr>, pool: Range) -> Self {
        Self { fixed, pool, file: PathBuf::from("/etc/resolv.conf"), known: Mutex::default() }
    }

    /// Those to ask now, in their order.
    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        if !self.fixed.is_empty() {
            return self.fixed.iter().copied().take(super::MAX_SERVERS).collect();
        }
        let stamp = fs::metadata(&self.file)
            .ok()
            .map(|data| (data.dev(), data.ino(), data.mtime(), data.mtime_nsec()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.servers.is_empty() || known.stamp != stamp {
            *known = Known { stamp, servers: self.read() };
        }
        known.servers.clone()
    }

    fn read(&self) -> Vec<SocketAddr> {
        let text = fs::read(&self.file).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(..MAX_FILE).unwrap_or(&text)).into_owned();
        let mut servers = parse(&text);
        servers.retain(|server| !matches!(server.ip(), IpAddr::V4(address) if self.pool.contains(address)));
        servers.truncate(super::MAX_SERVERS);
        if servers.is_empty() {
            // resolv.conf(5): without any, the one on this machine.
            servers.push((Ipv4Addr::LOCALHOST, super::PORT).into());
        }
        servers
    }
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let mut words = text.lines().map(|line| line.split_whitespace());
    let mut found = Vec::new();
    for line in &mut words {
        let mut line = line;
        if line.next() == Some("nameserver") {
            found.extend(line.next().and_then(address));
        }
    }
    found
}

/// An address, for IPv6 with its zone (`fe80::1%eth0`).
fn address(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse::<IpAddr>().ok().map(|address| (address, super::PORT).into());
    };
    let scope = zone.parse().ok().or_else(|| if_nametoindex(zone).ok())?;
    Some(SocketAddrV6::new(address.parse::<Ipv6Addr>().ok()?, super::PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(file: PathBuf) -> Resolvers {
        let pool = Range::new(Ipv4Addr::new(10, 177, 0, 0), 16).expect("a range");
        Resolvers { file, ..Resolvers::new(Vec::new(), pool) }
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("resolv.conf");
        let resolvers = with_file(file.clone());
        assert_eq!(resolvers.servers(), ["127.0.0.1:53".parse().expect("an address")]);
        for servers in ["192.0.2.1", "192.0.2.2"] {
            let draft = dir.path().join("new");
            fs::write(
                &draft,
                format!("# x\nsearch example.org\nnameserver {servers}\nnameserver 10.177.3.1\n"),
            )
            .expect("written");
            fs::rename(&draft, &file).expect("renamed");
            assert_eq!(resolvers.servers(), [format!("{servers}:53").parse().expect("an address")]);
        }
    }

    #[test]
    fn odd_lines_are_skipped() {
        let found = parse(
            "nameserver\nnameserver x\n nameserver ::1\noptions ndots:2\nnameserver fe80::1%1\nnameserver fe80::1%nope\n",
        );
        assert_eq!(
            found,
            ["[::1]:53".parse().expect("v6"), "[fe80::1%1]:53".parse().expect("v6 with a zone")]
        );
    }
}
