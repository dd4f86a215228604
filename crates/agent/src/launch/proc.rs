//! `/proc` of the instance's own processes, with what concerns the host taken out.

use crate::{
    error::{Doing, Error},
    launch::mounts,
};
use nix::mount::{self, MsFlags};
use std::path::Path;

/// Files that show or steer the host; read as empty.
const MASKED: [&str; 11] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/kallsyms",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
];

/// Directories that are of no concern inside; seen as empty.
const HIDDEN: [&str; 6] =
    ["/proc/acpi", "/proc/asound", "/proc/bus", "/proc/driver", "/proc/irq", "/proc/scsi"];

/// Directories that may be read only.
const FIXED: [&str; 3] = ["/proc/fs", "/proc/pressure", "/proc/sys"];

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts `/proc`; only in the process namespace that it shall show, and before privileges are given up. The app sees its own
/// user's processes alone; the agent, by its group, all of them.
pub(crate) fn mount(block: u32) -> Result<(), Error> {
    let options = format!("hidepid=2,gid={block}");
    mount_at(Path::new("/proc"), "proc", QUIET, &options)?;
    for file in MASKED.iter().map(Path::new).filter(|p| p.exists()) {
        mounts::bind(Path::new("/dev/null"), file)?;
    }
    for directory in HIDDEN.iter().map(Path::new).filter(|p| p.is_dir()) {
        mount_at(directory, "tmpfs", QUIET | MsFlags::MS_RDONLY, "size=4k,nr_inodes=2,mode=555")?;
    }
    for directory in FIXED.iter().map(Path::new).filter(|p| p.is_dir()) {
        mounts::bind(directory, directory)?;
        mounts::read_only(directory, QUIET)?;
    }
    Ok(())
}

fn mount_at(target: &Path, kind: &str, flags: MsFlags, options: &str) -> Result<(), Error> {
    mount::mount(Some(kind), target, Some(kind), flags, Some(options))
        .doing(format!("mount {}", target.display()))
}
