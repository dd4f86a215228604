//! Mounting, in the few forms that a sandbox needs. Relative targets are below the staged root.

use crate::{
    error::{Doing, Error},
    sys,
};
use nix::mount::{MsFlags, mount};
use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// Nothing inside is ever set-user-id or a device, except in `/dev`.
const SAFE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// A detached copy of a host directory or file, whose owners are mapped by `ids`.
pub(crate) fn detached(source: &Path, writable: bool, ids: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let tree = sys::open_tree(source).doing(format!("open {}", source.display()))?;
    let set = SAFE | if writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    sys::mount_setattr(tree.as_fd(), set, Some(ids)).doing(format!(
        "map the owners of {} (its file system must support id-mapped mounts: ext4, xfs, btrfs or tmpfs on a recent kernel)",
        source.display()
    ))?;
    Ok(tree)
}

/// A read-only copy of a part of the image at `target`. Owners are mapped where the file system can; where it cannot they show as `nobody`.
pub(crate) fn image(source: &Path, target: &Path, ids: BorrowedFd<'_>) -> Result<(), Error> {
    let tree = sys::open_tree(source).doing(format!("open {}", source.display()))?;
    let set = SAFE | libc::MOUNT_ATTR_RDONLY;
    if sys::mount_setattr(tree.as_fd(), set, Some(ids)).is_err() {
        sys::mount_setattr(tree.as_fd(), set, None).doing(format!("make {} read-only", source.display()))?;
    }
    attach(&tree, target)
}

/// Attaches a detached mount.
pub(crate) fn attach(tree: &OwnedFd, target: &Path) -> Result<(), Error> {
    sys::move_mount(tree.as_fd(), target).doing(format!("mount {}", target.display()))
}

/// A new file system of a kind that needs no device, at a directory that is made.
pub(crate) fn fresh(kind: &str, target: &str, flags: MsFlags, options: &str) -> Result<(), Error> {
    fs::create_dir_all(target).doing(format!("make the directory {target}"))?;
    mount(Some(kind), target, Some(kind), flags, Some(options)).doing(format!("mount {kind} on {target}"))
}

/// Mounts one place of the sandbox at another.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .doing(format!("mount {}", target.display()))
}

/// Makes an existing mount read-only; `flags` are the others that it keeps.
pub(crate) fn read_only(target: &Path, flags: MsFlags) -> Result<(), Error> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .doing(format!("make {} read-only", target.display()))
}
