//! Ids of the host for emulators and keepers: two for each machine, which nobody else has.

use super::{places, record::Record};
use std::{collections::BTreeSet, io, path::Path};

/// Below the blocks of sandboxes, and past what distributions hand out.
const FIRST: u32 = 0x6ff0_0000;

/// How many machines may have ids at a time.
const MOST: u32 = 0x8_0000;

/// The two of the machine that proves the processor.
pub(super) const PROOF: u32 = FIRST;

/// Two ids that no machine below `machines` has. The caller holds the lock under which they are recorded.
pub(super) fn free(machines: &Path) -> io::Result<Option<u32>> {
    let mut taken = BTreeSet::new();
    for run in places::each(machines)? {
        taken.extend(Record::load(&run)?.map(|record| record.user));
    }
    Ok((1..MOST).map(|number| FIRST + 2 * number).find(|user| !taken.contains(user)))
}
