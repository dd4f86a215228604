//! The Debian packages that the demo and the tests need. Installed when root, otherwise the one line to run is printed.

use anyhow::{Result, bail};
use std::{path::Path, process::Command};

/// A program, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("git", "git"),
    ("ssh", "openssh-client"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("mkfs.ext4", "e2fsprogs"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("make", "make"),
    ("openssl", "openssl"),
    ("pebble", "pebble"),
    ("mmdebstrap", "mmdebstrap"),
    ("mksquashfs", "squashfs-tools"),
    ("lz4", "lz4"),
    ("cpio", "cpio"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("zstd", "zstd"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
];

/// What the bench measures Teal against, and with.
const PEERS: &[(&str, &str)] = &[
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("wrk", "wrk"),
    ("taskset", "util-linux"),
];

/// What looks at the router's TLS from outside.
const SCANNERS: &[(&str, &str)] = &[("testssl", "testssl.sh")];

/// Where programs of Debian packages are, whatever a developer's PATH says: sandboxes see only these.
const DIRECTORIES: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// Installs what is missing for the demo and the tests.
pub(crate) fn install() -> Result<()> {
    let mut missing = missing(PROGRAMS);
    // `python3 -m venv` needs ensurepip, which Debian ships apart.
    let venv = Command::new("/usr/bin/python3").args(["-c", "import ensurepip, venv"]).output();
    if !venv.is_ok_and(|output| output.status.success()) {
        missing.push("python3-venv");
    }
    bring(missing)
}

/// Installs what is missing for the bench.
pub(crate) fn install_peers() -> Result<()> {
    bring(missing(PEERS))
}

/// Installs what is missing for `cargo xtask scan`.
pub(crate) fn install_scanners() -> Result<()> {
    bring(missing(SCANNERS))
}

fn bring(missing: Vec<&'static str>) -> Result<()> {
    if missing.is_empty() {
        println!("packages: nothing is missing");
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root()? {
        bail!("these Debian packages are missing; run as root: {line}");
    }
    println!("packages: {line}");
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments)
}

fn missing(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let there =
        |program: &str| DIRECTORIES.iter().any(|directory| Path::new(directory).join(program).exists());
    programs.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect()
}

pub(crate) fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output()?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn apt(arguments: &[&str]) -> Result<()> {
    let status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?;
    if !status.success() {
        bail!("apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}
