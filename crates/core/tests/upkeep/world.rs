//! Apps as a rollout sees them, a store, and the keeper that may die between any two steps. Every promise is checked at every instant.

use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use teal_core::{
    id::{AppId, DeploymentId, RolloutId},
    time::Time,
    upkeep::{self, Apps, Due, Limits, Look, New, Ours, Progress, Reason, Rollout, Seen},
};

/// A maintenance deployment that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) app: AppId,
    pub(crate) image: String,
    pub(crate) outcome: Ours,
}

/// An app, as the machine would have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct App {
    pub(crate) live: Option<String>,
    pub(crate) stopped: bool,
    /// The image that a user's deployment under way will bring.
    pub(crate) user: Option<String>,
    pub(crate) pinned: Option<Time>,
    /// It breaks on this image.
    pub(crate) breaks_on: Option<String>,
}

/// Everything durable, and the clock.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) asked: BTreeMap<DeploymentId, Asked>,
    pub(crate) rollouts: Vec<Rollout>,
    pub(crate) image: String,
    pub(crate) now: Time,
    pub(crate) open: bool,
    pub(crate) limits: Limits,
    pub(crate) halts: Vec<RolloutId>,
    ids: u64,
}

impl World {
    pub(crate) fn new(apps: u64) -> Self {
        let app = |n| (app(n), App { live: Some("i-0".into()), ..App::default() });
        Self {
            apps: (0..apps).map(app).collect(),
            asked: BTreeMap::new(),
            rollouts: Vec::new(),
            image: "i-0".into(),
            now: Time(1_000_000),
            open: true,
            limits: Limits { concurrency: 2, halt_after: 0, spread_ms: 0 },
            halts: Vec::new(),
            ids: 0,
        }
    }

    pub(crate) fn seen(&self, rollout: Option<&Rollout>) -> Apps {
        let seen = |(id, app): (&AppId, &App)| {
            let chosen = rollout.and_then(|r| r.member(id)?.progress.deployment());
            let ours = chosen.and_then(|id| self.asked.get(id)).map_or(Ours::Absent, |a| a.outcome.clone());
            let seen = Seen {
                name: id.to_string(),
                live: app.live.clone(),
                stopped: app.stopped,
                users: app.user.is_some(),
                works: app.user.is_some(),
                maintained: self.maintained(id),
                pinned: app.pinned,
                ours,
            };
            (id.clone(), seen)
        };
        self.apps.iter().map(seen).collect()
    }

    fn maintained(&self, app: &AppId) -> bool {
        self.asked.values().any(|asked| asked.app == *app && asked.outcome == Ours::UnderWay)
    }

    /// One pass of the keeper, ended after `steps` durable steps, as a crash would.
    pub(crate) fn pass(&mut self, mut steps: u64) {
        let mut step = || {
            steps = steps.saturating_sub(1);
            steps > 0
        };
        let due = upkeep::due(self.rollouts.last(), &self.image, &self.seen(None), self.now);
        let only = match due {
            Due::No => None,
            Due::All => Some(None),
            Due::Some(apps) => Some(Some(apps)),
        };
        if let Some(only) = only {
            self.start(only, false);
            if !step() {
                return;
            }
        }
        for place in 0..self.rollouts.len() {
            // The store gives the keeper no others.
            if !self.rollouts[place].is_open() {
                continue;
            }
            let seen = self.seen(Some(&self.rollouts[place]));
            let look = Look { now: self.now, open: self.open, apps: &seen };
            let ids = &mut self.ids;
            let fresh = || {
                *ids += 1;
                format!("d-{ids}").parse().expect("legal")
            };
            if let Some(advance) = upkeep::advance(&self.rollouts[place], &look, &self.limits, fresh) {
                assert_eq!(advance.rollout.version, self.rollouts[place].version + 1);
                if advance.halted {
                    self.halts.push(advance.rollout.id.clone());
                }
                self.rollouts[place] = advance.rollout;
                self.check();
                if !step() {
                    return;
                }
            }
            let seen = self.seen(Some(&self.rollouts[place]));
            let look = Look { now: self.now, open: self.open, apps: &seen };
            for (app, deployment) in upkeep::asks(&self.rollouts[place], &look) {
                let image = self.rollouts[place].image.clone();
                self.ask(&app, &deployment, &image);
                self.check();
                if !step() {
                    return;
                }
            }
        }
    }

    /// A rollout to the present image; the one before gives way in the same transaction.
    pub(crate) fn start(&mut self, only: Option<BTreeSet<AppId>>, at_once: bool) {
        self.ids += 1;
        let id: RolloutId = format!("m-{}", self.ids).parse().expect("legal");
        let new = New {
            id: id.clone(),
            image: self.image.clone(),
            author: None,
            at_once,
            only,
            seed: self.ids,
            now: self.now,
        };
        let started = upkeep::start(new, &self.seen(None), |_| Vec::new());
        for rollout in &mut self.rollouts {
            if let Some(replaced) = upkeep::replace(rollout, &id) {
                *rollout = replaced;
            }
        }
        self.rollouts.push(started);
    }

    /// What the machine does with the request: refused, known already, or a row.
    fn ask(&mut self, id: &AppId, deployment: &DeploymentId, image: &str) {
        let app = &self.apps[id];
        let refused = app.stopped || app.live.is_none() || app.live.as_deref() == Some(image);
        if refused || self.asked.contains_key(deployment) {
            return;
        }
        let asked = Asked { app: id.clone(), image: image.to_owned(), outcome: Ours::UnderWay };
        self.asked.insert(deployment.clone(), asked);
    }

