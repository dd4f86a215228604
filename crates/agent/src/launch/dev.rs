//! A minimal `/dev`: what every program expects and nothing that leads to the host.

use crate::{
    error::{Doing, Error},
    launch::mounts,
};
use nix::{
    mount::MsFlags,
    sys::stat::{Mode, SFlag, makedev, mknod},
};
use std::{os::unix::fs::symlink, path::Path};

const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes `dev` below the current directory.
pub(crate) fn make(block: u32, shm_mib: u64) -> Result<(), Error> {
    let own = format!("uid={block},gid={block}");
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mounts::fresh("tmpfs", "dev", quiet, &format!("mode=755,size=64k,nr_inodes=64,{own}"))?;
    for (name, major, minor) in NODES {
        let path = format!("dev/{name}");
        mknod(path.as_str(), SFlag::S_IFCHR, Mode::empty(), makedev(major, minor))
            .doing(format!("make /{path}"))?;
        // After the fact: mknod is subject to the umask.
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&path, everyone).doing(format!("open /{path} to everyone"))?;
    }
    for (name, to) in LINKS {
        symlink(to, format!("dev/{name}")).doing(format!("link /dev/{name}"))?;
    }
    // Group 5 is `tty`, as in /etc/group.
    let pts = format!("newinstance,ptmxmode=0666,mode=0620,gid={}", block + 5);
    mounts::fresh("devpts", "dev/pts", quiet, &pts)?;
    let shm = format!("mode=1777,size={}m,{own}", shm_mib.max(1));
    mounts::fresh("tmpfs", "dev/shm", quiet | MsFlags::MS_NODEV, &shm)?;
    mounts::read_only(Path::new("dev"), quiet)
}
