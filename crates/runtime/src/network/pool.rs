//! The addresses: one /30 per instance out of one pool, and the durable table of who has which.
//!
//! A freed slot is reused as late as possible, and the last ones freed not at all: somebody may still hold a connection to the old owner.
//! The table is on disk before anything is made from it.

use super::Error;
use crate::whole;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs, io,
    net::Ipv4Addr,
    path::Path,
};
use teal_core::id::InstanceId;

/// Slots that were freed last and are not handed out, at most.
const QUARANTINE: u32 = 16;
/// The smallest pool: four slots.
const LONGEST_PREFIX: u8 = 28;
/// The largest pool.
const SHORTEST_PREFIX: u8 = 8;

/// An IPv4 range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) base: Ipv4Addr,
    pub(crate) prefix: u8,
}

impl Range {
    /// A range with its host bits cleared; `None` if the prefix is longer than 32.
    pub(crate) fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let mask = mask(prefix)?;
        Some(Self { base: Ipv4Addr::from_bits(address.to_bits() & mask), prefix })
    }

    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        mask(self.prefix).is_some_and(|mask| address.to_bits() & mask == self.base.to_bits())
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn mask(prefix: u8) -> Option<u32> {
    match prefix {
        0 => Some(0),
        1..=32 => Some(u32::MAX << (32 - prefix)),
        _ => None,
    }
}

/// What an attached instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// Which /30 of the pool.
    pub(crate) slot: u32,
    /// May it reach the outside?
    pub(crate) egress: bool,
}

/// The table of slots, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slots {
    pool: Range,
    /// Slots from here on were never used.
    fresh: u32,
    attached: BTreeMap<InstanceId, Lease>,
    /// Free again, the longest free first.
    freed: VecDeque<u32>,
}

impl Slots {
    /// An empty table.
    pub(crate) fn new(pool: Range) -> Result<Self, Error> {
        if !(SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&pool.prefix) {
            return Err(Error::Pool(format!(
                "{pool} has to be between /{SHORTEST_PREFIX} and /{LONGEST_PREFIX}"
            )));
        }
        let shared = Range { base: Ipv4Addr::new(100, 64, 0, 0), prefix: 10 };
        if !pool.base.is_private() && !shared.contains(pool.base) {
            return Err(Error::Pool(format!(
                "{pool} is not a private range (10/8, 172.16/12, 192.168/16, 100.64/10)"
            )));
        }
        Ok(Self { pool, fresh: 0, attached: BTreeMap::new(), freed: VecDeque::new() })
    }

