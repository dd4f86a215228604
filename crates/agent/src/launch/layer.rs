//! The layer that holds an instance's writes: `/tmp`, and what it writes over a sealed release.

use crate::{
    error::{Doing, Error},
    launch::{identity::Identities, loopdev, mounts},
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs::{self, DirBuilder},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, PermissionsExt, chown},
    },
    path::Path,
};
use teal_core::agent::{APP_USER, AppTree, Layer};

const LAYER: &str = ".layer";
const LOWER: &str = ".lower";

/// Mounts `app` and `tmp` below the current directory.
pub(crate) fn mount_app(layer: &Layer, tree: &AppTree, ids: &Identities) -> Result<(), Error> {
    let app = ids.block + APP_USER;
    directory("app", 0o755, app)?;
    directory("tmp", 0o1777, ids.block)?;
    fs::create_dir(LAYER).doing("make the layer's directory")?;
    mount_layer(layer)?;
    directory(".layer/tmp", 0o1777, ids.block)?;
    mounts::bind(Path::new(".layer/tmp"), Path::new("tmp"))?;
    match tree {
        AppTree::Sealed(release) => overlay(release, app, ids)?,
        AppTree::Working(tree) => {
            let tree = mounts::detached(tree, true, ids.app.as_fd())?;
            mounts::attach(&tree, Path::new("app"))?;
        }
    }
    // The binds and the overlay hold the file system; its own place is only a way to reach the host root's files.
    umount2(LAYER, MntFlags::MNT_DETACH).doing("hide the layer")?;
    fs::remove_dir(LAYER).doing("remove the layer's directory")
}

/// A directory of exactly this mode and owner.
fn directory(path: &str, mode: u32, owner: u32) -> Result<(), Error> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
    .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
    .and_then(|()| chown(path, Some(owner), Some(owner)))
    .doing(format!("make the directory {path}"))
}

fn mount_layer(layer: &Layer) -> Result<(), Error> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    match layer {
        Layer::Image(image) => {
            let (device, path) = loopdev::attach(image).doing("attach the layer to a loop device")?;
            // `noinit_itable`: the kernel would fill the sparse file with empty inode tables in the background.
            let options = "discard,noinit_itable,errors=remount-ro";
            let flags = safe | MsFlags::MS_NOATIME;
            mount(Some(&path), LAYER, Some("ext4"), flags, Some(options)).doing("mount the layer")?;
            drop(device);
            Ok(())
        }
        Layer::Directory(directory) => {
            mounts::bind(directory, Path::new(LAYER))?;
            let flags = safe | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
            mount(None::<&str>, LAYER, None::<&str>, flags, None::<&str>).doing("protect the layer")
        }
    }
}

/// The release below, writes above. The layer goes with the instance, so nothing in it needs to survive a crash of the host: `volatile`.
fn overlay(release: &Path, app: u32, ids: &Identities) -> Result<(), Error> {
    directory(".layer/upper", 0o755, app)?;
    directory(".layer/work", 0o700, 0)?;
    fs::create_dir(LOWER).doing("make the release's directory")?;
    let lower = mounts::detached(release, false, ids.app.as_fd())?;
    mounts::attach(&lower, Path::new(LOWER))?;
    let options = "lowerdir=.lower,upperdir=.layer/upper,workdir=.layer/work,redirect_dir=on,volatile";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    mount(Some("overlay"), "app", Some("overlay"), flags, Some(options))
        .doing("mount the app's directory")?;
    umount2(LOWER, MntFlags::MNT_DETACH).doing("hide the release")?;
    fs::remove_dir(LOWER).doing("remove the release's directory")
}
