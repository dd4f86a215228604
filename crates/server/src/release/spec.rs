//! From a release and an environment's facts to what the runtime is asked to run.

use super::{Kind, Release};
use crate::build::variables::{Context, Purpose, variables};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};
use teal_core::{
    id::{AppId, DeploymentId, EnvironmentId, InstanceId},
    route::Colour,
};
use teal_runtime::{Command, Image, InstanceSpec, Limits, Mount, Tree};

/// Where the directory with the `teal` binary is inside an instance that needs it. A runtime without mounts turns variables that name it.
pub const STATIC_SERVER: &str = "/opt/teal";

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
    /// The second port that each instance listens on, for what is no HTTP.
    pub tcp_port: Option<u16>,
    /// What each instance runs on; `None`: the host's own system.
    pub image: Option<Image>,
    /// What each instance may use.
    pub limits: Limits,
    /// Addresses that requests come from.
    pub proxies: Vec<IpAddr>,
    /// The directory of this host that holds the `teal` binary and nothing else (`Builder::server`).
    pub server: PathBuf,
}

/// What to run as the environment's `number`th instance.
#[must_use]
pub fn run_spec(release: &Release, environment: &Environment, number: u32) -> InstanceSpec {
    let id = environment.id.instance(number);
    let (run, manifest) = (&release.meta.run, &release.meta.manifest);
    let user = all_variables(release, environment);
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
    let mut all = variables(&context, &run.variables, &user);
    let mut mounts = Vec::new();
    if run.needs_teal || release.meta.kind == Kind::Static {
        all.insert("TEAL_BINARY".into(), format!("{STATIC_SERVER}/teal"));
        mounts.push(Mount {
            source: environment.server.clone(),
            target: STATIC_SERVER.into(),
            writable: false,
        });
    }
    InstanceSpec {
        id,
        app: environment.app.clone(),
        image: environment.image.clone(),
        tree: Tree::Sealed(release.tree.clone()),
        commands: run.commands(&user),
        workers: run.workers(&user).into_iter().chain(run.crons(&manifest.crons)).collect(),
        variables: all,
        port: Some(run.port),
        tcp_port: environment.tcp_port,
        limits: environment.limits.clone(),
        mounts,
        egress: true,
    }
}

/// What to run once as the environment's release command, under this id; `None`: it has none.
#[must_use]
pub fn release_spec(release: &Release, environment: &Environment, id: InstanceId) -> Option<InstanceSpec> {
    let command = release.meta.run.release_command(&all_variables(release, environment))?;
    Some(errand(release, environment, id, vec![command]))
}

/// What to run once instead of the environment's instances, under this id; `None`: the app is no task.
#[must_use]
pub fn task_spec(
    release: &Release,
    environment: &Environment,
    id: InstanceId,
    release_command: bool,
) -> Option<InstanceSpec> {
    let commands = release.meta.run.task(&all_variables(release, environment), release_command)?;
    Some(errand(release, environment, id, commands))
}

/// What to run after the verdict, under this id; `None`: this hook is not set.
#[must_use]
pub fn hook_spec(
    release: &Release,
    environment: &Environment,
    id: InstanceId,
    hook: &str,
) -> Option<InstanceSpec> {
    let command = release.meta.run.hook(&all_variables(release, environment), hook)?;
    Some(errand(release, environment, id, vec![command]))
}

/// Commands that run to their end in an instance of their own: it serves nothing and has no workers.
fn errand(
    release: &Release,
    environment: &Environment,
    id: InstanceId,
    commands: Vec<Command>,
) -> InstanceSpec {
    let mut spec = run_spec(release, environment, 0);
    spec.variables.insert("INSTANCE_ID".into(), id.to_string());
    spec.variables.insert("PORT".into(), release.meta.run.port.to_string());
    InstanceSpec { id, commands, workers: Vec::new(), port: None, tcp_port: None, ..spec }
}

fn all_variables(release: &Release, environment: &Environment) -> BTreeMap<String, String> {
    release.meta.manifest.variables_below(&environment.variables)
}
