//! The runtime that is measured, with names of its own on this host.

use super::Instances;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::{
    fmt,
    path::{Path, PathBuf},
};
use teal_core::id::InstanceId;
use teal_runtime::{
    Image, Outcome, Runtime,
    any::Any,
    cgroup::Cgroups,
    sandbox::{self, Sandbox},
    vm::{self, Acceleration, Boot, Vm},
};

/// Which runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Sandbox,
    Vm,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sandbox => "sandbox",
            Self::Vm => "vm",
        })
    }
}

/// A runtime with nothing in it yet.
pub(super) struct Bench {
    pub(super) kind: Kind,
    pub(super) runtime: Any,
    pub(super) image: Option<Image>,
    pub(super) cgroups: Cgroups,
    pub(super) data: PathBuf,
}

impl Bench {
    pub(super) fn open(wanted: &Instances, kind: Kind, directory: &Path) -> Result<Self> {
        let data = directory.join("data");
        let own = std::process::id();
        let mut config = sandbox::Config::new(data.clone());
        config.subtree = format!("teal-bench-{own}-{kind}");
        config.table = format!("tealbench{own}{kind}");
        config.pool.clone_from(&wanted.pool);
        let cgroups = Cgroups::detect(&config.subtree).context("there are no control groups")?;
        let image = wanted.image.as_deref().map(image).transpose()?;
        let runtime = match kind {
            Kind::Sandbox => Any::Sandbox(Sandbox::open(config).context("sandboxes do not work here")?),
            Kind::Vm => {
                let acceleration = if wanted.kvm { Acceleration::Kvm } else { Acceleration::Tcg };
                let config = vm::Config { sandbox: config, image: image.clone(), acceleration };
                Any::Vm(Vm::open(config).context("virtual machines do not work here")?)
            }
        };
        Ok(Self { kind, runtime, image, cgroups, data })
    }

    /// What took how long in the instance's boot, where a machine boots.
    pub(super) fn boot(&self, id: &InstanceId) -> Option<Boot> {
        match &self.runtime {
            Any::Vm(vm) => vm.boots().into_iter().rev().find(|boot| boot.instance == *id),
            Any::Sandbox(_) | Any::Process(_) | Any::Fake(_) => None,
        }
    }

    /// Where a machine's memory is while it sleeps on disk.
    pub(super) fn snapshot(&self, id: &InstanceId) -> PathBuf {
        self.data.join("run/machines").join(id.as_str()).join("memory.zst")
    }

    /// Removes everything, and takes the rules and groups off the host.
    pub(super) async fn leave(&self) -> Result<()> {
        for id in done("list", self.runtime.list().await)? {
            done("remove", self.runtime.remove(&id).await)?;
        }
        let left = match &self.runtime {
            Any::Vm(vm) => vm.leave().await,
            Any::Sandbox(sandbox) => sandbox.leave().await,
            Any::Process(_) | Any::Fake(_) => return Ok(()),
        };
        left.map(drop).context("the host's network rules stay")
    }
}

fn image(directory: &Path) -> Result<Image> {
    let directory =
        directory.canonicalize().with_context(|| format!("{} is no image", directory.display()))?;
    let version = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Image { version, directory })
}

/// What was asked for, without which a round cannot go on.
pub(super) fn done<T>(what: &str, outcome: Outcome<T>) -> Result<T> {
    match outcome {
        Outcome::Done(value) => Ok(value),
        Outcome::Broke(failure) => bail!("{what}: {failure}"),
        Outcome::Unknown(why) => bail!("{what}: not known: {why}"),
    }
}
