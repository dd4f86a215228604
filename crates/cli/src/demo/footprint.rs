//! What a Teal leaves on a host: looked for by the demo's own names (its data directory, its pool, its environments), so that another Teal on
//! the same machine is never taken for it. Looks only; removes nothing.

use super::net::Pool;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// How deep control groups are looked through, and how many.
const MAX_DEPTH: usize = 8;
const MAX_GROUPS: usize = 20_000;

/// By what the demo's things are known.
#[derive(Debug, Clone)]
pub(super) struct Footprint {
    /// The server's data directory.
    pub(super) data: PathBuf,
    /// The addresses of its instances.
    pub(super) pool: Pool,
    /// Parts of names of its control groups: ids of its environments.
    pub(super) names: Vec<String>,
}

impl Footprint {
    /// Everything that is there, in words.
    pub(super) fn find(&self) -> Vec<String> {
        let mut found = self.processes();
        found.extend(self.mounts());
        found.extend(self.groups());
        found.extend(self.disks());
        let routes = self.pool.routes();
        found.extend((routes > 0).then(|| format!("{routes} routes into {}", self.pool.cidr())));
        found.extend(self.rules());
        found
    }

    fn needle(&self) -> &[u8] {
        self.data.as_os_str().as_encoded_bytes()
    }

    /// Processes that name the data directory in their command line or environment, or are in it.
    fn processes(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes =
            entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
        let told = |path: PathBuf| {
            let names = |name: &str| contains(&fs::read(path.join(name)).unwrap_or_default(), self.needle());
            let inside =
                |name: &str| fs::read_link(path.join(name)).is_ok_and(|link| link.starts_with(&self.data));
            let ours = names("cmdline") || names("environ") || inside("cwd") || inside("root");
            ours.then(|| {
                let comm = fs::read_to_string(path.join("comm")).unwrap_or_default();
                format!(
                    "process {} ({})",
                    path.file_name().unwrap_or_default().to_string_lossy(),
                    comm.trim()
                )
            })
        };
        processes.filter_map(|entry| told(entry.path())).collect()
    }

    fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = mounts.lines().filter(|line| contains(line.as_bytes(), self.needle()));
        ours.filter_map(|line| Some(format!("mount {}", line.split_whitespace().nth(4)?))).collect()
    }

    fn groups(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
        let mut seen = 0;
        while let Some((directory, depth)) = left.pop() {
            seen += 1;
            if seen > MAX_GROUPS {
                break;
            }
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            if self.names.iter().any(|ours| name.contains(ours.as_str())) {
                found.push(format!("control group {}", directory.display()));
            }
            if depth < MAX_DEPTH {
                left.extend(directories(&directory).map(|path| (path, depth + 1)));
            }
        }
        found
    }

    /// Loop devices over files of the data directory.
    fn disks(&self) -> Vec<String> {
        let devices = directories(Path::new("/sys/block"));
        let ours = |device: &PathBuf| {
            let file = fs::read(device.join("loop/backing_file")).unwrap_or_default();
            contains(&file, self.needle())
        };
        devices.filter(ours).map(|device| format!("loop device {}", device.display())).collect()
    }

    fn rules(&self) -> Vec<String> {
        let listed = Command::new("nft").args(["list", "table", "inet", "teal"]).output();
        let text =
            listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        // The table itself and the rules for the whole pool belong to the server; those of single addresses to instances.
        let whole = self.pool.cidr();
        let ours = text.lines().filter(|line| line.contains(&self.pool.prefix()) && !line.contains(&whole));
        ours.map(|line| format!("rule {}", line.trim())).collect()
    }
}

fn directories(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// Memory of a process and everything below it, in KiB: its own pages, and its share of those that it has in common with others (of the same
/// binary, for example).
pub(super) fn memory_kib(pid: u32) -> u64 {
    let read = |file: &str, field: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    let own = read("smaps_rollup", "Pss:").or_else(|| read("status", "VmRSS:"));
    own.unwrap_or(0) + children(pid).into_iter().map(memory_kib).sum::<u64>()
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = directories(Path::new(&format!("/proc/{pid}/task")));
    let text =
        tasks.map(|task| fs::read_to_string(task.join("children")).unwrap_or_default()).collect::<String>();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_the_directory_is_found_until_it_ends() {
        let directory = tempfile::tempdir().expect("directory");
        let pool = super::super::net::free_pool().expect("free");
        let footprint = Footprint { data: directory.path().to_owned(), pool, names: Vec::new() };
        let mut child =
            Command::new("sleep").arg("60").current_dir(directory.path()).spawn().expect("starts");
        let found = footprint.find();
        child.kill().and_then(|()| child.wait()).expect("ends");
        assert!(found.iter().any(|one| one.contains(&format!("process {}", child.id()))), "{found:?}");
        assert!(footprint.find().is_empty(), "{:?}", footprint.find());
    }

    #[test]
    fn memory_of_a_process_is_more_than_nothing() {
        assert!(memory_kib(std::process::id()) > 100);
    }
}
