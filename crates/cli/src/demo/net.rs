//! Free ports, and a pool of addresses that no route of this host uses.

use crate::error::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports of 127.0.0.1 that are free now: all held at once while they are looked for, so that they differ.
pub(super) fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let failed = |e| Error::because("no free port can be had on 127.0.0.1", e);
    let listeners: std::io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    listeners.and_then(|all| all.iter().map(TcpListener::local_addr).collect()).map_err(failed)
}

/// The pool for the demo's instances, as CIDR, beside the one that an installed Teal uses.
pub(super) fn free_pool() -> Result<Pool> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let used = destinations(&routes);
    let candidates = (178..=250u8).map(|second| Pool(Ipv4Addr::new(10, second, 0, 0)));
    let mut free = candidates.filter(|pool| !used.iter().any(|(route, mask)| pool.overlaps(*route, *mask)));
    free.next().ok_or_else(|| {
        Error::new(
            crate::error::Kind::Other,
            "every network from 10.178.0.0 to 10.250.0.0 is in use on this host",
        )
    })
}

/// A /16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pool(Ipv4Addr);

impl Pool {
    /// As CIDR.
    pub(super) fn cidr(self) -> String {
        format!("{}/16", self.0)
    }

    /// How addresses in it begin.
    pub(super) fn prefix(self) -> String {
        let [first, second, ..] = self.0.octets();
        format!("{first}.{second}.")
    }

    /// Routes of this host into it.
    pub(super) fn routes(self) -> usize {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        destinations(&routes).iter().filter(|(route, mask)| self.overlaps(*route, *mask)).count()
    }

    /// Whether a route goes into it. The default route does not count.
    fn overlaps(self, route: u32, mask: u32) -> bool {
        let common = mask & 0xffff_0000;
        mask != 0 && u32::from(self.0) & common == route & common
    }
}

/// Destinations and masks of `/proc/net/route`, which are hexadecimal and little-endian.
fn destinations(routes: &str) -> Vec<(u32, u32)> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes);
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((number(words.get(1)?)?, number(words.get(7)?)?))
    };
    routes.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_a_route_goes_into_is_not_free() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                      eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n\
                      v\t0400B20A\t00000000\t0001\t0\t0\t0\tFCFFFFFF\n";
        let used = destinations(routes);
        assert_eq!(used[1], (u32::from(Ipv4Addr::new(10, 178, 0, 4)), 0xffff_fffc));
        let overlaps =
            |second| used.iter().any(|(r, m)| Pool(Ipv4Addr::new(10, second, 0, 0)).overlaps(*r, *m));
        assert!(overlaps(178) && !overlaps(179));
    }
}
