//! What a repository remembers about pushes without a verdict, and which branch values follow from the verdicts: pure.
//!
//! A branch moves when its push is accepted and moves back if the deployment fails, so that git's "rejected" is true, and pushing the
//! same commit again tries again (`docs/decisions/0003-push-verdict.md`). All of it is in hidden references, so that it survives a crash
//! and is changed in the same transaction as the branch:
//!
//! ```text
//! refs/teal/commits/<commit>                  every commit that was accepted: keeps its objects
//! refs/teal/intent/<branch>                   the branch moved, the platform has not been asked yet
//! refs/teal/pending/<deployment>/<branch>     it was asked, and its verdict has not been drawn here yet
//! refs/teal/good/<branch>                     the last commit of the branch whose push went live
//! ```

use std::collections::BTreeMap;
use teal_core::id::DeploymentId;

pub(super) const COMMITS: &str = "refs/teal/commits/";
pub(super) const INTENT: &str = "refs/teal/intent/";
pub(super) const PENDING: &str = "refs/teal/pending/";
const GOOD: &str = "refs/teal/good/";
const HEADS: &str = "refs/heads/";

/// References and what they point to.
pub(super) type Refs = BTreeMap<String, String>;

/// A reference to be changed; `None` deletes it.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// What is known of the deployment of a pending push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No verdict yet.
    Open,
    /// It went live.
    Live,
    /// It did not.
    Lost,
    /// The platform does not know it any more: nothing follows from it.
    Forgotten,
}

/// The deployments whose verdict this repository waits for.
pub(super) fn awaited(refs: &Refs) -> Vec<DeploymentId> {
    let mut all: Vec<_> = pending(refs).filter_map(|(id, _, _)| id.parse().ok()).collect();
    all.dedup();
    all
}

/// Whether a push was cut off between moving its branch and asking the platform.
pub(super) fn has_intent(refs: &Refs) -> bool {
    refs.keys().any(|name| name.starts_with(INTENT))
}

/// The changes that the verdicts call for. Nobody may be between an intent and its deployment meanwhile: an intent that is found
/// here belongs to a push that was cut off.
pub(super) fn settle(refs: &Refs, standings: &BTreeMap<DeploymentId, Standing>) -> Changes {
    let mut changes = Changes::new();
    for name in refs.keys().filter(|name| name.starts_with(INTENT)) {
        changes.insert(name.clone(), None);
    }
    for (id, branch, _) in pending(refs) {
        if standing(id, standings) != Standing::Open {
            changes.insert(format!("{PENDING}{id}/{branch}"), None);
        }
    }
    for (head, commit) in refs.iter().filter(|(name, _)| name.starts_with(HEADS)) {
        settle_branch(refs, standings, head, commit, &mut changes);
    }
    changes
}

fn settle_branch(
    refs: &Refs,
    standings: &BTreeMap<DeploymentId, Standing>,
    head: &str,
    commit: &str,
    changes: &mut Changes,
) {
    let branch = &head[HEADS.len()..];
    let of = |wanted: Standing| {
        let mine = pending(refs).filter(move |(_, name, _)| *name == branch);
        mine.filter(move |(id, ..)| standing(id, standings) == wanted).map(|(_, _, commit)| commit)
    };
    let good_name = format!("{GOOD}{branch}");
    let before = refs.get(&good_name).map(String::as_str);
    let good = of(Standing::Live).last().or(before);
    if good != before {
        changes.insert(good_name, good.map(str::to_owned));
    }
    let intended = refs.get(&format!("{INTENT}{branch}")).map(String::as_str);
    let lost = intended == Some(commit) || of(Standing::Lost).any(|other| other == commit);
    let held = good == Some(commit) || of(Standing::Open).any(|other| other == commit);
    if lost && !held {
        let back = of(Standing::Open).last().or(good);
        changes.insert(head.to_owned(), back.map(str::to_owned));
    }
}

fn standing(id: &str, standings: &BTreeMap<DeploymentId, Standing>) -> Standing {
    let id = id.parse::<DeploymentId>().ok();
    id.map_or(Standing::Forgotten, |id| standings.get(&id).copied().unwrap_or(Standing::Open))
}

