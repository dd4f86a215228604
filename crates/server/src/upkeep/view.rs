//! What users see of maintenance, from its rows.

use super::Upkeep;
use crate::{log::rfc3339, store, world::now};
use teal_core::{
    api::{MaintenanceView, PackageView, PinView, RolloutAppView, RolloutView},
    image::Change,
    time::Time,
    upkeep::{Member, Progress, Reason, Rollout, State},
};

impl Upkeep {
    /// The image, the window, the newest rollout, the pins.
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
            behind: u32::try_from(behind).unwrap_or(u32::MAX),
            rollout: newest.map(|rollout| rollout_view(rollout, opens)),
            image,
            pins,
        })
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
