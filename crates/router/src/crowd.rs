//! How much is under way, in all and by client, and how much may be.
//!
//! Counting costs a lock of a part and a look-up, and what nobody counts costs nothing. A count must never outlive what it counts: seats are given back by being
//! dropped.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// Parts that can be locked at once.
const PARTS: usize = 16;

/// Who counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a network gives to one customer at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Who(IpAddr);

impl From<IpAddr> for Who {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
            four @ IpAddr::V4(_) => four,
        })
    }
}

/// What may be under way at a time; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Most {
    /// In all.
    pub(crate) all: u32,
    /// For one client.
    pub(crate) each: u32,
}

impl Most {
    /// There is a limit.
    pub(crate) fn is_some(self) -> bool {
        self != Self::default()
    }

    /// The same things are counted under both: what was counted under one is right under the other.
    pub(crate) fn counts_like(self, other: Self) -> bool {
        (self.all > 0, self.each > 0) == (other.all > 0, other.each > 0)
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There is none for anybody.
    All,
    /// This client has as many as it may have.
    Each,
}

/// What is under way. Only clients that have something under way take room.
#[derive(Debug)]
pub(crate) struct Crowd {
    all: AtomicU32,
    parts: [Mutex<HashMap<Who, u32>>; PARTS],
    spread: RandomState,
}

impl Crowd {
    /// Nothing is under way.
    pub(crate) fn new() -> Arc<Self> {
        let parts = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { all: AtomicU32::new(0), parts, spread: RandomState::new() })
    }

    /// A place for this client, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, client: IpAddr, most: Most) -> Result<Seat, Full> {
        let mut place = Seat { crowd: Arc::clone(self), counted: false, who: None };
        if most.all > 0 {
            let next = |count: u32| (count < most.all).then_some(count + 1);
            let counted = self.all.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
            counted.map_err(|_| Full::All)?;
            place.counted = true;
        }
        if most.each > 0 {
            let who = Who::from(client);
            let mut part = self.part(who);
            let count = part.get(&who).copied().unwrap_or_default();
            if count >= most.each {
                return Err(Full::Each);
            }
            part.insert(who, count + 1);
            place.who = Some(who);
        }
        Ok(place)
    }

    fn part(&self, who: Who) -> std::sync::MutexGuard<'_, HashMap<Who, u32>> {
        // Less than PARTS, so it fits.
        let number = usize::try_from(self.spread.hash_one(who) % PARTS as u64).unwrap_or(0);
        self.parts[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, who: Who) {
        let mut part = self.part(who);
        match part.get_mut(&who) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(part.remove(&who)),
        }
    }
}

/// One thing that is under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    counted: bool,
    who: Option<Who>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.counted {
            self.crowd.all.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(who) = self.who {
            self.crowd.leave(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn is_empty(crowd: &Crowd) -> bool {
        crowd.all.load(Ordering::Acquire) == 0
            && crowd.parts.iter().all(|part| part.lock().expect("sound").is_empty())
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let crowd = Crowd::new();
        let most = Most { all: 3, each: 2 };
        let one = crowd.enter(client("192.0.2.1"), most).expect("a place");
        let two = crowd.enter(client("::ffff:192.0.2.1"), most).expect("a place");
        assert_eq!(crowd.enter(client("192.0.2.1"), most).err(), Some(Full::Each));
        let other = crowd.enter(client("192.0.2.2"), most).expect("what was refused took no place");
        assert_eq!(crowd.enter(client("192.0.2.3"), most).err(), Some(Full::All));
        drop(one);
        drop(crowd.enter(client("192.0.2.1"), most).expect("a place again"));
        drop((two, other));
        assert!(is_empty(&crowd));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let crowd = Crowd::new();
        let most = Most { all: 0, each: 1 };
        let _one = crowd.enter(client("2001:db8:1:2::1"), most).expect("a place");
        assert_eq!(crowd.enter(client("2001:db8:1:2:ffff::2"), most).err(), Some(Full::Each));
        assert!(crowd.enter(client("2001:db8:1:3::1"), most).is_ok());
    }

    #[test]
    fn many_at_once_never_pass_the_limit() {
        let (crowd, most) = (Crowd::new(), Most { all: 5, each: 3 });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..2_000 {
                        let held: Vec<_> =
                            (0..turn % 5).map(|_| crowd.enter(client("192.0.2.1"), most)).collect();
                        assert!(held.iter().filter(|place| place.is_ok()).count() <= 3);
                        assert!(crowd.all.load(Ordering::Acquire) <= 5);
                    }
                });
            }
        });
        assert!(is_empty(&crowd));
    }
}