/// Deployment, branch and commit of each pending push, in the order of the deployments.
fn pending(refs: &Refs) -> impl Iterator<Item = (&str, &str, &str)> {
    refs.iter().filter_map(|(name, commit)| {
        let (id, branch) = name.strip_prefix(PENDING)?.split_once('/')?;
        Some((id, branch, commit.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(pairs: &[(&str, &str)]) -> Refs {
        pairs.iter().map(|(name, commit)| (format!("refs/{name}"), (*commit).to_owned())).collect()
    }

    /// Settles and applies.
    fn settled(pairs: &[(&str, &str)], standings: &[(&str, Standing)]) -> Refs {
        let mut refs = refs(pairs);
        let standings = standings.iter().map(|(id, s)| (id.parse().expect("legal"), *s)).collect();
        for (name, change) in settle(&refs.clone(), &standings) {
            match change {
                Some(commit) => refs.insert(name, commit),
                None => refs.remove(&name),
            };
        }
        refs
    }

    #[test]
    fn a_push_that_went_live_is_the_new_ground() {
        let after = settled(
            &[("heads/main", "b"), ("teal/good/main", "a"), ("teal/pending/d-1/main", "b")],
            &[("d-1", Standing::Live)],
        );
        assert_eq!(after, refs(&[("heads/main", "b"), ("teal/good/main", "b")]));
    }

    #[test]
    fn a_failed_push_moves_its_branch_back() {
        let after = settled(
            &[("heads/main", "b"), ("teal/good/main", "a"), ("teal/pending/d-1/main", "b")],
            &[("d-1", Standing::Lost)],
        );
        assert_eq!(after, refs(&[("heads/main", "a"), ("teal/good/main", "a")]));
    }

    #[test]
    fn a_failed_first_push_leaves_no_branch() {
        let after =
            settled(&[("heads/main", "a"), ("teal/pending/d-1/main", "a")], &[("d-1", Standing::Lost)]);
        assert_eq!(after, refs(&[]));
    }

    #[test]
    fn an_open_push_stays() {
        let before = [("heads/main", "b"), ("teal/good/main", "a"), ("teal/pending/d-1/main", "b")];
        assert_eq!(settled(&before, &[("d-1", Standing::Open)]), refs(&before));
    }

    #[test]
    fn a_superseded_push_leaves_the_newer_one_alone() {
        let after = settled(
            &[
                ("heads/main", "c"),
                ("teal/good/main", "a"),
                ("teal/pending/d-1/main", "b"),
                ("teal/pending/d-2/main", "c"),
            ],
            &[("d-1", Standing::Lost), ("d-2", Standing::Open)],
        );
        assert_eq!(
            after,
            refs(&[("heads/main", "c"), ("teal/good/main", "a"), ("teal/pending/d-2/main", "c")])
        );
    }

    #[test]
    fn back_never_means_a_commit_that_failed_too() {
        let before = [
            ("heads/main", "c"),
            ("teal/good/main", "a"),
            ("teal/pending/d-1/main", "b"),
            ("teal/pending/d-2/main", "c"),
        ];
        let after = settled(&before, &[("d-1", Standing::Lost), ("d-2", Standing::Lost)]);
        assert_eq!(after, refs(&[("heads/main", "a"), ("teal/good/main", "a")]));
        let after = settled(&before, &[("d-1", Standing::Open), ("d-2", Standing::Lost)]);
        assert_eq!(after["refs/heads/main"], "b");
    }

    #[test]
    fn a_push_that_was_cut_off_before_it_was_asked_for_is_undone() {
        let after = settled(&[("heads/main", "b"), ("teal/good/main", "a"), ("teal/intent/main", "b")], &[]);
        assert_eq!(after, refs(&[("heads/main", "a"), ("teal/good/main", "a")]));
    }

    #[test]
    fn a_second_try_that_is_open_keeps_the_commit_that_failed_first() {
        let after = settled(
            &[("heads/main", "b"), ("teal/pending/d-1/main", "b"), ("teal/pending/d-2/main", "b")],
            &[("d-1", Standing::Lost), ("d-2", Standing::Open)],
        );
        assert_eq!(after, refs(&[("heads/main", "b"), ("teal/pending/d-2/main", "b")]));
    }

    #[test]
    fn nothing_follows_from_what_the_platform_forgot() {
        let after =
            settled(&[("heads/main", "b"), ("teal/pending/d-1/main", "b")], &[("d-1", Standing::Forgotten)]);
        assert_eq!(after, refs(&[("heads/main", "b")]));
    }
}
