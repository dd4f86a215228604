//! Counts failed authentications per peer address and says when a peer has to wait. Bounded in memory; it must never delay a peer that
//! has not failed.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Failures that a peer may make in a row before it has to wait.
const BURST: u32 = 10;
/// One failure is forgiven after this long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);
/// Peers that are remembered; past it those that are forgiven soonest are forgotten first.
const MAX_PEERS: usize = 10_000;

/// The failures of all peers: for each the instant at which its last one is forgiven.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    forgiven_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Limiter {
    /// How long this peer has to wait before it may try again; `None`: not at all.
    pub(crate) fn wait(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let forgiven = *self.lock().get(&block(peer))?;
        let debt = forgiven.saturating_duration_since(now);
        let allowed = FORGIVEN_AFTER * (BURST - 1);
        (debt > allowed).then(|| debt - allowed)
    }

    /// This peer failed once more.
    pub(crate) fn failed(&self, peer: IpAddr, now: Instant) {
        let mut peers = self.lock();
        if peers.len() >= MAX_PEERS {
            forget(&mut peers, now);
        }
        let forgiven = peers.entry(block(peer)).or_insert(now);
        *forgiven = (*forgiven).max(now) + FORGIVEN_AFTER;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.forgiven_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room: everyone who is forgiven goes, and if that is nobody, the half that would be soonest.
fn forget(peers: &mut HashMap<IpAddr, Instant>, now: Instant) {
    peers.retain(|_, forgiven| *forgiven > now);
    if peers.len() < MAX_PEERS {
        return;
    }
    let mut instants: Vec<Instant> = peers.values().copied().collect();
    let (_, median, _) = instants.select_nth_unstable(MAX_PEERS / 2);
    let median = *median;
    peers.retain(|_, forgiven| *forgiven > median);
}

/// One subscriber of IPv6 has a whole /64: its addresses count as one peer.
fn block(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn ten_failures_are_free_then_the_peer_waits_and_nobody_else_does() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(limiter.wait(PEER, now), None);
            limiter.failed(PEER, now);
        }
        let wait = limiter.wait(PEER, now).expect("has to wait");
        assert!(wait <= FORGIVEN_AFTER, "{wait:?}");
        assert_eq!(limiter.wait(OTHER, now), None);
        assert_eq!(limiter.wait(PEER, now + wait), None);
    }

    #[test]
    fn a_flood_of_peers_takes_no_more_than_its_share_of_memory() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for number in 0..(MAX_PEERS as u32 * 2) {
            let at = now + Duration::from_micros(number.into());
            limiter.failed(IpAddr::from(number.to_be_bytes()), at);
        }
        assert!(limiter.lock().len() <= MAX_PEERS);
    }

    #[test]
    fn a_block_of_ipv6_is_one_peer() {
        let one = "2001:db8::1".parse().expect("address");
        let two = "2001:db8::ffff:1".parse().expect("address");
        assert_eq!(block(one), block(two));
        assert_ne!(block(one), block("2001:db8:0:1::1".parse().expect("address")));
    }
}
