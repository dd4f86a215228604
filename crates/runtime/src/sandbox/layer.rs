//! Writable layers: sparse files with an ext4 file system, so that a full disk is the app's own.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use teal_core::agent::Layer;

const IMAGE: &str = "layer.img";
const DIRECTORY: &str = "layer";

/// The smallest that mkfs makes something useful of, in MiB.
const SMALLEST: u64 = 8;

/// How long a loop device may take to be free again after the last mount has gone.
const RELEASE: Duration = Duration::from_secs(10);

/// How layers are made on this host.
#[derive(Debug, Clone)]
pub(crate) enum Layers {
    /// With this program.
    Images(PathBuf),
    /// As plain directories, for this reason: without a limit.
    Directories(String),
}

impl Layers {
    /// Looks at what the host has.
    pub(crate) fn detect() -> Self {
        let Some(mkfs) = find("mkfs.ext4") else {
            return Self::Directories("mkfs.ext4 is missing (apt-get install -y e2fsprogs)".to_owned());
        };
        if Path::new("/dev/loop-control").exists() {
            return Self::Images(mkfs);
        }
        Self::Directories("there are no loop devices (modprobe loop)".to_owned())
    }

    /// Makes an empty layer of `mib` MiB in `run`.
    pub(crate) fn make(&self, run: &Path, mib: u64) -> io::Result<Layer> {
        match self {
            Self::Images(mkfs) => {
                let image = run.join(IMAGE);
                format(mkfs, &image, mib.max(SMALLEST))?;
                Ok(Layer::Image(image))
            }
            Self::Directories(_) => {
                let directory = run.join(DIRECTORY);
                super::places::private(&directory)?;
                Ok(Layer::Directory(directory))
            }
        }
    }
}

/// No journal, and no waiting for inode tables: the file lives as long as one instance, and is never repaired.
pub(crate) fn format(mkfs: &Path, image: &Path, mib: u64) -> io::Result<()> {
    let file = File::create(image)?;
    file.set_len(mib.saturating_mul(1024 * 1024))?;
    let made = Command::new(mkfs)
        .args(["-q", "-F", "-m", "0", "-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        .arg(image)
        .env_clear()
        .stdin(Stdio::null())
        .output()?;
    if made.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_owned()))
}

/// Waits until no loop device uses the layer in `run` any more: namespaces are taken down behind the last process's back.
pub(crate) fn await_release(run: &Path) -> io::Result<()> {
    let image = run.join(IMAGE);
    let until = Instant::now() + RELEASE;
    while in_use(&image) {
        if Instant::now() > until {
            return Err(io::Error::other(format!("{} is still mounted somewhere", image.display())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn in_use(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = devices.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
    backing.into_iter().any(|file| Path::new(file.trim_end().trim_end_matches(" (deleted)")) == image)
}

/// A program of the host's system directories, whatever the server's own PATH says.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        .iter()
        .map(|d| Path::new(d).join(program))
        .find(|path| path.is_file())
}
