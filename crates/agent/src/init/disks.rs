//! The machine's disks, found by their serial numbers: their order is the emulator's business.

use crate::error::{Doing, Error};
use nix::mount::{MsFlags, mount};
use std::{fs, path::PathBuf};

/// What the kernel reads of a disk as its serial number, at most.
const MAX_NAME: usize = 64;

/// Mounts the disk of this serial number at a directory that is made.
pub(crate) fn mount_disk(
    serial: &str,
    kind: &str,
    at: &str,
    flags: MsFlags,
    options: &str,
) -> Result<(), Error> {
    let device = find(serial).ok_or_else(|| Error::Refused(format!("the machine has no disk `{serial}`")))?;
    fs::create_dir_all(at).doing(format!("make {at}"))?;
    let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    mount(Some(&device), at, Some(kind), flags, Some(options)).doing(format!("mount the disk `{serial}`"))
}

fn find(serial: &str) -> Option<PathBuf> {
    let disks = fs::read_dir("/sys/block").ok()?.flatten();
    let named = |path: &PathBuf| {
        fs::read_to_string(path.join("serial"))
            .is_ok_and(|text| text.len() <= MAX_NAME && text.trim_end() == serial)
    };
    let disk = disks.map(|entry| entry.path()).find(named)?;
    Some(PathBuf::from("/dev").join(disk.file_name()?))
}
