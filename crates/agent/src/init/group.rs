//! The app's control group in its own machine: its limits, and the way to let it stand still while the machine sleeps.
//!
//! The files are opened before the app's root is entered, where the app cannot find them.

use crate::{
    error::{Doing, Error},
    init::clock,
    launch::mounts,
    pid1::channel::Machine,
};
use nix::mount::MsFlags;
use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

const ROOT: &str = "/group";
const APP: &str = "/group/app";

/// The longest that an app may take to stand still.
const FREEZE_WAIT: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(1);

/// The app's group.
pub(crate) struct Group {
    freeze: File,
    events: File,
    memory: File,
    entrance: File,
}

impl Group {
    /// Makes it, with its limits.
    pub(crate) fn make(memory_mib: u64, pids: u64) -> Result<Self, Error> {
        mounts::fresh("cgroup2", ROOT, MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "")?;
        write(ROOT, "cgroup.subtree_control", "+memory +pids")?;
        fs::create_dir(APP).doing("make the app's control group")?;
        write(APP, "memory.max", &memory_mib.saturating_mul(1 << 20).to_string())?;
        write(APP, "pids.max", &pids.to_string())?;
        let open = |name: &str, writable: bool| {
            let path = Path::new(APP).join(name);
            let file = File::options().read(!writable).write(writable).open(&path);
            file.doing(format!("open {}", path.display()))
        };
        Ok(Self {
            freeze: open("cgroup.freeze", true)?,
            events: open("cgroup.events", false)?,
            memory: open("memory.events", false)?,
            entrance: open("cgroup.procs", true)?,
        })
    }

    /// Whoever writes `0` into it is in the group.
    pub(crate) fn entrance(&self) -> Result<File, Error> {
        self.entrance.try_clone().doing("open the app's control group")
    }
}

impl Machine for Group {
    fn rest(&mut self) -> io::Result<()> {
        let until = Instant::now() + FREEZE_WAIT;
        self.freeze.write_all_at(b"1", 0)?;
        while keyed(&self.events, "frozen") != Some(1) {
            if Instant::now() > until {
                self.freeze.write_all_at(b"0", 0)?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the app does not stand still"));
            }
            std::thread::sleep(AGAIN);
        }
        Ok(())
    }

    fn wake(&mut self, now_ns: u64, seed: &[u8]) -> io::Result<()> {
        clock::set(now_ns)?;
        clock::stir(seed)?;
        self.freeze.write_all_at(b"0", 0)
    }

    fn out_of_memory(&self) -> bool {
        keyed(&self.memory, "oom_kill").is_some_and(|count| count > 0)
    }
}

fn write(group: &str, name: &str, value: &str) -> Result<(), Error> {
    fs::write(Path::new(group).join(name), value).doing(format!("set {name} to {value}"))
}

/// The number behind `key` in a file of `key number` lines.
fn keyed(file: &File, key: &str) -> Option<u64> {
    let mut buffer = [0; 4096];
    let read = file.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..read]).ok()?;
    value(text, key)
}

fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_whole() {
        let text = "oom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(
            (value(text, "oom_kill"), value(text, "oom"), value(text, "frozen")),
            (Some(2), Some(3), None)
        );
    }
}
