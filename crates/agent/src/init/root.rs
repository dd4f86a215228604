//! The app's root in its own machine: the image below, the release in `/app`, and one disk that takes what is written.
//!
//! What an app sees is what it sees in a sandbox: the same `/etc` files, `/dev`, `/proc`, a read-only system, and writes in `/app`, `/tmp`, `/run`.

use crate::{
    error::{Doing, Error},
    init::disks,
    launch::{dev, etc, mounts, proc},
};
use nix::{
    mount::{MsFlags, mount},
    unistd::chroot,
};
use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::{Component, Path, PathBuf},
};
use teal_core::{
    agent::{APP_USER, Link},
    machine::{BASE_DISK, Begin, FURTHER_DISK, LAYER_DISK, RELEASE_DISK},
};

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Mounts the disks, makes the root and enters it; the initrd has no name any more afterwards.
pub(crate) fn build(begin: &Begin) -> Result<(), Error> {
    disks::mount_disk(BASE_DISK, "squashfs", "/base", MsFlags::MS_RDONLY, "")?;
    disks::mount_disk(RELEASE_DISK, "squashfs", "/release", MsFlags::MS_RDONLY, "")?;
    let layer = "discard,noinit_itable,errors=remount-ro";
    disks::mount_disk(LAYER_DISK, "ext4", "/layer", MsFlags::empty(), layer)?;
    system()?;
    std::env::set_current_dir("/new").doing("enter the new root")?;
    app()?;
    dev::make(0, begin.shm_mib)?;
    volatile()?;
    etc_files(&begin.hostname, &begin.link)?;
    further(&begin.further)?;
    begin.files.iter().try_for_each(|(path, text)| file(path, text))?;
    enter()?;
    proc::mount(0)?;
    mounts::read_only(Path::new("/"), SAFE)
}

/// The image, with a little memory above it for what is written until the root is sealed.
fn system() -> Result<(), Error> {
    mounts::fresh("tmpfs", "/above", SAFE, "mode=755,size=4m,nr_inodes=1k")?;
    directory("/above/upper", 0o755, 0)?;
    directory("/above/work", 0o700, 0)?;
    mounts::fresh("overlay", "/new", SAFE, "lowerdir=/base,upperdir=/above/upper,workdir=/above/work")
}

/// `/app` and `/tmp`: the app's own disk takes what is written to them.
fn app() -> Result<(), Error> {
    directory("app", 0o755, APP_USER)?;
    directory("tmp", 0o1777, 0)?;
    directory("/layer/tmp", 0o1777, 0)?;
    directory("/layer/upper", 0o755, APP_USER)?;
    directory("/layer/work", 0o700, 0)?;
    mounts::bind(Path::new("/layer/tmp"), Path::new("tmp"))?;
    // Nothing in the layer outlives the machine: `volatile`.
    let options = "lowerdir=/release,upperdir=/layer/upper,workdir=/layer/work,redirect_dir=on,volatile";
    mounts::fresh("overlay", "app", SAFE | MsFlags::MS_NOATIME, options)
}

/// Directories of the host, as they were when the machine started.
fn further(targets: &[PathBuf]) -> Result<(), Error> {
    for (number, target) in targets.iter().enumerate() {
        let place = Path::new("/new").join(target.strip_prefix("/").unwrap_or(target));
        let place = place
            .to_str()
            .filter(|_| !target.components().any(|c| c == Component::ParentDir))
            .ok_or_else(|| Error::Refused(format!("{} is no place for a directory", target.display())))?;
        disks::mount_disk(&format!("{FURTHER_DISK}{number}"), "squashfs", place, MsFlags::MS_RDONLY, "")?;
    }
    Ok(())
}

fn volatile() -> Result<(), Error> {
    mounts::fresh("tmpfs", "run", SAFE | MsFlags::MS_NOEXEC, "mode=755,size=16m")?;
    directory("run/lock", 0o1777, 0)?;
    directory("var", 0o755, 0)?;
    directory("var/tmp", 0o1777, 0)?;
    mounts::bind(Path::new("/layer/tmp"), Path::new("var/tmp"))
}

fn etc_files(hostname: &str, link: &Link) -> Result<(), Error> {
    directory("etc", 0o755, 0)?;
    for (name, text) in etc::synthesised(hostname) {
        file(&Path::new("/etc").join(name), &text)?;
    }
    let resolver = format!("nameserver {}\noptions timeout:2 attempts:3\n", link.gateway);
    file(Path::new("/etc/resolv.conf"), &resolver)
}

/// A small public file below the current directory, whatever the image has there.
fn file(path: &Path, text: &str) -> Result<(), Error> {
    let what = || format!("write {}", path.display());
    let place = Path::new(".").join(path.strip_prefix("/").unwrap_or(path));
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).doing(what())?;
    }
    // A link of the image would lead out of the new root.
    match fs::remove_file(&place) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).doing(what())?,
        _ => {}
    }
    fs::write(&place, text).doing(what())
}

/// A directory of exactly this mode and owner.
fn directory(path: &str, mode: u32, owner: u32) -> Result<(), Error> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
    .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
    .and_then(|()| chown(path, Some(owner), Some(owner)))
    .doing(format!("make the directory {path}"))
}

/// The initrd cannot be pivoted away: the new root is moved over it.
fn enter() -> Result<(), Error> {
    directory("proc", 0o555, 0)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).doing("move the new root")?;
    chroot(".").doing("enter the new root")?;
    std::env::set_current_dir("/").doing("enter the new root")
}
