//! User namespaces: the instance's own block of ids, and the mapping by which the app owns files that belong to root on the host.
//!
//! A mount that is given such a mapping shows other owners without a single `chown`: a release of any size is ready at once, and what
//! a build writes is owned as a release must be.

use crate::error::{Doing, Error};
use nix::{
    sched::{CloneFlags, unshare},
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork, pipe2, read, write},
};
use std::{fs, fs::File, os::fd::OwnedFd};
use teal_core::agent::{APP_USER, BLOCK};

/// The namespaces that mounts and the agent use.
pub(crate) struct Identities {
    /// Id `n` inside is `block + n` on the host: entered by the agent, and the owners of the image's files.
    pub(crate) instance: OwnedFd,
    /// The host's root is the app's user: the owners of releases, working trees and caches.
    pub(crate) app: OwnedFd,
    /// The first id of the block.
    pub(crate) block: u32,
}

impl Identities {
    /// Makes both.
    pub(crate) fn new(block: u32) -> Result<Self, Error> {
        Ok(Self {
            instance: namespace(&format!("0 {block} {BLOCK}"))?,
            app: namespace(&format!("0 {} 1", block + APP_USER))?,
            block,
        })
    }
}

/// A user namespace that maps users and groups alike. A child holds it until it is opened.
fn namespace(map: &str) -> Result<OwnedFd, Error> {
    let (made, tell_made) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe")?;
    let (release, tell_release) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe")?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Child => {
            drop((made, tell_release));
            hold_namespace(&tell_made, &release)
        }
        ForkResult::Parent { child } => {
            drop((tell_made, release));
            let opened = open_namespace(child, map, &made);
            drop(tell_release);
            let _ = waitpid(child, None);
            opened
        }
    }
}

fn hold_namespace(made: &OwnedFd, release: &OwnedFd) -> ! {
    let entered = unshare(CloneFlags::CLONE_NEWUSER).map_or_else(|e| e as u8, |()| 0);
    let _ = write(made, &[entered]);
    let _ = read(release, &mut [0]);
    // SAFETY: ends the forked child without running the parent's destructors.
    unsafe { libc::_exit(0) }
}

fn open_namespace(child: Pid, map: &str, made: &OwnedFd) -> Result<OwnedFd, Error> {
    let mut answer = [0];
    read(made, &mut answer).doing("wait for a user namespace")?;
    if answer[0] != 0 {
        let source = std::io::Error::from_raw_os_error(answer[0].into());
        return Err(Error::System { what: "make a user namespace".to_owned(), source });
    }
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{child}/{file}"), map).doing("map a block of ids")?;
    }
    File::open(format!("/proc/{child}/ns/user")).doing("open a user namespace").map(OwnedFd::from)
}
