//! What detection sees of a tree on disk. The kernel is told that no link may lead out of the tree (`openat2`, `RESOLVE_BENEATH`).

use super::detect::{Files, MAX_READ};
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{SFlag, fstat},
};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// The most names that are listed.
const MAX_NAMES: usize = 200;

pub(super) struct Disk {
    root: OwnedFd,
    path: PathBuf,
}

impl Disk {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: File::open(path)?.into(), path: path.to_owned() })
    }

    fn file(&self, path: &str) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH);
        let file = openat2(&self.root, path, how).ok()?;
        let kind = fstat(&file).ok()?.st_mode & SFlag::S_IFMT.bits();
        (kind == SFlag::S_IFREG.bits()).then(|| file.into())
    }
}

impl Files for Disk {
    fn has(&self, path: &str) -> bool {
        self.file(path).is_some()
    }

    fn read(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        self.file(path)?.take(MAX_READ + 1).read_to_end(&mut bytes).ok()?;
        if bytes.len() as u64 > MAX_READ {
            return None;
        }
        String::from_utf8(bytes).ok()
    }

    fn top(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        let named = entries.flatten().map(|entry| {
            let slash = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
            format!("{}{slash}", crate::log::harmless(&entry.file_name().to_string_lossy()))
        });
        let mut names: Vec<_> = named.take(MAX_NAMES).collect();
        names.sort();
        names
    }
}
