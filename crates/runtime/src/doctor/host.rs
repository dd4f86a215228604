//! What is installed, and how full the disks are.

use super::Finding;
use nix::sys::statvfs::statvfs;
use std::path::{Path, PathBuf};

/// Below this share of free space things begin to fail, in percent.
const MIN_FREE_PERCENT: u64 = 10;

/// Where a sandbox finds tools: never by the server's own PATH, which may lead into a home.
const DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

pub(super) fn tool(name: &str, package: &str) -> Finding {
    let found =
        DIRECTORIES.iter().map(|directory| PathBuf::from(directory).join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Finding::good(name, path.display().to_string()),
        None => Finding::bad(
            name,
            format!("not in {}", DIRECTORIES.join(", ")),
            format!("apt-get install -y {package}"),
        ),
    }
}

pub(super) fn disk(path: &Path) -> Finding {
    let name = format!("disk {}", path.display());
    let space = match statvfs(path) {
        Ok(space) => space,
        Err(errno) => {
            return Finding::bad(&name, errno.to_string(), "make the directory, or name another one");
        }
    };
    let unit = space.fragment_size();
    let (free, all) = (space.blocks_available() * unit, (space.blocks() * unit).max(1));
    let percent = free.saturating_mul(100) / all;
    let detail = format!("{} GiB free of {} GiB ({percent} %)", free >> 30, all >> 30);
    if percent >= MIN_FREE_PERCENT {
        return Finding::good(&name, detail);
    }
    Finding::bad(
        &name,
        detail,
        "free space: delete apps that are not needed, or old files; builds fail when it is full",
    )
}
