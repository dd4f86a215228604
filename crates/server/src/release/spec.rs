//! From a release and an environment's facts to what the runtime is asked to run.

use super::{Kind, Release};
use crate::build::variables::{Context, Purpose, variables};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};
use teal_core::{
    id::{AppId, DeploymentId, EnvironmentId},
    route::Colour,
};
use teal_runtime::{InstanceSpec, Limits, Mount, Tree};

/// Where the `teal` binary is inside an instance that needs it.
pub const STATIC_SERVER: &str = "/opt/teal/teal";

/// What an environment adds to its release.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The environment.
    pub id: EnvironmentId,
    /// Whose it is.
    pub app: AppId,
    /// That app's name.
    pub name: String,
    /// The deployment that made it.
    pub deployment: DeploymentId,
    /// What it runs: the full hash. (The release may have been built first from another commit with the same content.)
    pub commit: String,
    /// Its place.
    pub colour: Colour,
    /// The snapshot of the user's variables.
    pub variables: BTreeMap<String, String>,
    /// What each instance may use.
    pub limits: Limits,
    /// Addresses that requests come from.
    pub proxies: Vec<IpAddr>,
    /// The `teal` binary on this host.
    pub teal: PathBuf,
    /// The runtime has directories of its own (not so the process runtime: there every path is the host's).
    pub isolated: bool,
}

/// What to run as the environment's `number`th instance.
#[must_use]
pub fn run_spec(release: &Release, environment: &Environment, number: u32) -> InstanceSpec {
    let id = environment.id.instance(number);
    let run = &release.meta.run;
    let context = Context {
        app: &environment.app,
        name: &environment.name,
        deployment: &environment.deployment,
        commit: &environment.commit,
        instance: &id,
        kind: release.meta.kind,
        memory_mib: environment.limits.memory_mib,
        purpose: Purpose::Production { number, colour: environment.colour, proxies: &environment.proxies },
    };
    let mut all = variables(&context, &run.variables, &environment.variables);
    let mut mounts = Vec::new();
    if run.needs_teal || release.meta.kind == Kind::Static {
        let (path, mount) = place(&environment.teal, Path::new(STATIC_SERVER), environment.isolated, false);
        all.insert("TEAL_BINARY".into(), path);
        mounts.extend(mount);
    }
    InstanceSpec {
        id,
        app: environment.app.clone(),
        tree: Tree::Sealed(release.tree.clone()),
        commands: run.commands.clone(),
        workers: run.workers.clone(),
        variables: all,
        port: Some(run.port),
        limits: environment.limits.clone(),
        mounts,
        egress: true,
    }
}

/// How an instance names a path of the host, and the mount that it needs for it.
pub(crate) fn place(host: &Path, inside: &Path, isolated: bool, writable: bool) -> (String, Option<Mount>) {
    if !isolated {
        return (host.display().to_string(), None);
    }
    let mount = Mount { source: host.to_owned(), target: inside.to_owned(), writable };
    (inside.display().to_string(), Some(mount))
}
