//! From what is asked ([`InstanceSpec`]) to what a launcher is told ([`Launch`]), and what is refused on the way.

use super::{Inner, operator, places::Places};
use crate::{Failure, InstanceSpec, Tree};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path},
};
use teal_core::agent::{APP_HOME, AppTree, Bind, Launch, Layer, Program, Step};

/// Where programs are found, unless the app says otherwise. Never the host's own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Refuses what could never be started.
pub(crate) fn check(spec: &InstanceSpec) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure { message });
    if spec.commands.is_empty() {
        return refuse(format!("{} has no command to run; give it one", spec.id));
    }
    let (Tree::Sealed(tree) | Tree::Working(tree)) = &spec.tree;
    if !tree.is_dir() {
        return refuse(format!(
            "the app's directory {} is not there; deploy the commit again",
            tree.display()
        ));
    }
    if let Some(name) = spec.variables.iter().find_map(|(name, value)| (!legal(name, value)).then_some(name))
    {
        return refuse(format!("the variable `{}` cannot be passed to a program", name.escape_debug()));
    }
    let plain = |path: &Path| path.is_absolute() && !path.components().any(|c| c == Component::ParentDir);
    match spec.mounts.iter().find(|mount| !plain(&mount.target)) {
        Some(mount) => refuse(format!("{} is no place for a directory inside", mount.target.display())),
        None => Ok(()),
    }
}

fn legal(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Makes the mounts' sources.
pub(crate) fn make_sources(spec: &InstanceSpec) -> io::Result<()> {
    spec.mounts.iter().try_for_each(|mount| fs::create_dir_all(&mount.source))
}

/// What the launcher is told.
pub(crate) fn launch(
    inner: &Inner,
    spec: &InstanceSpec,
    block: u32,
    layer: Layer,
    cgroups: Vec<std::path::PathBuf>,
) -> Launch {
    let places: &Places = &inner.places;
    let bind =
        |m: &crate::Mount| Bind { source: m.source.clone(), target: m.target.clone(), writable: m.writable };
    Launch {
        hostname: spec.id.to_string(),
        block,
        cgroups,
        staging: places.staging(),
        image: inner.image.clone(),
        tree: match &spec.tree {
            Tree::Sealed(path) => AppTree::Sealed(path.clone()),
            Tree::Working(path) => AppTree::Working(path.clone()),
        },
        layer,
        mounts: spec.mounts.iter().map(bind).collect(),
        files: operator::files(spec.port.is_none(), spec.image.is_some()),
        shm_mib: spec.limits.memory_mib / 2,
        run: places.run(&spec.id),
        log: places.log_directory(&spec.id),
        filters: inner.filters.clone(),
        program: program(spec),
    }
}

/// What the agent runs.
pub(crate) fn program(spec: &InstanceSpec) -> Program {
    let step = |c: &crate::Command| Step { stage: c.stage.clone(), script: c.script.clone() };
    Program {
        commands: spec.commands.iter().map(step).collect(),
        workers: spec.workers.clone(),
        variables: variables(spec),
    }
}

fn variables(spec: &InstanceSpec) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = [("HOME", APP_HOME), ("APP_HOME", APP_HOME), ("PATH", PATH)]
        .map(|(n, v)| (n.into(), v.into()))
        .into();
    all.extend(spec.port.map(|port| ("PORT".to_owned(), port.to_string())));
    all.extend(spec.variables.clone());
    // Only where it is asked for: elsewhere the name is the user's.
    all.extend(spec.tcp_port.map(|port| ("TCP_PORT".to_owned(), port.to_string())));
    all
}
