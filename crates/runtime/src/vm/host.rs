//! What machines need of this host: an emulator, its version, the processor's counter and flags.

use crate::sandbox::{launcher::Program, layer};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// How long the counter may take to be measured.
const MEASURE: Duration = Duration::from_secs(20);

/// What was found on this host.
#[derive(Debug)]
pub(super) struct Host {
    /// The emulator.
    pub(super) emulator: PathBuf,
    /// What it says about itself.
    pub(super) version: String,
    /// What writable layers are made with.
    pub(super) mkfs: PathBuf,
    /// What memory is packed with.
    pub(super) zstd: PathBuf,
    /// The frequency of the time stamp counter, in kHz.
    pub(super) tsc_khz: u64,
    /// The processor's flags: a machine that ran with others must not go on with these.
    pub(super) flags: String,
    digests: Mutex<HashMap<(PathBuf, u64, SystemTime), String>>,
}

impl Host {
    /// Looks for all of it.
    pub(super) fn find(program: &Program) -> io::Result<Self> {
        let emulator = tool(&format!("qemu-system-{}", std::env::consts::ARCH), "qemu-system-x86")?;
        Ok(Self {
            version: version(&emulator)?,
            emulator,
            mkfs: tool("mkfs.ext4", "e2fsprogs")?,
            zstd: tool("zstd", "zstd")?,
            tsc_khz: program.start("tsc", "measure")?.receive(MEASURE)?,
            flags: flags()?,
            digests: Mutex::default(),
        })
    }

    /// The SHA-256 of a file in hex, found out once as long as it does not change.
    pub(super) fn digest(&self, path: &Path) -> io::Result<String> {
        let known = fs::metadata(path)?;
        let key = (path.to_owned(), known.len(), known.modified()?);
        if let Some(digest) = self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(digest.clone());
        }
        let digest = sha256(&mut File::open(path)?)?;
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest.clone());
        Ok(digest)
    }
}

/// The group that may use the processor for machines, unless it is root's: then nobody but root may.
pub(super) fn kvm_group() -> Option<u32> {
    fs::metadata("/dev/kvm").ok().map(|device| device.gid()).filter(|group| *group != 0)
}

/// The SHA-256 of what is left of a file, in hex.
pub(super) fn sha256(from: &mut File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn tool(name: &str, package: &str) -> io::Result<PathBuf> {
    let missing =
        || io::Error::other(format!("{name} is missing; install it with: apt-get install -y {package}"));
    layer::find(name).ok_or_else(missing)
}

fn version(emulator: &Path) -> io::Result<String> {
    let said = Command::new(emulator).arg("--version").env_clear().stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.lines()
        .next()
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("the emulator does not say its version"))
}

fn flags() -> io::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let wanted = |line: &&str| line.starts_with("flags") || line.starts_with("model name");
    let mut found: Vec<&str> = text.lines().filter(wanted).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found.join("\n"))
}
