//! What a build is asked for and what it gives.

use super::{detect::Variables, production};
use crate::{
    appconfig::{AppConfig, Overrides},
    config::Config,
    images::HOST_IMAGE,
    release::{Kind, is_on},
};
use std::path::PathBuf;
use teal_core::{
    deploy::{Deployment, Rows},
    id::{AppId, DeploymentId, ReleaseId},
    time::Time,
};
use teal_runtime::Limits;

/// A build may use at least this much, whatever the app's instances may: compilers are larger than what they make.
const LEAST: Limits = Limits { memory_mib: 0, cpu_milli: 2000, pids: 1024, disk_mib: 4096 };

/// A build that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// For which deployment: the build is found again by it.
    pub deployment: DeploymentId,
    /// Of which app.
    pub app: AppId,
    /// That app's name.
    pub name: String,
    /// Of what: the full hash.
    pub commit: String,
    /// The bare repository that has it.
    pub repository: PathBuf,
    /// The user's variables that the build gets.
    pub variables: Variables,
    /// The names of those that it does not get.
    pub kept_out: Vec<String>,
    /// The app's setting `type`, if it is set.
    pub kind: Option<String>,
    /// What the build may use.
    pub limits: Limits,
    /// When it has to be over.
    pub deadline: Time,
    /// The image's version.
    pub image: String,
}

/// What a build gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The release.
    pub release: ReleaseId,
    /// It was there already: nothing was run.
    pub cached: bool,
}

impl Job {
    /// The build of a deployment's commit, from what is stored about it.
    #[must_use]
    pub fn new(
        config: &Config,
        rows: &Rows,
        deployment: &Deployment,
        commit: String,
        (variables, overrides): (Variables, Overrides),
        deadline: Time,
    ) -> Self {
        // Settings are checked when they are set; a later server may know fewer of them, which must not stop a build.
        let settings = AppConfig::of(&overrides).unwrap_or_default();
        let (variables, kept_out) = production::split(variables);
        Self {
            deployment: deployment.id.clone(),
            app: rows.app.id.clone(),
            name: rows.app.name.clone(),
            commit,
            repository: crate::platform::repository(config, &rows.app.id),
            variables,
            kept_out,
            kind: settings.r#type,
            limits: Limits {
                memory_mib: settings.build_memory_mib,
                cpu_milli: settings.cpu_milli.max(LEAST.cpu_milli),
                pids: settings.pids.max(LEAST.pids),
                disk_mib: settings.disk_mib.max(LEAST.disk_mib),
            },
            deadline,
            image: deployment.image.clone().unwrap_or_else(|| HOST_IMAGE.to_owned()),
        }
    }

    /// Is what was fetched and compiled kept for the app's next build? For Rust, whose builds are long, unless the user says no.
    pub(super) fn keeps_dependencies(&self, kind: Kind) -> bool {
        let said = self.variables.get("CC_CACHE_DEPENDENCIES").is_some_and(|value| !value.trim().is_empty());
        if said { self.has("CC_CACHE_DEPENDENCIES") } else { kind == Kind::Rust }
    }

    /// A variable that switches something on.
    pub(super) fn has(&self, name: &str) -> bool {
        is_on(&self.variables, name)
    }
}
