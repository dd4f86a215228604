//! Makes a built tree fit to be shared: owners, modes and odd files normalised, its content summed up, everything on the disk.
//!
//! The tree was written by code of users. Links are never followed, a file with several names gets an inode of its own before anything of
//! it is changed, and every file is opened without following its last part.

use super::meta::Kind;
use nix::{
    fcntl::AtFlags,
    unistd::{Gid, Uid, fchownat},
};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    io::Read,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};
use walkdir::WalkDir;

/// The most entries of a release.
pub(super) const MAX_ENTRIES: u64 = 1_000_000;
/// The largest release, in bytes.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// Up to this many entries are synced one by one; beyond it the whole file system is, which is cheaper then.
const SYNC_ONE_BY_ONE: u64 = 256;
/// At most this many left-out files are named.
const NAMED: usize = 10;

/// Why a tree cannot become a release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, most likely.
    #[error("cannot seal {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// More than a release may hold.
    #[error(
        "the built app has more than {what}: leave caches and what only the build needs out with CC_IGNORE_FROM_BUILDCACHE"
    )]
    TooLarge {
        /// "1000000 files", "16 GiB".
        what: String,
    },
}

impl Error {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Would trying again end in the same way?
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}

/// What of a tree belongs in the release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Only these paths (`CC_OVERRIDE_BUILDCACHE`); empty: everything.
    pub only: Vec<PathBuf>,
    /// Not these (`CC_IGNORE_FROM_BUILDCACHE`).
    pub without: Vec<PathBuf>,
}

impl Choice {
    /// Paths separated by `:`, relative to the app's directory; a leading `/` means that directory. What leads out of it is ignored.
    #[must_use]
    pub fn parse(only: Option<&str>, without: Option<&str>) -> Self {
        let paths = |text: Option<&str>| {
            let parts = text.unwrap_or_default().split(':').filter(|part| !part.trim().is_empty());
            parts.filter_map(|part| crate::build::tree::inside(part.trim())).map(PathBuf::from).collect()
        };
        Self { only: paths(only), without: paths(without) }
    }

    fn wants(&self, path: &Path, directory: bool) -> bool {
        let on_the_way = |only: &PathBuf| path.starts_with(only) || directory && only.starts_with(path);
        let everything = self.only.is_empty() || self.only.iter().any(|only| only == Path::new("."));
        (everything || self.only.iter().any(on_the_way))
            && !self.without.iter().any(|no| path.starts_with(no))
    }
}

/// A tree's content in short.
pub(super) struct Summary {
    /// Over paths, kinds, modes and bytes, in the order of the paths.
    pub(super) sum: [u8; 32],
    /// How many files and directories there are.
    pub(super) entries: u64,
    /// Sentences for the log.
    pub(super) notes: Vec<String>,
}

struct Sealing<'a> {
    root: &'a Path,
    choice: &'a Choice,
    kind: Kind,
    sum: Sha256,
    entries: u64,
    bytes: u64,
    odd: Vec<String>,
    owner: Option<(Uid, Gid)>,
}

/// Normalises the tree in place and sums it up. Doing it again gives the same.
pub(super) fn normalise(root: &Path, choice: &Choice, kind: Kind) -> Result<Summary, Error> {
    let owner = Uid::effective().is_root().then(|| (Uid::from_raw(0), Gid::from_raw(0)));
    let mut sealing =
        Sealing { root, choice, kind, sum: Sha256::new(), entries: 0, bytes: 0, odd: Vec::new(), owner };
    open_directory(root).map_err(Error::at(root))?;
    if sealing.owner.is_none() {
        open_directories(root);
    }
    let mut walk = WalkDir::new(root).follow_links(false).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Error::Io { path, source: error.into() }
        })?;
        // The directory is read after this, so what is left out is not descended into.
        if !sealing.entry(entry.path())? && entry.file_type().is_dir() {
            walk.skip_current_dir();
        }
    }
    let notes = sealing.notes();
    Ok(Summary { sum: sealing.sum.finalize().into(), entries: sealing.entries, notes })
}

