//! How much working trees hold. They lie on the host's own file system, where no layer limits them, so a build that writes without end is
//! noticed here, whenever somebody looks at it, and ended.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use teal_core::id::InstanceId;

/// Between two counts of one tree; a large tree is counted less often, so that counting never takes more than a twentieth of the time.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

/// When each tree is due to be counted again.
#[derive(Debug, Default)]
pub(super) struct Counts {
    due: Mutex<HashMap<InstanceId, Instant>>,
}

impl Counts {
    /// What the tree holds in MiB if it is more than `limit`; `None` also if it is not due to be counted.
    pub(super) fn excess(&self, id: &InstanceId, tree: &Path, limit: u64) -> Option<u64> {
        let begun = Instant::now();
        {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            if due.get(id).is_some_and(|at| *at > begun) {
                return None;
            }
            // Nobody else counts the same tree meanwhile; a count takes no longer than a walk.
            due.insert(id.clone(), begun + Duration::from_secs(3600));
        }
        let most = limit.saturating_mul(1024 * 1024);
        let held = held(tree, most);
        let again = Instant::now() + PAUSE.max(begun.elapsed() * SHARE);
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), again);
        (held > most).then_some(held / (1024 * 1024))
    }

    /// The instance is gone.
    pub(super) fn forget(&self, id: &InstanceId) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// What a tree holds, in bytes; counting stops past `enough`. What vanishes meanwhile does not count, links are not followed.
fn held(tree: &Path, enough: u64) -> u64 {
    let mut sum = 0;
    let mut open = vec![tree.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            // A file with several names is counted as often; builds have few of them.
            sum += found.blocks() * 512;
            if found.is_dir() {
                open.push(entry.path());
            }
        }
        if sum > enough {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_counted_with_all_below_it_and_not_too_often() {
        let tree = tempfile::tempdir().expect("directory");
        fs::create_dir(tree.path().join("d")).expect("made");
        fs::write(tree.path().join("d/big"), vec![1; 3 * 1024 * 1024]).expect("written");
        let (counts, id) = (Counts::default(), "b-1".parse().expect("an id"));
        assert_eq!(counts.excess(&id, tree.path(), 2), Some(3));
        assert_eq!(counts.excess(&id, tree.path(), 2), None, "not due yet");
        counts.forget(&id);
        assert_eq!(counts.excess(&id, tree.path(), 4), None, "within its limit");
    }
}
