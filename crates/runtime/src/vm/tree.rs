//! Releases as machines mount them: packed once per release, read-only, shared by all machines that run it.

use crate::sandbox::layer;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};
use teal_core::agent::APP_USER;

/// What a name begins with while its file is not whole.
const UNFINISHED: &str = ".new-";

/// The packed releases of this host.
#[derive(Debug)]
pub(super) struct Trees {
    directory: PathBuf,
    program: PathBuf,
    /// One at a time: packing takes what processors there are, and two may want the same.
    packing: Mutex<()>,
}

impl Trees {
    /// Looks for the packer, and removes what an earlier one left.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        let program = layer::find("mksquashfs").ok_or_else(|| {
            io::Error::other("mksquashfs is missing; install it with: apt-get install -y squashfs-tools")
        })?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { directory, program, packing: Mutex::default() })
    }

    /// The packed form of the release in this directory; packs it if need be.
    pub(super) fn pack(&self, release: &Path) -> io::Result<PathBuf> {
        let _held = self.packing.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name(release)?;
        let packed = self.directory.join(&name);
        if packed.exists() {
            return Ok(packed);
        }
        self.prune()?;
        let new = self.directory.join(format!("{UNFINISHED}{name}"));
        let _ = fs::remove_file(&new);
        self.run(release, &new)?;
        fs::write(self.directory.join(source(&name)), release.as_os_str().as_encoded_bytes())?;
        fs::rename(&new, &packed)?;
        Ok(packed)
    }

    /// lz4: anything denser costs an emulated machine seconds. In the machine the files are the app's user's.
    fn run(&self, release: &Path, to: &Path) -> io::Result<()> {
        let user = APP_USER.to_string();
        let made = Command::new(&self.program)
            .arg(release)
            .arg(to)
            .args(["-comp", "lz4", "-noappend", "-no-progress", "-quiet", "-no-xattrs"])
            .args(["-force-uid", &user, "-force-gid", &user])
            .env_clear()
            .stdin(Stdio::null())
            .output()?;
        if made.status.success() {
            return Ok(());
        }
        let _ = fs::remove_file(to);
        Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()))
    }

    /// Removes what was packed from releases that are not there any more.
    fn prune(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "source") {
                continue;
            }
            let release = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            if !Path::new(&release).exists() {
                // The packed one first: without its source nobody would look at it again.
                let _ = fs::remove_file(path.with_extension(""));
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn source(name: &str) -> String {
    format!("{name}.source")
}

/// A release never changes, so its directory names it: which one, and since when.
fn name(release: &Path) -> io::Result<String> {
    let release = release.canonicalize()?;
    let known = fs::metadata(&release)?;
    let mut hash = Sha256::new();
    hash.update(release.as_os_str().as_encoded_bytes());
    hash.update(known.ino().to_le_bytes());
    hash.update(known.ctime().to_le_bytes());
    hash.update(known.ctime_nsec().to_le_bytes());
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_packed_once_and_goes_with_it() {
        let directory = tempfile::tempdir().expect("directory");
        let cache = directory.path().join("cache");
        fs::create_dir(&cache).expect("made");
        let trees = Trees::open(cache.clone()).expect("squashfs-tools are installed");
        let release = directory.path().join("release");
        fs::create_dir(&release).expect("made");
        fs::write(release.join("hello"), "hello").expect("written");
        let packed = trees.pack(&release).expect("packed");
        let inode = fs::metadata(&packed).expect("there").ino();
        assert_eq!(trees.pack(&release).expect("packed"), packed);
        assert_eq!(fs::metadata(&packed).expect("there").ino(), inode, "not packed again");
        fs::remove_dir_all(&release).expect("removed");
        let other = directory.path().join("other");
        fs::create_dir(&other).expect("made");
        trees.pack(&other).expect("packed");
        assert!(!packed.exists(), "what no release stands behind is removed");
    }
}
