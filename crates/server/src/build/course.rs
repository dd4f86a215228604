//! The course of one build: cache, tree, plan, sandbox, seal. Each step may be the first one after a restart of the server.
//!
//! Nothing is run twice if it can be found again, and what was decided (ended, failed) is noted before anybody hears of it.

use super::{
    builder::Builder,
    cache,
    detect::{self, PORT, TOOLS},
    disk::Disk,
    follow::{Feed, STAGE, follow},
    job::{Built, Job},
    notes::{Ended, Notes},
    production, submodules, tree,
    variables::{Context, Purpose, variables},
};
use crate::{
    diagnosis,
    manifest::Manifest,
    release::{self, Choice, Key, Meta, SealError, Sealed},
    world::now,
};
use std::{io, path::PathBuf, sync::Arc};
use teal_core::{error::in_full, id::ReleaseId, time::Time};
use teal_runtime::{Command, Exit, Image, InstanceSpec, Mount, Outcome, Runtime, State, Tree};
use tokio::sync::OwnedMutexGuard;

/// A sandbox that disappears is replaced so often.
const ATTEMPTS: u32 = 3;

/// Why a build did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed: words for the user.
    Broke(String),
    /// Not known; it is to be tried again.
    Unknown(String),
}

impl Stop {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Unknown(format!("{what}: {error}"))
    }
}

pub(super) struct Course<'a, R> {
    pub(super) builder: &'a Builder<R>,
    pub(super) job: &'a Job,
    /// Held until nothing of this build runs any more, not even in a thread that outlives a cancelled caller.
    pub(super) held: Arc<OwnedMutexGuard<()>>,
}

