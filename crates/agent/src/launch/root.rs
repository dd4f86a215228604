//! The instance's root: built on a tmpfs beside the host's, entered, finished, sealed.

use crate::{
    error::{Doing, Error},
    launch::{dev, etc, identity::Identities, layer, mounts},
};
use nix::{
    mount::{MntFlags, MsFlags, umount2},
    unistd::pivot_root,
};
use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};
use teal_core::agent::{APP_HOME, APP_USER, Launch, Link};

/// Top-level names that are links into `/usr` on merged systems and directories of their own elsewhere.
const SYSTEM: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"];

/// Builds the root from the host's files and pivots into it: the host's tree is gone from this process afterwards.
pub(crate) fn build(launch: &Launch, ids: &Identities) -> Result<(), Error> {
    let block = ids.block;
    let staging = launch
        .staging
        .to_str()
        .ok_or_else(|| Error::Refused("the data directory's path is not UTF-8".to_owned()))?;
    let options = format!("mode=755,size=16m,nr_inodes=8k,uid={block},gid={block}");
    mounts::fresh("tmpfs", staging, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, &options)?;
    std::env::set_current_dir(staging).doing("enter the new root")?;
    for directory in ["etc", "proc", "run", "var"] {
        fs::create_dir(directory).doing(format!("make /{directory}"))?;
    }
    system(&launch.image, ids)?;
    etc::make(&launch.image, &launch.hostname, ids.instance.as_fd())?;
    dev::make(block, launch.shm_mib)?;
    volatile(block)?;
    layer::mount_app(&launch.layer, &launch.tree, ids)?;
    let further = further(launch, ids)?;
    pivot()?;
    for (tree, target) in further {
        place(&tree, &target, block)?;
    }
    launch.files.iter().try_for_each(|(path, text)| file(path, text))
}

/// What is known only once the network is attached. Called in the pivoted root.
pub(crate) fn finish(link: &Link) -> Result<(), Error> {
    etc::write_resolver(link)
}

/// Nothing outside the layer, `/run` and `/dev/shm` can be written from here on.
pub(crate) fn seal() -> Result<(), Error> {
    mounts::read_only(Path::new("/"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV)
}

/// `/usr` of the image, and what belongs to it at the top level.
fn system(image: &Path, ids: &Identities) -> Result<(), Error> {
    fs::create_dir("usr").doing("make /usr")?;
    mounts::image(&image.join("usr"), Path::new("usr"), ids.instance.as_fd())?;
    for name in SYSTEM {
        let from = image.join(name);
        let Ok(found) = fs::symlink_metadata(&from) else { continue };
        if found.is_symlink() {
            let target = fs::read_link(&from).doing(format!("read the link /{name}"))?;
            symlink(target, name).doing(format!("link /{name}"))?;
        } else {
            fs::create_dir(name).doing(format!("make /{name}"))?;
            mounts::image(&from, Path::new(name), ids.instance.as_fd())?;
        }
    }
    Ok(())
}

/// Places of the system that programs write to, and that go with the instance.
fn volatile(block: u32) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounts::fresh("tmpfs", "run", flags, &format!("mode=755,size=16m,uid={block},gid={block}"))?;
    fs::create_dir("run/lock").doing("make /run/lock")?;
    fs::set_permissions("run/lock", fs::Permissions::from_mode(0o1777)).doing("open /run/lock")?;
    for (name, to) in [("var/run", "/run"), ("var/lock", "/run/lock"), ("var/tmp", "/tmp")] {
        symlink(to, name).doing(format!("link /{name}"))?;
    }
    Ok(())
}

fn further(launch: &Launch, ids: &Identities) -> Result<Vec<(OwnedFd, PathBuf)>, Error> {
    let detach = |bind: &teal_core::agent::Bind| {
        let tree = mounts::detached(&bind.source, bind.writable, ids.app.as_fd())?;
        Ok((tree, bind.target.clone()))
    };
    launch.mounts.iter().map(detach).collect()
}

/// The old root is stacked under the new one and taken away, so it has no name any more.
fn pivot() -> Result<(), Error> {
    pivot_root(".", ".").doing("enter the new root")?;
    umount2(".", MntFlags::MNT_DETACH).doing("leave the host's root")?;
    std::env::set_current_dir("/").doing("enter the new root")
}

/// Attaches a further directory. Its place may lie in the app's own tree, whose links are the app's: that is harmless only because the
/// root was pivoted before. Missing directories are made as the app's user, who alone can own anything there.
fn place(tree: &OwnedFd, target: &Path, block: u32) -> Result<(), Error> {
    let plain = target.is_absolute() && !target.components().any(|c| c == Component::ParentDir);
    if !plain {
        return Err(Error::Refused(format!(
            "a mount's place must be an absolute path without `..`, not {}",
            target.display()
        )));
    }
    let owner = if target.starts_with(APP_HOME) { block + APP_USER } else { 0 };
    let made = with_file_owner(owner, || fs::create_dir_all(target));
    made.doing(format!("make {}", target.display()))?;
    mounts::attach(tree, target)
}

fn with_file_owner<T>(owner: u32, act: impl FnOnce() -> T) -> T {
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
    let (user, group) = (setfsuid(Uid::from_raw(owner)), setfsgid(Gid::from_raw(owner)));
    let result = act();
    setfsuid(user);
    setfsgid(group);
    result
}

/// A small public file; in the read-only part of the image it is mounted over the one that is there.
fn file(path: &Path, text: &str) -> Result<(), Error> {
    let what = || format!("write {}", path.display());
    if !path.starts_with("/usr") {
        let parent = path.parent().unwrap_or(Path::new("/"));
        match fs::create_dir_all(parent).and_then(|()| fs::write(path, text)) {
            // A directory of the image's, such as that of the certificate authorities.
            Err(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {}
            written => return written.doing(what()),
        }
    }
    if !path.is_file() {
        return Ok(());
    }
    let name = path.to_string_lossy().replace('/', "-");
    let source = Path::new("/etc").join(format!(".over{name}"));
    fs::write(&source, text).doing(what())?;
    mounts::bind(&source, path)?;
    mounts::read_only(path, MsFlags::MS_NOSUID | MsFlags::MS_NODEV)
}
