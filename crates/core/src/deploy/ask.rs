//! What users and the platform's chores ask for: refused by name, or written down as a deployment in the app's one sequence.

use super::{
    app::Head,
    deployment::{Commit, Deployment, Kind, Phase, Times},
    draft::Draft,
    environment::Environment,
    event::EventKind,
    request::{Accepted, Act, Refusal, Request},
    settings::{MAX_INSTANCES, Settings},
    view::{WakeTarget, wake_target},
    words::Cause,
};
use crate::id::{DeploymentId, EnvironmentId};

type Answer = Result<Accepted, Refusal>;

/// The longest note, in characters.
const MAX_NOTE: usize = 4_000;

/// What a new deployment is about.
#[derive(Default)]
struct About {
    commit: Option<Commit>,
    image: Option<String>,
    note: Option<String>,
    environment: Option<Environment>,
}

impl Draft<'_> {
    /// Writes a request down.
    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        if self.rows.deployment(&request.id).is_some() {
            return Ok(Accepted::deployment(&request.id));
        }
        if self.rows.app.deleted.is_some() {
            return match request.act {
                Act::Delete => Ok(Accepted::default()),
                _ => Err(Refusal::Deleted),
            };
        }
        match &request.act {
            Act::Push { commit, image } => Ok(self.push(request, commit, image)),
            Act::Wake => self.wake(request),
            Act::Redeploy { commit, image } => Ok(self.redeploy(request, commit, image)),
            Act::Restart => self.restart(request),
            Act::Config { config } => Ok(self.configure(request, *config)),
            Act::Scale { instances } => self.scale(request, *instances),
            Act::Stop => self.stop(request),
            Act::Start => self.start(request),
            Act::Cancel { deployment } => self.cancel_by_user(request, deployment),
            Act::GoLive { deployment } => self.release_held(request, deployment),
            Act::Delete => Ok(self.delete(request)),
            Act::Maintenance { image, note } => self.maintain(request, image, note.as_deref()),
            Act::Set { settings, name, domains } => Ok(self.set(request, settings, name, domains)),
        }
    }

    fn push(&mut self, request: &Request, commit: &Commit, image: &str) -> Accepted {
        self.rows.app.head =
            Some(Head { commit: commit.clone(), deployment: request.id.clone(), image: image.to_owned() });
        let about = About { commit: Some(commit.clone()), image: Some(image.to_owned()), ..About::default() };
        self.queue(request, Kind::Push, about);
        let cuts = self.rows.app.settings.cancel_on_push;
        let loses = |d: &Deployment| {
            d.kind == Kind::Push && (d.phase == Phase::Queued || (cuts && d.phase == Phase::Building))
        };
        self.supersede_older(&request.id, loses);
        Accepted::deployment(&request.id)
    }

    fn wake(&mut self, request: &Request) -> Answer {
        match wake_target(&self.rows)? {
            WakeTarget::Environment(environment) => {
                let environment = environment.clone();
                if let Some(running) = self.wake_of(&environment.id) {
                    return Ok(Accepted::deployment(&running));
                }
                let is_live = self.rows.live().is_some_and(|live| live.id == environment.id);
                self.revert(request, if is_live { Kind::Start } else { Kind::Wake }, reuse(environment));
            }
            WakeTarget::Head(head) => {
                if let Some(running) = self.build_of(&head.commit) {
                    return Ok(Accepted::deployment(&running));
                }
                let about = of_head(head);
                self.revert(request, Kind::Start, about);
            }
        }
        Ok(Accepted::deployment(&request.id))
    }

    /// Asking twice for the same environment is asking once.
    fn wake_of(&self, environment: &EnvironmentId) -> Option<DeploymentId> {
        let same = |d: &&Deployment| d.phase.is_attempt() && d.environment.as_ref() == Some(environment);
        self.rows.deployments.iter().find(same).map(|d| d.id.clone())
    }

    fn build_of(&self, commit: &Commit) -> Option<DeploymentId> {
        let newest =
            self.rows.deployments.iter().filter(|d| d.phase.is_attempt()).max_by_key(|d| d.request)?;
        newest.commit.as_ref().is_some_and(|c| c.id == commit.id).then(|| newest.id.clone())
    }

    fn redeploy(&mut self, request: &Request, commit: &Commit, image: &str) -> Accepted {
        let head = self.rows.app.head.as_ref().map(|head| &head.commit).filter(|head| head.id != commit.id);
        let about = About {
            commit: Some(commit.clone()),
            image: Some(image.to_owned()),
            note: head.map(|head| not_the_last(commit, head)),
            environment: None,
        };
        self.revert(request, Kind::Redeploy, about);
        Accepted::deployment(&request.id)
    }

    fn restart(&mut self, request: &Request) -> Answer {
        self.needs_live()?;
        self.queue(request, Kind::Restart, About::default());
        Ok(Accepted::deployment(&request.id))
    }

    /// Variables of an app that is not running wait for its next start.
    fn configure(&mut self, request: &Request, config: u64) -> Accepted {
        self.rows.app.config = config;
        self.event_by(
            EventKind::ConfigChanged,
            request.author.clone(),
            format!("variables, snapshot {config}"),
        );
        if self.needs_live().is_err() {
            return Accepted::default();
        }
        self.queue(request, Kind::Config, About::default());
        Accepted::deployment(&request.id)
    }

    fn scale(&mut self, request: &Request, instances: u32) -> Answer {
        if !(1..=MAX_INSTANCES).contains(&instances) {
            return Err(Refusal::BadCount);
        }
        self.rows.app.settings.instances = instances;
        self.event_by(EventKind::Scaled, request.author.clone(), format!("{instances} instances"));
        let is_so =
            self.rows.live().is_some_and(|live| live.count == instances) && self.attempts().is_empty();
        if self.needs_live().is_err() || is_so {
            return Ok(Accepted::default());
        }
        self.queue(request, Kind::Scale, About::default());
        Ok(Accepted::deployment(&request.id))
    }

    fn maintain(&mut self, request: &Request, image: &str, note: Option<&str>) -> Answer {
        self.needs_live()?;
        if self.rows.live().is_some_and(|live| live.image == image) {
            return Err(Refusal::SameImage);
        }
        let note = note.map(|note| note.chars().take(MAX_NOTE).collect());
        self.queue(
            request,
            Kind::Maintenance,
            About { image: Some(image.to_owned()), note, ..About::default() },
        );
        Ok(Accepted::deployment(&request.id))
    }

    fn stop(&mut self, request: &Request) -> Answer {
        let attempts = self.attempts();
        if self.rows.app.stopped.is_some() && attempts.is_empty() {
            return Err(Refusal::AlreadyStopped);
        }
        if self.rows.live().is_none() && attempts.is_empty() {
            return Err(Refusal::NothingLive);
        }
        self.end_all("the app was stopped");
        self.rows.app.stopped = Some(self.rows.app.requests);
        self.rows.app.last_failed = None;
        let now = self.now;
        if let Some(id) = self.rows.live().map(|e| e.id.clone())
            && let Some(row) = self.rows.environment_mut(&id)
        {
            row.replaced_at = Some(now);
        }
        self.event_by(EventKind::Stopped, request.author.clone(), "the app is stopped".into());
        Ok(Accepted::default())
    }

    fn start(&mut self, request: &Request) -> Answer {
        let stopped = self.rows.app.stopped.is_some();
        let under_way = self.rows.deployments.iter().any(|d| d.phase.is_attempt());
        let live = self.rows.live().cloned();
        if under_way || (live.is_some() && !stopped) {
            return Err(Refusal::AlreadyRunning);
        }
        let about = match (live, &self.rows.app.head) {
            (Some(live), _) if self.is_current(&live) => reuse(live),
            (Some(live), _) => {
                About { commit: Some(live.commit), image: Some(live.image), ..About::default() }
            }
            (None, Some(head)) => of_head(head),
            (None, None) => return Err(Refusal::NothingPushed),
        };
        self.revert(request, Kind::Start, about);
        Ok(Accepted::deployment(&request.id))
    }

    /// Neither variables nor the number of instances changed since it began.
    fn is_current(&self, environment: &Environment) -> bool {
        environment.config == self.rows.app.config && environment.count == self.rows.app.settings.instances
    }

    fn cancel_by_user(&mut self, request: &Request, id: &DeploymentId) -> Answer {
        let row = self.rows.deployment(id).ok_or(Refusal::NoSuchDeployment)?;
        let who = request.author.as_deref().unwrap_or("the platform");
        let why = format!("cancelled by {who} ({})", request.cause);
        match row.phase {
            Phase::Live { .. } if !self.can_go_back() => return Err(Refusal::StandbyBroken),
            Phase::Live { .. } => self.cancel_bake(id, &why),
            Phase::Baked { .. } => return Err(Refusal::AlreadyLive),
            Phase::Ended { .. } => return Err(Refusal::AlreadyEnded),
            _ => self.cancel(id, &why),
        }
        Ok(Accepted::deployment(id))
    }

    fn release_held(&mut self, request: &Request, id: &DeploymentId) -> Answer {
        let row = self.rows.deployment(id).ok_or(Refusal::NoSuchDeployment)?;
        if row.phase != Phase::Held {
            return Err(Refusal::NotHeld);
        }
        let who = request.author.clone();
        self.event_by(EventKind::SettingsChanged, who, format!("\"go live\" for {id}"));
        self.go_live(id);
        Ok(Accepted::deployment(id))
    }

    fn delete(&mut self, request: &Request) -> Accepted {
        self.end_all("the app was deleted");
        self.rows.app.deleted = Some(self.rows.app.requests);
        self.event_by(EventKind::Deleted, request.author.clone(), "the app is deleted".into());
        Accepted::default()
    }

    fn set(&mut self, request: &Request, settings: &Settings, name: &str, domains: &[String]) -> Accepted {
        let app = &mut self.rows.app;
        app.settings = Settings { instances: app.settings.instances, ..settings.clone() };
        app.name = name.to_owned();
        app.domains = domains.to_vec();
        self.event_by(
            EventKind::SettingsChanged,
            request.author.clone(),
            "settings or domains changed".into(),
        );
        Accepted::default()
    }

    fn needs_live(&self) -> Result<(), Refusal> {
        self.rows.live().ok_or(Refusal::NothingLive)?;
        self.rows.app.stopped.map_or(Ok(()), |_| Err(Refusal::AppStopped))
    }

    fn attempts(&self) -> Vec<DeploymentId> {
        self.rows.deployments.iter().filter(|d| d.phase.is_attempt()).map(|d| d.id.clone()).collect()
    }

    /// Ends every attempt and the bake; takes a number, so that nothing older acts afterwards.
    fn end_all(&mut self, why: &str) {
        self.rows.app.requests += 1;
        for id in self.attempts() {
            self.cancel(&id, why);
        }
        if let Some(baking) = self.rows.baking().map(|d| d.id.clone()) {
            self.bake(&baking, why);
            let now = self.now;
            if let Some(row) = self.rows.deployment_mut(&baking) {
                row.times.ended.get_or_insert(now);
            }
        }
    }

    /// An explicit wish for another commit than what is under way: it ends every older attempt.
    fn revert(&mut self, request: &Request, kind: Kind, about: About) {
        self.queue(request, kind, about);
        self.supersede_older(&request.id, |d| d.kind != Kind::Maintenance || d.phase != Phase::Queued);
    }

    fn supersede_older(&mut self, by: &DeploymentId, loses: impl Fn(&Deployment) -> bool) {
        let older = self.rows.deployments.iter().filter(|d| d.id != *by && d.phase.is_attempt() && loses(d));
        for id in older.map(|d| d.id.clone()).collect::<Vec<_>>() {
            self.supersede(&id, by);
        }
    }

    /// Adds a deployment. Maintenance that has begun yields to users.
    fn queue(&mut self, request: &Request, kind: Kind, about: About) {
        self.rows.app.requests += 1;
        let config = about.environment.as_ref().map_or(self.rows.app.config, |e| e.config);
        let instances = about.environment.as_ref().map_or(self.rows.app.settings.instances, |e| e.count);
        self.rows.deployments.push(Deployment {
            id: request.id.clone(),
            request: self.rows.app.requests,
            kind,
            cause: request.cause,
            author: request.author.clone(),
            commit: about.commit,
            image: about.image,
            config,
            instances,
            release: about.environment.as_ref().map(|e| e.release.clone()),
            cached: about.environment.is_some(),
            environment: about.environment.as_ref().map(|e| e.id.clone()),
            phase: Phase::Queued,
            turn_before: None,
            retry_at: None,
            times: Times { queued: self.now, ..Times::default() },
            probes: Vec::new(),
            note: about.note.clone(),
        });
        self.event(
            EventKind::Queued,
            Some(&request.id),
            None,
            cause_text(request.cause, about.note.as_deref()),
        );
        if kind != Kind::Maintenance {
            self.supersede_older(&request.id, |d| d.kind == Kind::Maintenance && d.phase != Phase::Queued);
        }
    }
}

fn cause_text(cause: Cause, note: Option<&str>) -> String {
    note.map_or_else(|| cause.word().to_owned(), |note| format!("{cause}: {note}"))
}

/// Said in the activity and the log: what is deployed is not what was pushed last.
fn not_the_last(commit: &Commit, head: &Commit) -> String {
    let short = |commit: &Commit| commit.id.chars().take(7).collect::<String>();
    let (of, last) = (short(commit), short(head));
    let note = format!("redeploys {of}, not the commit that was pushed last ({last} {})", head.message);
    note.chars().take(MAX_NOTE).collect()
}

fn reuse(environment: Environment) -> About {
    About {
        commit: Some(environment.commit.clone()),
        image: Some(environment.image.clone()),
        environment: Some(environment),
        note: None,
    }
}

fn of_head(head: &Head) -> About {
    About { commit: Some(head.commit.clone()), image: Some(head.image.clone()), ..About::default() }
}
