//! What `/proc` tells: who descends from whom, who stands still, what listens, and whether a pid is still the same process.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A process that cannot be taken for another one that got its pid later (within one boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks between the boot and its start.
    pub(crate) start: u64,
}

impl Identity {
    /// The process that has this pid now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// Is it still running (and not just unreaped)?
    pub(crate) fn alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start == self.start && !stat.dead())
    }

    /// Sends a signal, if it is still the same process.
    pub(crate) fn signal(self, signal: Signal) {
        if self.alive() {
            signal_pid(self.pid, signal);
        }
    }
}

/// Sends a signal; a process that has gone, or one that is not ours, is as good.
pub(crate) fn signal_pid(pid: i32, signal: Signal) {
    let _gone = kill(Pid::from_raw(pid), signal);
}

/// One line of `/proc/<pid>/stat`, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) start: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name, which may hold anything; it ends with the last parenthesis.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self { state, parent, start: fields.nth(17)?.parse().ok()? })
    }

    fn dead(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// It uses no CPU until somebody lets it go on.
    pub(crate) fn stands_still(self) -> bool {
        self.dead() || matches!(self.state, 'T' | 't')
    }
}

/// Every process that can be seen.
pub(crate) fn all() -> BTreeMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, Stat::read(pid)?))).collect()
}

/// Everything below `root` in `all`, without itself.
pub(crate) fn below(root: i32, all: &BTreeMap<i32, Stat>) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let (mut found, mut open) = (BTreeSet::new(), vec![root]);
    while let Some(parent) = open.pop() {
        let next = children.get(&parent).into_iter().flatten();
        open.extend(next.filter(|pid| **pid != root && found.insert(**pid)));
    }
    found
}

/// The processes below `root` that run or could.
pub(crate) fn living_below(root: i32) -> Vec<i32> {
    let all = all();
    below(root, &all).into_iter().filter(|pid| all.get(pid).is_some_and(|stat| !stat.dead())).collect()
}

/// Memory in use by a process, in bytes.
pub(crate) fn resident_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        .saturating_mul(1024)
}

/// Processes that were started with this text in their environment, as far as we may look.
pub(crate) fn marked(variable: &str) -> Vec<i32> {
    let has = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    all().into_iter().filter(|(_, stat)| !stat.dead()).map(|(pid, _)| pid).filter(has).collect()
}

/// The TCP sockets on which these processes listen.
pub(crate) fn listening(pids: &[i32]) -> Vec<SocketAddr> {
    let held: HashSet<u64> = pids.iter().flat_map(|pid| sockets(*pid)).collect();
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let lines = tables.iter().flat_map(|path| {
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let found: BTreeSet<SocketAddr> = lines.filter_map(|line| listener(&line, &held)).collect();
    found.into_iter().collect()
}

/// The inodes of the sockets that a process holds.
fn sockets(pid: i32) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links =
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
    links.filter_map(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// The address in a line of `/proc/net/tcp*`, if it listens (state `0A`) and is held.
fn listener(line: &str, held: &HashSet<u64>) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (*fields.get(1)?, *fields.get(3)?, fields.get(9)?.parse().ok()?);
    (state == "0A" && held.contains(&inode)).then(|| address(local)).flatten()
}

/// `0100007F:1F90`: words in the machine's own byte order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let words: Option<Vec<[u8; 4]>> = (0..host.len() / 8)
        .map(|i| Some(u32::from_str_radix(host.get(i * 8..i * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect();
    let ip: IpAddr = match words?.as_slice() {
        [one] => Ipv4Addr::from(*one).into(),
        [a, b, c, d] => {
            Ipv6Addr::from(<[u8; 16]>::try_from([a, b, c, d].map(|word| *word).concat()).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_name_cannot_forge_its_line() {
        let line = "7 (x) R 1 1 (y) S 42 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1";
        assert_eq!(Stat::parse(line), Some(Stat { state: 'S', parent: 42, start: 98765 }));
        assert_eq!(Stat::parse("7 (x"), None);
    }

    #[test]
    fn descendants_are_found_through_generations() {
        let stat = |parent| Stat { state: 'S', parent, start: 0 };
        let all = BTreeMap::from([(2, stat(1)), (3, stat(2)), (9, stat(3)), (4, stat(9)), (5, stat(1))]);
        assert_eq!(below(2, &all), BTreeSet::from([3, 4, 9]));
    }

    #[test]
    fn our_own_listener_is_seen() {
        let four = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(listening(&[own]).contains(&four.local_addr().expect("bound")));
        assert_eq!(
            address("00000000000000000000000001000000:0050"),
            Some("[::1]:80".parse().expect("an address"))
        );
    }

    #[test]
    fn an_identity_ends_with_its_process() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("starts");
        let known = Identity::of(i32::try_from(child.id()).expect("a pid")).expect("runs");
        assert!(known.alive());
        assert!(!Identity { start: known.start + 1, ..known }.alive(), "another one with its pid");
        known.signal(Signal::SIGKILL);
        child.wait().expect("reaped");
        assert!(!known.alive());
    }
}