impl<R: Runtime> Course<'_, R> {
    pub(super) async fn run(&self) -> Result<Built, Stop> {
        let (key, home) = (self.key(), self.home());
        let noted = Notes::load(&home).filter(|notes| notes.key == key);
        if let Some(release) = self.found(&key)? {
            if noted.is_none() {
                self.say(&format!("Deploying commit ID {}", self.job.commit));
                self.say(&format!(
                    "This commit was built before: release {release} is taken from the build cache"
                ));
            }
            self.clean().await;
            return Ok(Built { release, cached: noted.is_none() });
        }
        let mut notes = match noted {
            Some(notes) => notes,
            None => self.begin(&key, 1).await?,
        };
        if let Some(failure) = notes.failure {
            return Err(Stop::Broke(failure));
        }
        if notes.ended.is_none() {
            notes = self.raise(notes).await?;
        }
        let result = self.conclude(&notes).await;
        if let Err(Stop::Broke(failure)) = &result {
            notes.failure = Some(failure.clone());
            notes.save(&home).map_err(Stop::io("note the failure of a build"))?;
        }
        result
    }

    /// The tree and the plan for it.
    async fn begin(&self, key: &str, attempt: u32) -> Result<Notes, Stop> {
        if attempt == 1 {
            self.say(&format!("Deploying commit ID {}", self.job.commit));
        } else {
            self.say("The build's sandbox disappeared (a restart of the host?): it is begun anew");
        }
        let home = self.home();
        release::remove(&home).map_err(|error| Stop::Unknown(in_full(&error)))?;
        std::fs::create_dir_all(home.join("release")).map_err(Stop::io("make the directory of a build"))?;
        let contents = self.unpack().await?;
        let files = Disk::open(&tree::of(&home)).map_err(Stop::io("open the tree of a build"))?;
        // Before anything is run: what is wrong in it costs no build.
        let manifest = Manifest::read(&files).map_err(|error| Stop::Broke(error.to_string()))?;
        let kind = self.job.kind.as_deref().or(manifest.kind());
        let plan = detect::plan(&files, &manifest.variables_below(&self.job.variables), kind);
        let mut plan = plan.map_err(|error| Stop::Broke(error.to_string()))?;
        if let Some(command) = self.submodules(&contents)? {
            plan.build.insert(0, command);
        }
        if attempt == 1 {
            self.say(&plan.because);
            manifest.notes(&self.job.variables).iter().for_each(|note| self.say(note));
            plan.notes.iter().for_each(|note| self.say(note));
            production::note(&self.job.kept_out).iter().for_each(|note| self.say(note));
        }
        let notes = Notes {
            key: key.into(),
            started: now(),
            attempt,
            plan,
            manifest,
            raised: false,
            ended: None,
            failure: None,
        };
        notes.save(&home).map_err(Stop::io("note a build"))?;
        Ok(notes)
    }

    /// What fetches the submodules, unless the owner does not want them.
    fn submodules(&self, contents: &tree::Contents) -> Result<Option<Command>, Stop> {
        if self.job.has("CC_DISABLE_GIT_SUBMODULES") {
            return Ok(None);
        }
        let folder = self.folder()?.unwrap_or_else(|| ".".to_owned());
        submodules::command(&contents.modules, &contents.submodules, &folder).map_err(Stop::Broke)
    }

    /// `APP_FOLDER`, tidied.
    fn folder(&self) -> Result<Option<String>, Stop> {
        let given = self.job.variables.get("APP_FOLDER").map(|folder| folder.trim());
        let folder = given.filter(|folder| !folder.is_empty()).map(|folder| {
            tree::inside(folder).ok_or_else(|| {
                Stop::Broke(format!(
                    "APP_FOLDER={folder} leads out of the repository: give a folder inside it"
                ))
            })
        });
        folder.transpose()
    }

    async fn unpack(&self) -> Result<tree::Contents, Stop> {
        let folder = self.folder()?;
        let (job, to) = (self.job, tree::of(&self.home()));
        let contents = tree::unpack(&job.repository, &job.commit, folder.as_deref(), &to).await;
        contents.map_err(|error| match error.is_final() {
            true => Stop::Broke(error.to_string()),
            false => Stop::Unknown(in_full(&error)),
        })
    }

    /// Makes the sandbox run, or finds it, and waits for its end.
    async fn raise(&self, mut notes: Notes) -> Result<Notes, Stop> {
        let (home, id) = (self.home(), self.job.deployment.build());
        if notes.raised && self.absent().await? {
            if notes.attempt >= ATTEMPTS {
                return Err(Stop::Broke(format!(
                    "the build's sandbox disappeared {ATTEMPTS} times: the host restarts, or something ends it; push again once it is stable"
                )));
            }
            notes = self.begin(&notes.key, notes.attempt + 1).await?;
        }
        if notes.plan.build.is_empty() {
            notes.ended = Some(Ended::Exit(None));
        } else {
            notes.raised = true;
            notes.save(&home).map_err(Stop::io("note a build"))?;
            match self.builder.runtime.ensure(&self.spec(&notes)?).await {
                Outcome::Done(_) => {}
                Outcome::Broke(failure) => return Err(Stop::Broke(failure.message)),
                Outcome::Unknown(why) => return Err(Stop::Unknown(why)),
            }
            let log = self.builder.runtime.log(&id);
            let mut feed = Feed::new(&self.builder.logs, &self.job.deployment, &log, &home);
            notes.ended =
                Some(follow(&*self.builder.runtime, self.job, &notes.plan, &mut feed, &home).await?);
        }
        notes.save(&home).map_err(Stop::io("note the end of a build"))?;
        Ok(notes)
    }

    async fn absent(&self) -> Result<bool, Stop> {
        match self.builder.runtime.inspect(&self.job.deployment.build()).await {
            Outcome::Done(inspection) => Ok(inspection.state == State::Absent),
            Outcome::Broke(_) => Ok(true),
            Outcome::Unknown(why) => Err(Stop::Unknown(why)),
        }
    }

    /// What the build runs on. A version that is gone does not come back.
    fn image(&self) -> Result<Option<Image>, Stop> {
        let found = self.builder.images.as_ref().map(|images| images.of(&self.job.image)).transpose();
        found.map(Option::flatten).map_err(|error| Stop::Broke(error.to_string()))
    }

    fn spec(&self, notes: &Notes) -> Result<InstanceSpec, Stop> {
        let (job, id) = (self.job, self.job.deployment.build());
        let source = match job.keeps_dependencies(notes.plan.kind) {
            true => cache::kept(&self.builder.caches.join(job.app.as_str())),
            false => Ok(self.home().join("cache")),
        };
        let source = source.and_then(cache::prepare).map_err(Stop::io("make the cache of a build"))?;
        let context = Context {
            app: &job.app,
            name: &job.name,
            deployment: &job.deployment,
            commit: &job.commit,
            instance: &id,
            kind: notes.plan.kind,
            memory_mib: job.limits.memory_mib,
            purpose: Purpose::Build,
        };
        let mut defaults = cache::variables();
        defaults.extend(self.builder.operator.clone());
        defaults.extend(notes.plan.run.variables.clone());
        let mut all = variables(&context, &defaults, &notes.manifest.variables_below(&job.variables));
        all.insert("PORT".into(), PORT.to_string());
        Ok(InstanceSpec {
            id,
            app: job.app.clone(),
            image: self.image()?,
            tree: Tree::Working(tree::of(&self.home())),
            commands: notes.plan.build.clone(),
            workers: Vec::new(),
            variables: all,
            port: None,
            tcp_port: None,
            limits: job.limits.clone(),
            mounts: vec![Mount { source, target: cache::INSIDE.into(), writable: true }],
            egress: true,
        })
    }

    /// From the sandbox's end to the release, or to the reason why there is none.
    async fn conclude(&self, notes: &Notes) -> Result<Built, Stop> {
        let id = self.job.deployment.build();
        if notes.raised {
            match self.builder.runtime.remove(&id).await {
                Outcome::Done(()) => {}
                Outcome::Broke(failure) => return Err(Stop::Unknown(failure.message)),
                Outcome::Unknown(why) => return Err(Stop::Unknown(why)),
            }
            // Only now nothing can write to it any more.
            let log = self.builder.runtime.log(&id);
            Feed::new(&self.builder.logs, &self.job.deployment, &log, &self.home()).pass().await;
        }
        if let Some(failure) = notes.ended.as_ref().and_then(|ended| self.failure(ended)) {
            self.say(&format!("Build failed in {}", taken(notes)));
            let _ = self.builder.runtime.forget(&id).await;
            return Err(Stop::Broke(failure));
        }
        let sealed = self.seal(notes).await?;
        let key =
            if self.job.has("CC_DISABLE_BUILD_CACHE_UPLOAD") { self.own_key() } else { notes.key.clone() };
        let remembered = self.builder.releases.remember(&key, &sealed.id);
        remembered.map_err(|error| Stop::Unknown(in_full(&error)))?;
        sealed.notes.iter().for_each(|note| self.say(note));
        self.say(&format!("Build succeeded in {}", taken(notes)));
        if self.job.keeps_dependencies(notes.plan.kind) {
            let directory = self.builder.caches.join(self.job.app.as_str());
            release::in_background(move || cache::measure(&directory));
        }
        self.clean().await;
        Ok(Built { release: sealed.id, cached: false })
    }

    async fn seal(&self, notes: &Notes) -> Result<Sealed, Stop> {
        let meta = Meta {
            commit: self.job.commit.clone(),
            image: self.job.image.clone(),
            kind: notes.plan.kind,
            created: now(),
            run: notes.plan.run.clone(),
            manifest: notes.manifest.clone(),
        };
        let variables = notes.manifest.variables_below(&self.job.variables);
        let variable = |name: &str| variables.get(name).map(String::as_str);
        let choice = Choice::parse(variable("CC_OVERRIDE_BUILDCACHE"), variable("CC_IGNORE_FROM_BUILDCACHE"));
        let (releases, work) = (Arc::clone(&self.builder.releases), self.home().join("release"));
        let held = Arc::clone(&self.held);
        let sealing = tokio::task::spawn_blocking(move || {
            let _held = held;
            releases.seal(&work, &meta, &choice)
        });
        match sealing.await {
            Ok(Ok(sealed)) => Ok(sealed),
            Ok(Err(release::Error::Seal(error))) if error.is_final() => Err(Stop::Broke(error.to_string())),
            Ok(Err(error)) => Err(self.unsealed(&error)),
            Err(error) => Err(Stop::Unknown(format!("sealing the release did not end: {error}"))),
        }
    }

    /// A tree that is not there cannot be sealed by trying again: the server was killed right after it was moved. Build anew.
    fn unsealed(&self, error: &release::Error) -> Stop {
        if !tree::of(&self.home()).exists() {
            let _ = release::remove(&self.home());
        }
        match error {
            release::Error::Seal(SealError::Io { source, .. }) => {
                Stop::Unknown(format!("{}: {source}", in_full(error)))
            }
            other => Stop::Unknown(in_full(other)),
        }
    }

    /// Why this end is a failure, if it is one.
    fn failure(&self, ended: &Ended) -> Option<String> {
        match ended {
            Ended::Exit(exit) => exit.as_ref().filter(|exit| exit.code != 0).map(|exit| self.exit(exit)),
            Ended::Late { stage } => Some(format!(
                "the build was ended in the stage `{stage}` because it took too long: find out in the log what it waits for, or raise the app's setting `build_deadline_s`"
            )),
            Ended::Large => Some(format!(
                "the build filled its disk (its files are larger than {} MiB): raise the app's setting `disk_mib`, or make it write less",
                self.job.limits.disk_mib
            )),
            Ended::Full => Some(
                "the build was ended because the server's disk is nearly full: ask the operator to free space, then push again"
                    .into(),
            ),
        }
    }

    fn exit(&self, exit: &Exit) -> String {
        let stage = crate::log::harmless(&exit.stage);
        if exit.out_of_memory {
            return format!(
                "the build ran out of memory in the stage `{stage}` (more than {} MiB): raise the app's setting `build_memory_mib`",
                self.job.limits.memory_mib
            );
        }
        if stage == TOOLS {
            return "this server lacks what the app needs to be built: the lines before it say what, and which package brings it".into();
        }
        let hint = match exit.code {
            126 => "; 126 means that a file is not executable",
            127 => "; 127 means that a command was not found",
            137 => "; 137 means that it was killed",
            _ => "",
        };
        let why = self.diagnosis(&exit.stage).unwrap_or_else(|| "the lines before it say why".into());
        format!("the stage `{stage}` of the build ended with exit code {}{hint}: {why}", exit.code)
    }

    /// What the last lines of this stage mean, if they are those of a tool that is known.
    fn diagnosis(&self, stage: &str) -> Option<String> {
        let lines = self.builder.logs.tail(&self.job.deployment, diagnosis::LINES).ok()?;
        let of_stage: Vec<_> =
            lines.iter().filter(|line| line.stage == stage).map(|line| &*line.text).collect();
        production::missed(&self.job.kept_out, &of_stage).or_else(|| diagnosis::of_build(&of_stage))
    }

    /// A release that this build gave before, or an equal one.
    fn found(&self, key: &str) -> Result<Option<ReleaseId>, Stop> {
        let shared = (!self.job.has("CC_DISABLE_BUILD_CACHE_UPLOAD")).then(|| key.to_owned());
        for key in shared.into_iter().chain([self.own_key()]) {
            let found = self.builder.releases.cached(&key).map_err(|error| Stop::Unknown(in_full(&error)))?;
            if let Some(release) = found {
                return Ok(Some(release.id));
            }
        }
        Ok(None)
    }

    fn key(&self) -> String {
        let job = self.job;
        let key = Key {
            app: &job.app,
            commit: &job.commit,
            image: &job.image,
            kind: job.kind.as_deref(),
            variables: &job.variables,
        };
        key.text()
    }

    /// What this deployment built, where nothing is kept for others.
    fn own_key(&self) -> String {
        format!("of-{}", self.job.deployment)
    }

    async fn clean(&self) {
        if let Err(error) = release::remove(&self.home()) {
            tracing::warn!(%error, "what a build left cannot be removed yet");
        }
        let _ = self.builder.runtime.forget(&self.job.deployment.build()).await;
    }

    fn home(&self) -> PathBuf {
        self.builder.home(&self.job.deployment)
    }

    fn say(&self, text: &str) {
        if let Err(error) = self.builder.logs.append(&self.job.deployment, now(), STAGE, text) {
            tracing::warn!(%error, deployment = %self.job.deployment, "the log of a build cannot be kept");
        }
    }
}

fn taken(notes: &Notes) -> String {
    spoken(notes.started, now())
}

/// CONTRACT's way to say how long something took.
pub(super) fn spoken(from: Time, to: Time) -> String {
    let seconds = to.since(from) / 1000;
    format!("{} minutes and {} seconds", seconds / 60, seconds % 60)
}
