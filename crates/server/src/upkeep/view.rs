//! What users see of maintenance, from its rows.

use super::{
    Upkeep,
    patch::{self, Facts},
};
use crate::{log::rfc3339, metrics::Maintenance, store, world::now};
use teal_core::{
    api::{MaintenanceView, PackageView, PatchView, PinView, RolloutAppView, RolloutView},
    image::Change,
    time::Time,
    upkeep::{
        Member, Progress, Reason, Rollout, State,
        patch::{Found, next_look},
    },
};

impl Upkeep {
    /// The image, the window, how it is patched, the newest rollout, the pins.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn view(&self) -> Result<MaintenanceView, store::Error> {
        let (now, image) = (now(), self.current_image());
        let apps = self.apps(None).await?;
        let window = &self.world.config.maintenance.window;
        let pins = self.store().pins().await?;
        let pin = |(app, pin): (_, store::Pin)| {
            let name = apps.get(&app)?.name.clone();
            (pin.until > now).then(|| PinView { app: name, until: rfc3339(pin.until), author: pin.author })
        };
        let mut pins: Vec<PinView> = pins.into_iter().filter_map(pin).collect();
        pins.sort_by(|a, b| a.app.cmp(&b.app));
        let behind = apps.values().filter(|seen| seen.is_behind(&image)).count();
        let opens = window.opens(now);
        let newest = self.store().newest_rollout().await?;
        Ok(MaintenanceView {
            window: window.to_string(),
            window_opens_at: opens.map(rfc3339),
            check: self.patch_view(&self.patch_facts().await?, now),
            behind: u32::try_from(behind).unwrap_or(u32::MAX),
            rollout: newest.map(|rollout| rollout_view(rollout, opens)),
            image,
            pins,
        })
    }

    /// The same, as it is counted.
    pub(crate) async fn counted(&self) -> Result<Maintenance, store::Error> {
        let patch = self.patch_facts().await?.last;
        let rollout = self.store().newest_rollout().await?;
        Ok(Maintenance { image: self.current_image(), rollout, patch })
    }

    fn patch_view(&self, facts: &Facts, now: Time) -> PatchView {
        let maintenance = &self.world.config.maintenance;
        let (every, shelf) = (maintenance.check, facts.shelf());
        let last = facts.last.as_ref().filter(|last| Some(last.image.as_str()) == shelf.image);
        let (packages, security) = match last.map(|last| &last.found) {
            Some(Found::Differs { packages, security, .. }) => (*packages, *security),
            _ => (0, 0),
        };
        let state = match last {
            _ if facts.is_building() => "building",
            None => "never",
            Some(last) => last.found.word(),
        };
        PatchView {
            every: every.word().into(),
            state: state.into(),
            detail: patch::sentence(facts, rfc3339),
            last_at: last.map(|last| rfc3339(last.at)),
            next_at: next_look(every, last, &shelf, &maintenance.window, now).map(rfc3339),
            packages,
            security,
        }
    }
}

fn rollout_view(rollout: Rollout, opens: Option<Time>) -> RolloutView {
    let tally = rollout.tally();
    RolloutView {
        why: why(&rollout, opens),
        id: rollout.id.to_string(),
        image: rollout.image,
        from: rollout.from,
        state: rollout.state.word().into(),
        author: rollout.author,
        started_at: rfc3339(rollout.started),
        ended_at: rollout.ended.map(rfc3339),
        waiting: tally.waiting,
        under_way: tally.under_way,
        moved: tally.moved,
        failed: tally.failed,
        left: tally.left,
        security: security(&rollout.changes),
        changes: rollout.changes.into_iter().map(package).collect(),
        apps: rollout.apps.into_iter().map(member).collect(),
    }
}

fn why(rollout: &Rollout, opens: Option<Time>) -> Option<String> {
    match &rollout.state {
        State::Running if rollout.tally().waiting > 0 && !rollout.at_once => {
            opens.map(|at| format!("it waits for the window, which opens at {}", rfc3339(at)))
        }
        State::Running | State::Done => None,
        State::Halted { why } => Some(why.clone()),
        State::Aborted { by } => Some(format!("ended by {by}")),
        State::Replaced { by } => Some(format!("the rollout {by} took its place")),
    }
}

fn security(changes: &[Change]) -> u32 {
    u32::try_from(changes.iter().filter(|change| change.security).count()).unwrap_or(u32::MAX)
}

fn package(change: Change) -> PackageView {
    let Change { package, from, to, security } = change;
    PackageView { package, from, to, security }
}

fn member(member: Member) -> RolloutAppView {
    let why = match &member.progress {
        Progress::Left { why: Reason::Pinned { until } } => {
            Some(format!("it is pinned until {}", rfc3339(*until)))
        }
        Progress::Left { why } => Some(why.sentence()),
        Progress::Waiting | Progress::UnderWay { .. } | Progress::Moved { .. } | Progress::Failed { .. } => {
            None
        }
    };
    RolloutAppView {
        state: member.progress.word().into(),
        deployment: member.progress.deployment().cloned(),
        app: member.name,
        from: member.from,
        why,
    }
}
