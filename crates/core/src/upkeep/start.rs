//! When a rollout is due, and which apps it has.

use super::{
    chance,
    rollout::{Member, Progress, Rollout, State},
    seen::Apps,
};
use crate::{
    id::{AppId, RolloutId},
    image::Change,
    time::Time,
};
use std::collections::{BTreeMap, BTreeSet};

/// Whether the platform has to begin a rollout by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// No.
    No,
    /// Of all apps that are behind: the image is a new one.
    All,
    /// Of these, which stood aside in the last one and may move by now.
    Some(BTreeSet<AppId>),
}

/// Looks at the newest rollout and at the image that pushes are built on.
///
/// One image has one rollout of the platform's own: whoever failed in it, or was taken out of it, is not tried again by itself.
#[must_use]
pub fn due(newest: Option<&Rollout>, image: &str, apps: &Apps, now: Time) -> Due {
    let behind = apps.values().any(|seen| seen.is_behind(image));
    match newest {
        None if behind => Due::All,
        None => Due::No,
        // Whatever its apps are on: an older rollout that goes on would move them to what is the past.
        Some(last) if last.image != image && (behind || !last.state.is_final()) => Due::All,
        Some(last) if last.image != image || last.state != State::Done => Due::No,
        Some(last) => {
            let passed = last.apps.iter().filter(|member| {
                let stood_aside = matches!(&member.progress, Progress::Left { why } if why.may_pass());
                stood_aside && apps.get(&member.app).is_some_and(|seen| seen.may_move(image, now))
            });
            let passed: BTreeSet<AppId> = passed.map(|member| member.app.clone()).collect();
            if passed.is_empty() { Due::No } else { Due::Some(passed) }
        }
    }
}

/// What a new rollout is about.
#[derive(Debug, Clone)]
pub struct New {
    /// Its id, chosen beforehand.
    pub id: RolloutId,
    /// The image to move to.
    pub image: String,
    /// Who asks; `None`: the platform does.
    pub author: Option<String>,
    /// It waits for no window.
    pub at_once: bool,
    /// Only these apps; `None`: all that are behind.
    pub only: Option<BTreeSet<AppId>>,
    /// Where its order comes from.
    pub seed: u64,
    /// When.
    pub now: Time,
}

/// A rollout of all apps that are live on another image, in an order of chance. Pinned and stopped ones are in it, so that it says why they were left.
#[must_use]
pub fn start(new: New, apps: &Apps, changes: impl FnOnce(&str) -> Vec<Change>) -> Rollout {
    let wanted = |app: &AppId| new.only.as_ref().is_none_or(|only| only.contains(app));
    let behind = apps.iter().filter(|(app, seen)| wanted(app) && seen.is_behind(&new.image));
    let mut members: Vec<Member> = behind
        .filter_map(|(app, seen)| {
            let from = seen.live.clone()?;
            Some(Member { app: app.clone(), name: seen.name.clone(), from, progress: Progress::Waiting })
        })
        .collect();
    chance::shuffle(new.seed, &mut members);
    let from = most_common(&members);
    Rollout {
        changes: from.as_deref().map(changes).unwrap_or_default(),
        id: new.id,
        version: 1,
        image: new.image,
        from,
        author: new.author,
        at_once: new.at_once,
        started: new.now,
        ended: None,
        state: State::Running,
        forgiven: 0,
        halts: 0,
        next_begin: new.now,
        seed: new.seed,
        apps: members,
    }
}

/// A newer one takes its place: nobody begins any more, what is under way goes on to its verdict. `None`: it is over already.
#[must_use]
pub fn replace(rollout: &Rollout, by: &RolloutId) -> Option<Rollout> {
    let state = State::Replaced { by: by.clone() };
    (!rollout.state.is_final()).then(|| Rollout { state, version: rollout.version + 1, ..rollout.clone() })
}

fn most_common(members: &[Member]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    members.iter().for_each(|member| *counts.entry(&member.from).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(from, _)| from.to_owned())
}
