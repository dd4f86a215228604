//! Which hierarchies are mounted: read from the kernel's table of mounts, never guessed from paths.

use super::Error;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Directories of v1 hierarchies, by controller.
pub(crate) type V1 = BTreeMap<String, PathBuf>;

/// The mounted hierarchies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    /// A v2 hierarchy; the one with controllers if there are several.
    pub(crate) v2: Option<PathBuf>,
    /// v1 hierarchies by controller; one directory may serve several (`cpu,cpuacct`).
    pub(crate) v1: V1,
}

impl Hierarchies {
    /// Reads `/proc/self/mountinfo`.
    pub(crate) fn read() -> Result<Self, Error> {
        let path = PathBuf::from("/proc/self/mountinfo");
        let text = fs::read_to_string(&path).map_err(|source| Error::File { path, verb: "read", source })?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for (point, kind, options) in text.lines().filter_map(line) {
            match kind {
                "cgroup2" => found.offer_v2(point),
                "cgroup" => {
                    let known =
                        options.split(',').filter(|name| ["memory", "cpu", "pids", "freezer"].contains(name));
                    found.v1.extend(known.map(|name| (name.to_owned(), point.clone())));
                }
                _ => {}
            }
        }
        found
    }

    /// A hierarchy with controllers wins over one without.
    fn offer_v2(&mut self, point: PathBuf) {
        let rich = |path: &PathBuf| {
            fs::read_to_string(path.join("cgroup.controllers")).is_ok_and(|text| text.contains("memory"))
        };
        if self.v2.as_ref().is_none_or(|known| !rich(known) && rich(&point)) {
            self.v2 = Some(point);
        }
    }
}

/// Mount point, file system and its options, of one line of `mountinfo` (proc(5)).
fn line(line: &str) -> Option<(PathBuf, &str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let kind = after.next()?;
    Some((PathBuf::from(unescape(point)), kind, after.nth(1)?))
}

/// The kernel writes blanks and backslashes of paths as three octal digits.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_are_understood() {
        let text = "24 30 0:21 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    25 30 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    26 30 0:23 / /a\\040b rw - cgroup2 cgroup2 rw,nsdelegate\n\
                    27 30 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let found = Hierarchies::parse(text);
        assert_eq!(found.v2, Some(PathBuf::from("/a b")));
        let names: Vec<_> = found.v1.keys().map(String::as_str).collect();
        assert_eq!(names, ["cpu", "memory"]);
        assert_eq!(found.v1["cpu"], PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
    }
}
