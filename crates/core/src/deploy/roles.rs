//! What each environment is for. Derived from the rows at every look and never stored, so that no crash can leave a wrong one behind.

use super::{
    app::Rows,
    environment::{Environment, State},
};
use crate::{id::EnvironmentId, time::Time};

/// What an environment is for; the first that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A deployment is about to take it live.
    Candidate,
    /// In production: it has the highest turn.
    Live,
    /// It would be live, but the app is stopped.
    Parked,
    /// The one before, awake while the live one bakes.
    Standby,
    /// The newest earlier one with a different commit: the way back.
    Spare,
    /// Nobody needs it.
    Unwanted,
}

/// How far down an environment is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing left.
    Gone,
    /// Only the release.
    Off,
    /// Asleep on disk.
    Disk,
    /// Asleep in memory.
    Memory,
    /// Running.
    Up,
}

impl Rows {
    /// The environments that went live and still exist, newest turn first.
    #[must_use]
    pub fn landed(&self) -> Vec<&Environment> {
        let mut landed: Vec<_> =
            self.environments.iter().filter(|e| e.turn.is_some() && e.state != State::Gone).collect();
        landed.sort_by_key(|e| std::cmp::Reverse(e.turn));
        landed
    }

    /// The environment with the highest turn, also if the app is stopped.
    #[must_use]
    pub fn live(&self) -> Option<&Environment> {
        self.landed().first().copied()
    }

    /// The one before, while the live one bakes.
    #[must_use]
    pub fn standby(&self) -> Option<&Environment> {
        self.baking()?;
        self.landed().get(1).copied()
    }

    /// The newest earlier environment with a different commit, whatever else it is for at present.
    #[must_use]
    pub fn way_back(&self) -> Option<&Environment> {
        let landed = self.landed();
        let live = landed.first()?;
        landed.iter().find(|e| e.commit.id != live.commit.id).copied()
    }

    /// The environment that is kept beside live and standby: the way back if the bake fails, or, at rest, from what is live.
    #[must_use]
    pub fn spare(&self) -> Option<&Environment> {
        let landed = self.landed();
        let stays = self.standby().or(landed.first().copied())?;
        let others = landed.iter().skip(1).filter(|e| e.id != stays.id);
        others.copied().find(|e| e.commit.id != stays.commit.id)
    }

    /// What an environment is for.
    #[must_use]
    pub fn role(&self, id: &EnvironmentId) -> Role {
        let is = |e: Option<&Environment>| e.is_some_and(|e| e.id == *id);
        if self.app.deleted.is_some() {
            Role::Unwanted
        } else if self.candidate().is_some_and(|d| d.environment.as_ref() == Some(id)) {
            Role::Candidate
        } else if is(self.live()) {
            if self.app.stopped.is_some() { Role::Parked } else { Role::Live }
        } else if is(self.standby()) {
            Role::Standby
        } else if is(self.spare()) {
            Role::Spare
        } else {
            Role::Unwanted
        }
    }

    /// Where an environment is to be at `now`: its state follows its role.
    #[must_use]
    pub fn level(&self, environment: &Environment, now: Time) -> Level {
        match self.role(&environment.id) {
            Role::Candidate | Role::Live | Role::Standby => Level::Up,
            Role::Parked => Level::Off,
            Role::Spare => self.retained(environment, now),
            Role::Unwanted => Level::Gone,
        }
    }

    /// The instants at which the spare sinks from memory, counted from when it was replaced: to disk, off, gone.
    #[must_use]
    pub fn retention(&self, spare: &Environment) -> [Option<Time>; 3] {
        let settings = &self.app.settings;
        let since = spare.replaced_at.unwrap_or(spare.since);
        [settings.disk_after_ms, Some(settings.off_after_ms), settings.gone_after_ms]
            .map(|ms| Some(since.plus(ms?)))
    }

    fn retained(&self, spare: &Environment, now: Time) -> Level {
        let [disk, off, gone] = self.retention(spare).map(|at| at.is_some_and(|at| now >= at));
        match (gone, off || spare.sleepless, disk) {
            (true, _, _) => Level::Gone,
            (_, true, _) => Level::Off,
            (_, _, true) => Level::Disk,
            _ => Level::Memory,
        }
    }
}