    /// A maintenance deployment under way gets its verdict.
    pub(crate) fn settle(&mut self, deployment: &DeploymentId, outcome: Ours) {
        let asked = self.asked.get_mut(deployment).expect("asked");
        assert_eq!(asked.outcome, Ours::UnderWay);
        asked.outcome = outcome;
        if asked.outcome == Ours::Landed {
            let (app, image) = (asked.app.clone(), asked.image.clone());
            self.apps.get_mut(&app).expect("there").live = Some(image);
        }
    }

    pub(crate) fn under_way(&self) -> Vec<DeploymentId> {
        let open = self.asked.iter().filter(|(_, asked)| asked.outcome == Ours::UnderWay);
        open.map(|(id, _)| id.clone()).collect()
    }

    /// Its honest verdict.
    pub(crate) fn settle_honestly(&mut self, deployment: &DeploymentId) {
        let asked = &self.asked[deployment];
        let breaks = self.apps[&asked.app].breaks_on.as_ref() == Some(&asked.image);
        self.settle(deployment, if breaks { Ours::Failed } else { Ours::Landed });
    }

    /// A user acts on an app: maintenance that is under way yields.
    pub(crate) fn user_deploys(&mut self, app: &AppId, image: &str) {
        self.apps.get_mut(app).expect("there").user = Some(image.to_owned());
        for asked in self.asked.values_mut().filter(|a| a.app == *app && a.outcome == Ours::UnderWay) {
            asked.outcome = Ours::Superseded;
        }
    }

    pub(crate) fn user_lands(&mut self, app: &AppId) {
        let app = self.apps.get_mut(app).expect("there");
        if let Some(image) = app.user.take() {
            app.live = Some(image);
            app.stopped = false;
        }
    }

    /// Runs without crashes until nothing changes any more.
    pub(crate) fn rest(&mut self) {
        // A pause between two beginnings is quiet, too, but no longer than a minute.
        let mut quiet = 0;
        for _ in 0..10_000 {
            let before = (self.rollouts.clone(), self.asked.clone());
            self.apps.keys().cloned().collect::<Vec<_>>().iter().for_each(|app| self.user_lands(app));
            self.pass(u64::MAX);
            self.under_way().iter().for_each(|id| self.settle_honestly(id));
            self.now = self.now.plus(60_000);
            quiet = if before == (self.rollouts.clone(), self.asked.clone()) { quiet + 1 } else { 0 };
            if quiet > 2 {
                return;
            }
        }
        panic!("it never ends: {:#?}", self.rollouts);
    }

    /// What holds at every instant.
    pub(crate) fn check(&self) {
        let busy = self.under_way().len();
        assert!(busy <= self.limits.concurrency as usize, "{busy} under way: {:?}", self.asked);
        let per_app = self.under_way().iter().map(|id| self.asked[id].app.clone()).collect::<BTreeSet<_>>();
        assert_eq!(per_app.len(), busy, "two maintenance deployments of one app at a time");
        for rollout in &self.rollouts {
            let named: Vec<_> = rollout.apps.iter().filter_map(|m| m.progress.deployment()).collect();
            assert_eq!(
                named.iter().collect::<BTreeSet<_>>().len(),
                named.len(),
                "one deployment for two apps"
            );
            self.check_members(rollout);
        }
    }

    fn check_members(&self, rollout: &Rollout) {
        for member in &rollout.apps {
            let outcome = member.progress.deployment().and_then(|id| self.asked.get(id)).map(|a| &a.outcome);
            match &member.progress {
                Progress::Moved { .. } => assert_eq!(outcome, Some(&Ours::Landed)),
                Progress::Failed { .. } => assert_eq!(outcome, Some(&Ours::Failed)),
                Progress::Left { why: Reason::Ended } => assert!(rollout.state.is_final()),
                Progress::Waiting | Progress::UnderWay { .. } | Progress::Left { .. } => {}
            }
        }
        // Each rollout tries an app once, but for what users superseded.
        let rollouts = self.rollouts.iter().filter(|other| other.image == rollout.image).count();
        for member in &rollout.apps {
            let tried =
                |a: &&Asked| a.app == member.app && a.image == rollout.image && a.outcome != Ours::Superseded;
            let times = self.asked.values().filter(tried).count();
            assert!(times <= rollouts, "{} was tried {times} times in {rollouts} rollouts", member.app);
        }
    }

    /// What holds once all is at rest.
    pub(crate) fn check_rest(&self) {
        for rollout in &self.rollouts {
            assert!(rollout.state.is_final() && rollout.ended.is_some(), "{rollout:#?}");
            assert!(rollout.apps.iter().all(|member| member.progress.is_final()), "{rollout:#?}");
        }
        assert!(self.under_way().is_empty());
        let chosen: BTreeSet<&DeploymentId> = self
            .rollouts
            .iter()
            .flat_map(|r| r.apps.iter().filter_map(|m| m.progress.deployment()))
            .collect();
        for (id, asked) in &self.asked {
            let known = chosen.contains(id) || matches!(asked.outcome, Ours::Superseded | Ours::Cancelled(_));
            assert!(known, "nobody knows of {id}: {asked:?}");
        }
    }
}

pub(crate) fn app(n: u64) -> AppId {
    format!("a-{n}").parse().expect("legal")
}

/// One of them, by chance.
pub(crate) fn pick<T: Clone>(rng: &mut Rng, of: &[T]) -> Option<T> {
    let place = usize::try_from(rng.below(of.len() as u64)).expect("fits");
    of.get(place).cloned()
}
