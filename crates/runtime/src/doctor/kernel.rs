//! What the kernel lets us do.

use super::Finding;
use crate::{
    cgroup::{Cgroups, Freezer},
    network::trial,
};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::{AccessFlags, access, geteuid},
};
use std::{fs, io, path::Path, thread};

/// Where the overlay is tried: hidden below a file system of its own in a mount namespace of its own.
const SCRATCH: &str = "/tmp";

pub(super) fn root() -> Finding {
    if geteuid().is_root() {
        return Finding::good("root", "runs as root");
    }
    Finding::bad(
        "root",
        format!("runs as user {}", geteuid()),
        "run `teal server` as root; otherwise instances run as plain processes without isolation",
    )
}

pub(super) fn namespaces() -> Finding {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let made = apart(move || Ok(unshare(all)?)).and_then(|()| user_namespaces());
    let remedy = "run on the host itself or in a privileged container; for user namespaces: sysctl -w user.max_user_namespaces=15000";
    Finding::tried(
        "namespaces",
        made.map(|()| "mount, pid, network, host name, IPC and user namespaces can be made".to_owned()),
        remedy,
    )
}

/// A thread cannot enter a user namespace while there are others: asked instead of tried.
fn user_namespaces() -> io::Result<()> {
    let allowed = fs::read_to_string("/proc/sys/user/max_user_namespaces")?;
    if allowed.trim() == "0" {
        Err(io::Error::other("user namespaces are switched off (user.max_user_namespaces is 0)"))
    } else {
        Ok(())
    }
}

pub(super) fn cgroups() -> Finding {
    let found = Cgroups::detect(&format!("teal-doctor-{}", std::process::id())).and_then(|cgroups| {
        let limits = if cgroups.unified() { "v2 with controllers" } else { "v1 controllers" };
        let freezer = match cgroups.freezer() {
            Freezer::V2 => "freezes by v2",
            Freezer::V1 => "freezes by v1 only (Linux 5.2 does better)",
        };
        let kill = if cgroups.kills_at_once() {
            "ends groups at once"
        } else {
            "ends groups one process at a time (Linux 5.14 does better)"
        };
        cgroups.remove_subtree().map(|()| format!("{limits}, {freezer}, {kill}"))
    });
    Finding::tried("cgroups", found, "run as root, with cgroup v2 mounted at /sys/fs/cgroup and writable")
}

pub(super) fn overlay() -> Finding {
    let tried = apart(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), SCRATCH, Some("tmpfs"), MsFlags::empty(), none)?;
        let scratch = Path::new(SCRATCH);
        ["lower", "upper", "work", "merged"]
            .iter()
            .try_for_each(|name| fs::create_dir(scratch.join(name)))?;
        let options = format!("lowerdir={SCRATCH}/lower,upperdir={SCRATCH}/upper,workdir={SCRATCH}/work");
        mount(
            Some("overlay"),
            &scratch.join("merged"),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )?;
        Ok(())
    });
    Finding::tried(
        "overlay",
        tried.map(|()| "an overlay file system can be mounted".to_owned()),
        "load it with: modprobe overlay",
    )
}

pub(super) fn loop_devices() -> Finding {
    let opened = fs::OpenOptions::new().read(true).write(true).open("/dev/loop-control");
    let remedy = "modprobe loop; in a container, let it use /dev/loop-control and /dev/loop*";
    Finding::tried("loop devices", opened.map(|_| "/dev/loop-control opens".to_owned()), remedy)
}

pub(super) fn nft() -> Finding {
    let remedy = "apt-get install -y nftables; the kernel needs nf_tables, nf_conntrack and NAT";
    Finding::tried(
        "nft",
        trial::rules().map(|()| "the kernel takes our rules (checked, not installed)".to_owned()),
        remedy,
    )
}

pub(super) fn veth() -> Finding {
    let remedy = "modprobe veth; run as root on the host itself";
    Finding::tried("veth", trial::pair().map(|()| "a pair of interfaces can be made".to_owned()), remedy)
}

pub(super) fn forwarding() -> Finding {
    let on = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1");
    let settable = access("/proc/sys/net/ipv4/conf/default/forwarding", AccessFlags::W_OK).is_ok();
    // Access says yes to root even where /proc/sys is mounted read-only: then the mount says it.
    let fixed = access("/proc/sys/net/ipv4/ip_forward", AccessFlags::W_OK) == Err(Errno::EROFS);
    match (on, settable && !fixed) {
        (true, _) => Finding::good("ip_forward", "on for the whole host"),
        (false, true) => {
            Finding::good("ip_forward", "off, and switched on by Teal for the interfaces that need it")
        }
        (false, false) => Finding::bad(
            "ip_forward",
            "off, and cannot be set here",
            "sysctl -w net.ipv4.ip_forward=1 on the host",
        ),
    }
}

pub(super) fn foreign_firewall() -> Finding {
    let name = "firewall";
    match trial::forward_droppers() {
        Ok(droppers) if droppers.is_empty() => {
            Finding::good(name, "no other firewall drops forwarded packets")
        }
        Ok(droppers) => Finding::bad(
            name,
            format!(
                "drops forwarded packets that it does not know: {}; instances may not reach the outside",
                droppers.join(", ")
            ),
            "accept interfaces tl+ there (with Docker: iptables -I DOCKER-USER -i tl+ -j ACCEPT; iptables -I DOCKER-USER -o tl+ -j ACCEPT)",
        ),
        Err(error) => {
            Finding::bad(name, teal_core::error::in_full(&error), "apt-get install -y nftables; run as root")
        }
    }
}

pub(super) fn swap() -> Finding {
    // The first line is a heading.
    let areas = fs::read_to_string("/proc/swaps").unwrap_or_default().lines().skip(1).count();
    if areas > 0 {
        return Finding::good(
            "swap",
            format!("{areas} areas: a sleeping environment's memory can be given to others"),
        );
    }
    Finding::advice(
        "swap",
        "none: a sleeping environment's memory stays held until it is off",
        "fallocate -l 4G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile",
    )
}

pub(super) fn kvm() -> Finding {
    match fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => Finding::good("kvm", "opens; not proven"),
        Err(error) => Finding::advice(
            "kvm",
            format!("/dev/kvm: {error}; only virtual machines need it"),
            "switch virtualisation on in the firmware, or use the sandbox runtime",
        ),
    }
}

/// Runs a trial on a thread of its own: what it leaves goes with the thread.
fn apart(trial: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let ended = thread::Builder::new().name("teal-doctor".to_owned()).spawn(trial)?.join();
    ended.unwrap_or_else(|_| Err(io::Error::other("the trial broke off")))
}
