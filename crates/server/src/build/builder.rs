//! Builds commits: one call per deployment, answered when its release is sealed or its failure is known.
//!
//! The caller may drop the call at any point and call again, also from a later server: the build is found by the deployment's id. To cancel
//! it, drop the call and remove the instance [`DeploymentId::build`] from the runtime; the rest is collected.

pub use super::job::{Built, Job};

use super::{
    cache,
    course::{Course, Stop},
    detect::Variables,
};
use crate::{
    config::Config,
    images::Images,
    log::Logs,
    release::{self, Releases},
};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use teal_core::id::DeploymentId;
use teal_runtime::{Failure, Outcome, Runtime};

/// Builds commits on this runtime.
pub struct Builder<R> {
    pub(super) runtime: Arc<R>,
    pub(super) releases: Arc<Releases>,
    pub(super) logs: Logs,
    /// What builds run on; `None`: the host's own system alone.
    pub(super) images: Option<Images>,
    /// Dependency caches, a directory per app.
    pub(super) caches: PathBuf,
    /// The operator's variables for builds.
    pub(super) operator: Variables,
    /// A directory per build under way.
    work: PathBuf,
    server: PathBuf,
    /// One call at a time works on a build.
    busy: Mutex<HashMap<DeploymentId, Arc<tokio::sync::Mutex<()>>>>,
}

impl<R: Runtime> Builder<R> {
    /// A builder that works below the configuration's data directory. `program` is the `teal` binary, which serves static sites.
    #[must_use]
    pub fn new(
        runtime: Arc<R>,
        releases: Arc<Releases>,
        logs: Logs,
        config: &Config,
        program: PathBuf,
    ) -> Self {
        let given = config.build_environment.iter();
        let mut operator = cache::authorities();
        operator.extend(given.filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))));
        let server = config.data.join("static-server");
        if let Err(error) = stage(&program, &server) {
            tracing::error!(%error, program = %program.display(), "static sites cannot be served: the teal binary cannot be put where instances find it");
        }
        Self {
            runtime,
            releases,
            logs,
            images: None,
            caches: config.data.join("cache"),
            operator,
            work: config.data.join("builds"),
            server,
            busy: Mutex::default(),
        }
    }

    /// The same, with images that builds may run on.
    #[must_use]
    pub fn on(self, images: Images) -> Self {
        Self { images: Some(images), ..self }
    }

    /// Builds the commit, or goes on with its build, or finds what it gave.
    ///
    /// `Broke` names the stage, the exit code and what to do; the lines are in the deployment's log. `Unknown` is to be tried again.
    pub async fn build(&self, job: Job) -> Outcome<Built> {
        let held = Arc::new(self.lock(&job.deployment).lock_owned().await);
        let course = Course { builder: self, job: &job, held };
        match course.run().await {
            Ok(built) => Outcome::Done(built),
            Err(Stop::Broke(message)) => Outcome::Broke(Failure { message }),
            Err(Stop::Unknown(why)) => Outcome::Unknown(why),
        }
    }

    /// Removes what builds of other deployments left, unless a call works on it. The removal itself goes on in the background.
    pub fn collect(&self, keep: &HashSet<DeploymentId>) {
        let Ok(entries) = fs::read_dir(&self.work) else { return };
        let mut doomed = Vec::new();
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            match name.parse::<DeploymentId>() {
                Ok(id) if keep.contains(&id) => {}
                Ok(id) => doomed.extend(self.lock(&id).try_lock().ok().and_then(|_held| bin(&path))),
                Err(_) => doomed.push(path),
            }
        }
        self.busy().retain(|_, lock| Arc::strong_count(lock) > 1);
        release::in_background(move || {
            for path in doomed {
                if let Err(error) = release::remove(&path) {
                    tracing::warn!(%error, "what a build left cannot be removed yet");
                }
            }
        });
    }

    /// The directory of this host that holds the `teal` binary and nothing else: what [`release::Environment::server`] is to be.
    #[must_use]
    pub fn server(&self) -> &Path {
        &self.server
    }

    pub(super) fn home(&self, deployment: &DeploymentId) -> PathBuf {
        self.work.join(deployment.as_str())
    }

    fn lock(&self, deployment: &DeploymentId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.busy().entry(deployment.clone()).or_default())
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashMap<DeploymentId, Arc<tokio::sync::Mutex<()>>>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Out of its name first, so that nothing goes on with half of it.
fn bin(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let bin = path.with_file_name(format!(".bin-{name}"));
    fs::rename(path, &bin).ok().map(|()| bin)
}

/// Puts the `teal` binary alone into a directory: instances get a directory, and nothing of the host beside it.
fn stage(program: &Path, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let (to, new) = (directory.join("teal"), directory.join(".teal.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A running instance keeps the one that it was started with.
    if fs::hard_link(program, &new).is_err() {
        fs::copy(program, &new)?;
    }
    fs::rename(&new, &to)?;
    // Renaming one name of a file to another name of it does nothing.
    let _ = fs::remove_file(&new);
    Ok(())
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
