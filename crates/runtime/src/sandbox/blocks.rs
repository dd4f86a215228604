//! Blocks of ids: each instance has one of its own, so that two apps never share a user on the host.

use super::record::Record;
use std::{collections::BTreeSet, fs, io, path::Path};
use teal_core::agent::BLOCK;

/// Past what distributions hand out to people (`/etc/subuid`) and to containers.
const FIRST: u32 = 0x7000_0000;

/// Up to the first id that some tools take for negative.
const BLOCKS: u32 = (0x8000_0000 - FIRST) / BLOCK;

/// The block of the probe that is made when the runtime is opened.
pub(super) const PROBE: u32 = FIRST;

/// A block that no instance below `instances` has. The caller holds the lock under which it is recorded.
pub(super) fn free(instances: &Path) -> io::Result<Option<u32>> {
    let mut taken = BTreeSet::new();
    for entry in fs::read_dir(instances)? {
        if let Some(record) = Record::load(&entry?.path())? {
            taken.insert(record.block);
        }
    }
    Ok((1..BLOCKS).map(|number| FIRST + number * BLOCK).find(|block| !taken.contains(block)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_gap_is_taken() {
        let instances = tempfile::tempdir().expect("directory");
        for (name, block) in [("a", FIRST + BLOCK), ("b", FIRST + 3 * BLOCK)] {
            let run = instances.path().join(name);
            fs::create_dir(&run).expect("made");
            let record = Record {
                boot: String::new(),
                block,
                port: None,
                tcp_port: None,
                stage: String::new(),
                working: None,
                address: None,
                agent: None,
                ending: false,
            };
            record.save(&run).expect("saved");
        }
        assert_eq!(free(instances.path()).expect("readable"), Some(FIRST + 2 * BLOCK));
    }
}
