//! A synthesised `/etc`: what programs need to resolve names, users, libraries and certificates, and nothing of the host's secrets.
//!
//! Only the files named here get in, and of the image's files only those that everybody may read there.

use crate::{
    error::{Doing, Error},
    launch::mounts,
};
use std::{
    fs, io,
    os::{
        fd::BorrowedFd,
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};
use teal_core::agent::{APP_USER, Link};

/// Copied from the image: small, public, and needed by common programs.
const FILES: [&str; 21] = [
    "debian_version",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "magic.mime",
    "maven/m2.conf",
    "mime.types",
    "os-release",
    "papersize",
    "protocols",
    "rpc",
    "services",
    "ssl/openssl.cnf",
    "timezone",
    "vconsole.conf",
];

/// Mounted from the image, read-only.
const DIRECTORIES: [&str; 9] =
    ["alternatives", "fonts", "ld.so.conf.d", "perl", "php", "pki/tls/certs", "ssl/certs", "terminfo", "xml"];

/// Further directories of the image, by what their name begins with: packages put their version into it.
const PREFIXES: [&str; 4] = ["ImageMagick", "java-", "python", "ruby"];

/// A file of the image that is larger is not configuration.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Makes `etc` below the current directory from the image's.
pub(crate) fn make(image: &Path, hostname: &str, ids: BorrowedFd<'_>) -> Result<(), Error> {
    let from = image.join("etc");
    for name in FILES {
        copy(&from.join(name), Path::new("etc").join(name)).doing(format!("copy /etc/{name}"))?;
    }
    for name in directories(&from) {
        mount(&from.join(&name), &Path::new("etc").join(&name), ids)?;
    }
    for (name, text) in synthesised(hostname) {
        fs::write(Path::new("etc").join(name), text).doing(format!("write /etc/{name}"))?;
    }
    symlink("/proc/self/mounts", "etc/mtab").doing("link /etc/mtab")
}

/// Names are resolved by the gateway alone. Called in the pivoted root.
pub(crate) fn write_resolver(link: &Link) -> Result<(), Error> {
    let text = format!("nameserver {}\noptions timeout:2 attempts:3\n", link.gateway);
    fs::write("/etc/resolv.conf", text).doing("write /etc/resolv.conf")
}

/// The files that every instance has, whatever its image.
pub(crate) fn synthesised(hostname: &str) -> [(&'static str, String); 7] {
    let passwd = format!(
        "root:x:0:0:root:/:/usr/sbin/nologin\n\
         app:x:{APP_USER}:{APP_USER}:app:/app:/bin/bash\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    );
    let group = format!("root:x:0:\ntty:x:5:\napp:x:{APP_USER}:\nnogroup:x:65534:\n");
    let hosts =
        format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n");
    let switch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                  protocols: files\nservices: files\nrpc: files\n";
    [
        ("passwd", passwd),
        ("group", group),
        ("hosts", hosts),
        ("hostname", format!("{hostname}\n")),
        ("nsswitch.conf", switch.to_owned()),
        ("shells", "/bin/sh\n/bin/bash\n".to_owned()),
        ("resolv.conf", String::new()),
    ]
}

fn directories(from: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
    let entries = fs::read_dir(from).into_iter().flatten().flatten();
    let versioned = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    names.extend(entries.map(|e| PathBuf::from(e.file_name())).filter(|n| n.to_str().is_some_and(versioned)));
    names
}

/// A public directory of the image; a missing or private one is left out.
fn mount(from: &Path, to: &Path, ids: BorrowedFd<'_>) -> Result<(), Error> {
    let public = |m: &fs::Metadata| m.is_dir() && m.permissions().mode() & 0o005 == 0o005;
    if !fs::symlink_metadata(from).as_ref().is_ok_and(public) {
        return Ok(());
    }
    fs::create_dir_all(to).doing(format!("make {}", to.display()))?;
    mounts::image(from, to, ids)
}

/// A public file of the image, or a link into its `/usr`; a missing or private one is left out.
fn copy(from: &Path, to: PathBuf) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if found.is_symlink() {
        let target = fs::read_link(from)?;
        let within = target.starts_with("/usr") || target.starts_with("../usr");
        return if within { symlink(target, to) } else { Ok(()) };
    }
    let public = found.is_file() && found.permissions().mode() & 0o004 != 0 && found.len() <= MAX_FILE;
    if public { fs::copy(from, to).map(drop) } else { Ok(()) }
}
