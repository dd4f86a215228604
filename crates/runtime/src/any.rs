//! The runtimes as one type: chosen once, by the server's configuration, and the same to everybody who drives it.

use crate::{
    Inspection, InstanceSpec, Outcome, Runtime, Usage,
    fake::Fake,
    process::Process,
    sandbox::Sandbox,
    vm::{Acceleration, Vm},
};
use std::{path::PathBuf, time::Duration};
use teal_core::id::InstanceId;

/// One of the runtimes.
#[derive(Debug, Clone)]
pub enum Any {
    /// A machine of its own for each instance; builds in sandboxes.
    Vm(Vm),
    /// Namespaces, control groups and a network of its own.
    Sandbox(Sandbox),
    /// Plain processes, without isolation.
    Process(Process),
    /// Made up, for tests.
    Fake(Fake),
}

/// Passes a call on to whichever it is.
macro_rules! each {
    ($any:expr, $runtime:ident => $call:expr) => {
        match $any {
            Any::Vm($runtime) => $call,
            Any::Sandbox($runtime) => $call,
            Any::Process($runtime) => $call,
            Any::Fake($runtime) => $call,
        }
    };
}

impl Any {
    /// How the configuration and the user call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vm(_) => "vm",
            Self::Sandbox(_) => "sandbox",
            Self::Process(_) => "process",
            Self::Fake(_) => "fake",
        }
    }

    /// Lets go of an image that no instance is to be started on any more, so that its files can be removed.
    ///
    /// # Errors
    /// If that cannot be.
    pub async fn release_image(&self, version: &str) -> Result<(), String> {
        match self {
            Self::Vm(vm) => vm.release_image(version).await,
            Self::Sandbox(sandbox) => sandbox.release_image(version).await,
            Self::Process(_) | Self::Fake(_) => Ok(()),
        }
    }

    /// The same with what matters of it to whoever looks at the status.
    #[must_use]
    pub fn described(&self) -> &'static str {
        match self {
            Self::Vm(vm) if vm.acceleration() == Acceleration::Kvm => "vm (kvm)",
            Self::Vm(_) => "vm (tcg, emulated)",
            Self::Sandbox(_) | Self::Process(_) | Self::Fake(_) => self.name(),
        }
    }

    /// What executes virtual machines and why, where there are any.
    #[must_use]
    pub fn acceleration(&self) -> Option<String> {
        let Self::Vm(vm) = self else { return None };
        Some(match vm.acceleration() {
            Acceleration::Kvm => format!("virtual machines run on the processor: {}", vm.why()),
            Acceleration::Auto | Acceleration::Tcg => format!("virtual machines are emulated: {}", vm.why()),
        })
    }

    /// How many times longer an app may take for the same: deadlines of starts and probes are that many times what they are elsewhere.
    #[must_use]
    pub fn slowness(&self) -> u32 {
        match self {
            Self::Vm(vm) if vm.acceleration() != Acceleration::Kvm => 4,
            Self::Vm(_) | Self::Sandbox(_) | Self::Process(_) | Self::Fake(_) => 1,
        }
    }

    /// Can a sleeper's memory be moved to disk?
    #[must_use]
    pub fn saves(&self) -> bool {
        matches!(self, Self::Vm(_))
    }

    /// Are instances kept apart from each other and from the host? If not, a warning belongs wherever they are shown.
    #[must_use]
    pub fn isolates(&self) -> bool {
        match self {
            Self::Vm(_) | Self::Sandbox(_) => true,
            Self::Process(_) | Self::Fake(_) => false,
        }
    }
}

impl Runtime for Any {
    async fn ensure(&self, spec: &InstanceSpec) -> Outcome<Inspection> {
        each!(self, runtime => runtime.ensure(spec).await)
    }

    async fn inspect(&self, id: &InstanceId) -> Outcome<Inspection> {
        each!(self, runtime => runtime.inspect(id).await)
    }

    async fn sleep(&self, id: &InstanceId) -> Outcome<()> {
        each!(self, runtime => runtime.sleep(id).await)
    }

    async fn save(&self, id: &InstanceId) -> Outcome<()> {
        each!(self, runtime => runtime.save(id).await)
    }

    async fn wake(&self, id: &InstanceId) -> Outcome<Inspection> {
        each!(self, runtime => runtime.wake(id).await)
    }

    async fn stop(&self, id: &InstanceId, deadline: Duration) -> Outcome<()> {
        each!(self, runtime => runtime.stop(id, deadline).await)
    }

    async fn remove(&self, id: &InstanceId) -> Outcome<()> {
        each!(self, runtime => runtime.remove(id).await)
    }

    async fn forget(&self, id: &InstanceId) -> Outcome<()> {
        each!(self, runtime => runtime.forget(id).await)
    }

    async fn singletons(&self, id: &InstanceId, run: bool) -> Outcome<()> {
        each!(self, runtime => runtime.singletons(id, run).await)
    }

    async fn usage(&self, id: &InstanceId) -> Option<Usage> {
        each!(self, runtime => runtime.usage(id).await)
    }

    async fn list(&self) -> Outcome<Vec<InstanceId>> {
        each!(self, runtime => runtime.list().await)
    }

    fn log(&self, id: &InstanceId) -> PathBuf {
        each!(self, runtime => runtime.log(id))
    }
}
