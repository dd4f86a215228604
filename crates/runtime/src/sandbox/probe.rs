//! Whether sandboxes work here: proven by making one, not guessed from versions.

use super::{Error, Inner, layer::Layers};
use std::{fs, io, net::Ipv4Addr};
use teal_core::agent::{AppTree, Launch, Link, Program};

/// An address of the documentation range: the probe's network is attached to nothing.
const NOWHERE: Link = Link { address: Ipv4Addr::new(192, 0, 2, 2), gateway: Ipv4Addr::new(192, 0, 2, 1) };

/// A name that no instance can have: ids begin with a letter.
const NAME: &str = ".probe";

/// Makes a sandbox with everything but cgroups and network, and ends it again. Where only the layers' loop devices do not work, layers become
/// directories.
pub(super) fn run(inner: &mut Inner) -> Result<(), Error> {
    let proven = once(inner);
    if let (Err(Error::Unusable { source }), Layers::Images(_)) = (&proven, &inner.layers) {
        let images = std::mem::replace(&mut inner.layers, Layers::Directories(source.to_string()));
        let without = once(inner);
        if without.is_ok() {
            return without;
        }
        // The first failure is the one that says what is wrong with this host.
        inner.layers = images;
    }
    proven
}

fn once(inner: &Inner) -> Result<(), Error> {
    let proven = attempt(inner).map_err(|source| Error::Unusable { source });
    let run = inner.places.instances().join(NAME);
    // The loop device is freed behind the agent's back; a file that is left is overwritten by the next probe.
    let _ = super::layer::await_release(&run).and_then(|()| fs::remove_dir_all(&run));
    proven
}

fn attempt(inner: &Inner) -> io::Result<()> {
    let run = inner.places.instances().join(NAME);
    let release = run.join("release");
    super::places::private(&run)?;
    fs::create_dir_all(&release)?;
    let launch = Launch {
        hostname: "probe".to_owned(),
        block: super::blocks::PROBE,
        cgroups: Vec::new(),
        staging: inner.places.staging(),
        image: inner.image.clone(),
        tree: AppTree::Sealed(release),
        layer: inner.layers.make(&run, 16)?,
        mounts: Vec::new(),
        files: std::collections::BTreeMap::new(),
        shm_mib: 1,
        run: run.clone(),
        log: run.clone(),
        filters: inner.filters.clone(),
        program: Program {
            commands: Vec::new(),
            workers: Vec::new(),
            variables: std::collections::BTreeMap::new(),
        },
    };
    std::os::unix::fs::chown(&run, Some(super::blocks::PROBE), Some(super::blocks::PROBE))?;
    let agent = inner.program.launch(&launch)?.finish(&NOWHERE)?;
    let pid = nix::unistd::Pid::from_raw(agent.cast_signed());
    // The agent has just answered and has nothing to do: its number is still its own.
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}