impl Sealing<'_> {
    /// Answers whether it stays.
    fn entry(&mut self, path: &Path) -> Result<bool, Error> {
        let at = Error::at(path);
        let metadata = fs::symlink_metadata(path).map_err(Error::at(path))?;
        let relative = path.strip_prefix(self.root).unwrap_or(path).to_owned();
        let kind = metadata.file_type();
        if relative.as_os_str().is_empty() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::at(path))?;
            self.own(path).map_err(at)?;
            return Ok(true);
        }
        if !self.choice.wants(&relative, kind.is_dir()) {
            return self.drop_entry(path, kind.is_dir()).map_err(at).map(|()| false);
        }
        self.count(&metadata)?;
        if kind.is_symlink() {
            let target = fs::read_link(path).map_err(Error::at(path))?;
            self.note(b'l', &relative, 0, target.as_os_str().as_bytes());
        } else if kind.is_dir() {
            self.directory(path, &relative, &metadata).map_err(Error::at(path))?;
        } else if kind.is_file() {
            self.file(path, &relative, &metadata).map_err(Error::at(path))?;
        } else {
            let what = if kind.is_fifo() {
                "a pipe"
            } else if kind.is_socket() {
                "a socket"
            } else {
                "a device"
            };
            self.odd.push(format!("{} ({what})", relative.display()));
            return self.drop_entry(path, false).map_err(at).map(|()| false);
        }
        self.own(path).map_err(at)?;
        Ok(true)
    }

    fn directory(&mut self, path: &Path, relative: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        // Its owner must be able to list it: the sum and the removal depend on it.
        let mode = metadata.mode() & 0o777 | 0o700;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        self.note(b'd', relative, mode, b"");
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: &Path, metadata: &fs::Metadata) -> io::Result<()> {
        let mode = metadata.mode() & 0o777 | 0o400;
        if metadata.nlink() > 1 {
            copy_of_its_own(path, metadata)?;
        }
        let file = fs::OpenOptions::new().read(true).custom_flags(libc_no_follow()).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        self.header(b'f', relative, mode, metadata.len());
        let mut content = Sha256::new();
        let read = io::copy(&mut (&file).take(metadata.len()), &mut content)?;
        if read != metadata.len() {
            return Err(io::Error::other("it changed while it was sealed"));
        }
        let content: [u8; 32] = content.finalize().into();
        self.sum.update(content);
        if self.kind == Kind::Static {
            file.set_modified(time_of_content(metadata, &content))?;
        }
        Ok(())
    }

    fn note(&mut self, kind: u8, relative: &Path, mode: u32, content: &[u8]) {
        self.header(kind, relative, mode, content.len() as u64);
        self.sum.update(content);
    }

    fn header(&mut self, kind: u8, relative: &Path, mode: u32, length: u64) {
        let path = relative.as_os_str().as_bytes();
        self.sum.update([kind]);
        self.sum.update((path.len() as u64).to_le_bytes());
        self.sum.update(path);
        self.sum.update(mode.to_le_bytes());
        self.sum.update(length.to_le_bytes());
    }

    fn count(&mut self, metadata: &fs::Metadata) -> Result<(), Error> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.entries > MAX_ENTRIES {
            return Err(Error::TooLarge { what: format!("{MAX_ENTRIES} files") });
        }
        if self.bytes > MAX_BYTES {
            return Err(Error::TooLarge { what: format!("{} GiB", MAX_BYTES >> 30) });
        }
        Ok(())
    }

    /// Without root it is the server's user's already.
    fn own(&self, path: &Path) -> io::Result<()> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        fchownat(nix::fcntl::AT_FDCWD, path, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn drop_entry(&self, path: &Path, directory: bool) -> io::Result<()> {
        if directory {
            open_directories(path);
            return fs::remove_dir_all(path);
        }
        fs::remove_file(path)
    }

    fn notes(&self) -> Vec<String> {
        if self.odd.is_empty() {
            return Vec::new();
        }
        let named = self.odd.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = self.odd.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        vec![format!(
            "Left out of the release, for only files, directories and links can be kept: {named}{more}"
        )]
    }
}

fn libc_no_follow() -> i32 {
    (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_CLOEXEC).bits()
}

/// Gives the name an inode of its own: changing the mode or owner of a shared one would reach beyond the tree.
fn copy_of_its_own(path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".sealing");
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    let mut from = fs::OpenOptions::new().read(true).custom_flags(libc_no_follow()).open(path)?;
    let mut to = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    io::copy(&mut from, &mut to)?;
    to.set_modified(metadata.modified()?)?;
    fs::rename(&new, path)
}

/// Static files are told apart by time and size (ETag): two versions of one second and one length must differ in the nanoseconds.
fn time_of_content(metadata: &fs::Metadata, content: &[u8; 32]) -> std::time::SystemTime {
    let bits = u32::from_le_bytes([content[0], content[1], content[2], content[3]]);
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    UNIX_EPOCH + Duration::new(seconds, bits % 1_000_000_000)
}

fn open_directory(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    if metadata.mode() & 0o700 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode() & 0o777 | 0o700))?;
    }
    Ok(())
}

/// Makes all directories of a tree accessible to their owner, as far as possible.
pub(super) fn open_directories(root: &Path) {
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        // Before it is read: without root, a directory that forbids it could not be listed.
        let Ok(entries) = open_directory(&path).and_then(|()| fs::read_dir(&path)) else { continue };
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(directories.map(|entry| entry.path()));
    }
}

/// Brings everything below this directory to the disk.
pub(super) fn sync(root: &Path, entries: u64) -> Result<(), Error> {
    let opened = fs::File::open(root).map_err(Error::at(root))?;
    if entries > SYNC_ONE_BY_ONE {
        return nix::unistd::syncfs(&opened).map_err(|error| Error::at(root)(error.into()));
    }
    for entry in WalkDir::new(root).follow_links(false).contents_first(true) {
        let entry = entry.map_err(|error| Error::at(root)(error.into()))?;
        if entry.file_type().is_symlink() {
            continue;
        }
        let file = fs::OpenOptions::new().read(true).custom_flags(libc_no_follow()).open(entry.path());
        file.and_then(|file| file.sync_all()).map_err(Error::at(entry.path()))?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::at(path))
}