    /// The table on disk; `None` if there is none yet.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::State { path: path.to_owned(), source };
        let text = whole::read(path).map_err(failed)?;
        text.map(|text| serde_json::from_slice(&text).map_err(io::Error::from)).transpose().map_err(failed)
    }

    /// Replaces the table on disk: written, fsynced, renamed, directory fsynced.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        self.write(path).map_err(|source| Error::State { path: path.to_owned(), source })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(parent)?;
        whole::write(path, self)
    }

    /// The slot of `id`: the one it has, else the one that was free for longest.
    pub(crate) fn attach(&mut self, id: &InstanceId, egress: bool) -> Result<Lease, Error> {
        if let Some(lease) = self.attached.get_mut(id) {
            lease.egress = egress;
            return Ok(*lease);
        }
        let slot = self.pick().ok_or(Error::Exhausted { pool: self.pool.to_string(), slots: self.len() })?;
        let lease = Lease { slot, egress };
        self.attached.insert(id.clone(), lease);
        Ok(lease)
    }

    /// Frees the slot of `id`, if it has one.
    pub(crate) fn detach(&mut self, id: &InstanceId) {
        if let Some(lease) = self.attached.remove(id) {
            self.freed.push_back(lease.slot);
        }
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<Lease> {
        self.attached.get(id).copied()
    }

    pub(crate) fn attached(&self) -> impl Iterator<Item = (&InstanceId, Lease)> {
        self.attached.iter().map(|(id, lease)| (id, *lease))
    }

    pub(crate) fn pool(&self) -> Range {
        self.pool
    }

    /// The host's address in a slot, and the instance's.
    pub(crate) fn addresses(&self, slot: u32) -> (Ipv4Addr, Ipv4Addr) {
        let first = self.pool.base.to_bits().wrapping_add(slot.wrapping_mul(4));
        (Ipv4Addr::from_bits(first.wrapping_add(1)), Ipv4Addr::from_bits(first.wrapping_add(2)))
    }

    /// How many instances fit.
    fn len(&self) -> u32 {
        1 << (30 - u32::from(self.pool.prefix))
    }

    fn pick(&mut self) -> Option<u32> {
        if self.fresh < self.len() {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        let held = QUARANTINE.min(self.len() / 4);
        let free = u32::try_from(self.freed.len()).unwrap_or(u32::MAX);
        if free > held { self.freed.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        text.parse().expect("legal")
    }

    fn slots(prefix: u8) -> Slots {
        Slots::new(Range::new(Ipv4Addr::new(10, 1, 2, 0), prefix).expect("a range")).expect("a pool")
    }

    #[test]
    fn an_id_keeps_its_slot_and_a_freed_one_waits() {
        let mut table = slots(28);
        let first = table.attach(&id("a"), true).expect("free");
        assert_eq!(table.attach(&id("a"), false).expect("kept").slot, first.slot);
        table.detach(&id("a"));
        table.detach(&id("a"));
        let next = table.attach(&id("a"), true).expect("free");
        assert_ne!(next.slot, first.slot);
    }

    #[test]
    fn the_longest_free_slot_is_reused_and_the_last_freed_never() {
        let mut table = slots(28);
        for name in ["a", "b", "c", "d"] {
            table.attach(&id(name), true).expect("four fit");
        }
        assert!(matches!(table.attach(&id("e"), true), Err(Error::Exhausted { slots: 4, .. })));
        table.detach(&id("c"));
        assert!(table.attach(&id("e"), true).is_err(), "it was freed just now");
        table.detach(&id("a"));
        assert_eq!(table.attach(&id("e"), true).expect("c's").slot, 2);
    }

    #[test]
    fn addresses_are_the_middle_of_each_block() {
        let table = slots(24);
        assert_eq!(table.addresses(0), (Ipv4Addr::new(10, 1, 2, 1), Ipv4Addr::new(10, 1, 2, 2)));
        assert_eq!(table.addresses(63), (Ipv4Addr::new(10, 1, 2, 253), Ipv4Addr::new(10, 1, 2, 254)));
    }

    #[test]
    fn the_table_survives_on_disk_and_a_broken_one_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("deep/network.json");
        assert!(Slots::load(&path).expect("none yet").is_none());
        let mut table = slots(24);
        table.attach(&id("a"), true).expect("free");
        table.save(&path).expect("saved");
        assert_eq!(Slots::load(&path).expect("read"), Some(table));
        fs::write(&path, "{").expect("written");
        assert!(Slots::load(&path).is_err());
    }

    #[test]
    fn public_and_odd_pools_are_refused() {
        for (base, prefix) in [([8, 8, 0, 0], 16), ([10, 0, 0, 0], 29), ([10, 0, 0, 0], 7)] {
            assert!(Slots::new(Range::new(base.into(), prefix).expect("a range")).is_err());
        }
        let range = |text: [u8; 4], prefix| Range::new(text.into(), prefix).expect("a range");
        assert!(range([10, 0, 0, 0], 8).overlaps(&range([10, 177, 0, 0], 16)));
        assert!(range([10, 177, 4, 0], 24).overlaps(&range([10, 177, 0, 0], 16)));
        assert!(!range([10, 178, 0, 0], 16).overlaps(&range([10, 177, 0, 0], 16)));
        assert!(range([0, 0, 0, 0], 0).contains([1, 2, 3, 4].into()));
    }
}
