//! The steps from a recipe to a version on the shelf. Whatever happens on the way, the shelf has the whole version afterwards, or nothing.
//!
//! It blocks for about a minute and belongs to a thread of its own, with which its programs end.

use super::{
    Error,
    apt::Apt,
    initrd, kernel,
    packages::{self, Planned},
    recipe::Recipe,
    shelf::{self, Shelf},
    stop::Stop,
    tool::{self, CHANGED, Tool},
};
use crate::world::now;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use teal_core::image::{INITRD, KERNEL, Manifest, ROOT};

/// What a build needs at most on the disk, in bytes.
const SPACE: u64 = 3 << 30;

/// With so much memory free, in bytes, the tree is made in memory: a third less time.
const PLENTY: u64 = 5 << 30;

/// How much of it the tree may take.
const TREE: &str = "mode=755,size=3g";

/// Characters of the hash in a version's name.
const SHORT: usize = 12;

/// Makes a version, telling what is going on.
pub(super) fn run(
    shelf: &Shelf,
    recipe: &'static Recipe,
    stop: &Stop,
    say: &dyn Fn(&str),
) -> Result<Manifest, Error> {
    tool::check()?;
    let work = Work::new(shelf, stop)?;
    let apt = Apt::prepare(work.path("apt"), recipe, stop)?;
    say("fetches the lists of packages");
    apt.update(&|_| ())?;
    let planned = apt.plan()?;
    let (kernel, system) = planned.split_last().ok_or_else(|| Error::Kernel("apt named none".to_owned()))?;
    say(&format!("installs {} packages into an empty directory", system.len()));
    work.memory();
    install(&work, &apt, recipe, say)?;
    let mut packages = packages(&work.path("root"))?;
    packages.insert(kernel.name.clone(), kernel.version.clone());
    say(&format!("takes the kernel and its modules from {}", kernel.name));
    fs::create_dir(work.path("out")).map_err(Error::io("make", &work.path("out")))?;
    let release = boot_files(&work, &apt, recipe, kernel)?;
    say("packs the root file system");
    tidy(&work.path("root"), recipe)?;
    squash(&work)?;
    stop.check()?;
    let mut manifest = manifest(&work, recipe, release, packages)?;
    manifest.security = secured(&planned, &manifest.packages);
    // The last moment: from here on there is a version.
    stop.check()?;
    shelf.place(&work.path("out"), &manifest)?;
    Ok(manifest)
}

/// Those packages whose version here is in a source of security updates.
fn secured(planned: &[Planned], packages: &BTreeMap<String, String>) -> BTreeSet<String> {
    let here = |planned: &&Planned| packages.get(&planned.name) == Some(&planned.version);
    planned.iter().filter(|planned| planned.security).filter(here).map(|p| p.name.clone()).collect()
}

/// How a rebuilt image would be: everything that would be installed now.
pub(super) fn plan(shelf: &Shelf, recipe: &'static Recipe) -> Result<Vec<Planned>, Error> {
    tool::check()?;
    let stop = Stop::default();
    let work = Work::new(shelf, &stop)?;
    let apt = Apt::prepare(work.path("apt"), recipe, &stop)?;
    apt.update(&|_| ())?;
    apt.plan()
}

/// A directory that goes with its value, with what is mounted in it.
struct Work {
    path: PathBuf,
    stop: Stop,
}

impl Work {
    fn new(shelf: &Shelf, stop: &Stop) -> Result<Self, Error> {
        let work = Self { path: shelf.work()?, stop: stop.clone() };
        let found = nix::sys::statvfs::statvfs(&work.path)
            .map_err(io::Error::from)
            .map_err(Error::io("look at", &work.path))?;
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        if free < SPACE { Err(Error::Space { path: work.path.clone(), free }) } else { Ok(work) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn tool(&self, program: &str) -> Tool {
        Tool::new(program, &self.stop)
    }

    /// Puts the tree into memory if there is plenty of it; the disk is as good, only slower.
    fn memory(&self) {
        let root = self.path("root");
        if available() < PLENTY || fs::create_dir(&root).is_err() {
            return;
        }
        let flags = nix::mount::MsFlags::MS_NOATIME;
        if let Err(error) = nix::mount::mount(Some("tmpfs"), &root, Some("tmpfs"), flags, Some(TREE)) {
            tracing::info!(%error, "an image's tree is made on the disk");
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = shelf::clear(&self.path) {
            tracing::warn!(%error, "what a build of an image left is removed at the next start");
        }
    }
}

/// Memory that programs could have, in bytes.
fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

fn install(work: &Work, apt: &Apt, recipe: &Recipe, say: &dyn Fn(&str)) -> Result<(), Error> {
    let excluded = recipe.unwanted.iter().map(|path| format!("--dpkgopt=path-exclude={path}"));
    let mut tool = work
        .tool("mmdebstrap")
        .args(&["--mode=root", "--variant=essential", "--format=directory", "--dpkgopt=force-unsafe-io"])
        .arg(format!("--aptopt={}", apt.settings().display()))
        .args(&["--aptopt=Acquire::Languages \"none\"", "--aptopt=Dir::Etc::netrc \"/etc/apt/auth.conf\""])
        .arg("--aptopt=Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\"")
        .arg(format!("--include={}", recipe.packages.join(",")))
        .env("SOURCE_DATE_EPOCH", CHANGED)
        .env("PYTHONHASHSEED", "0")
        .env("TMPDIR", &work.path);
    for option in excluded {
        tool = tool.arg(option);
    }
    tool.arg(recipe.suite).arg(work.path("root")).arg(apt.sources()).run(say)
}

fn packages(root: &Path) -> Result<BTreeMap<String, String>, Error> {
    let path = root.join("var/lib/dpkg/status");
    let status = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(packages::installed(&status))
}

/// Kernel and first file system; answers the kernel's release.
fn boot_files(work: &Work, apt: &Apt, recipe: &Recipe, package: &Planned) -> Result<String, Error> {
    let file = apt.download(package, &work.path("download"))?;
    let tree = work.path("kernel");
    work.tool("dpkg-deb").arg("--extract").arg(file).arg(&tree).finish()?;
    let release = only(&tree.join("lib/modules"))?;
    unpack(work, &tree.join(format!("boot/vmlinuz-{release}")))?;
    let agent = teal_runtime::agent::PROGRAM;
    let archive = initrd::make(&tree.join("lib/modules").join(&release), recipe, agent)?;
    write(&work.path("out").join(INITRD), &archive)?;
    Ok(release)
}

/// The one name in a directory.
fn only(directory: &Path) -> Result<String, Error> {
    let mut names = fs::read_dir(directory).map_err(Error::io("read", directory))?.flatten();
    let name = names.next().and_then(|entry| entry.file_name().into_string().ok());
    name.ok_or_else(|| Error::Kernel("its package holds no modules".to_owned()))
}

/// Writes the kernel as a virtual machine starts it.
fn unpack(work: &Work, file: &Path) -> Result<(), Error> {
    let bytes = fs::read(file).map_err(Error::io("read", file))?;
    let range = kernel::packed(&bytes).map_err(|why| Error::Kernel(why.to_owned()))?;
    let packed = work.path("kernel.lz4");
    write(&packed, &bytes[range])?;
    let out = work.path("out").join(KERNEL);
    let to = File::create(&out).map_err(Error::io("make", &out))?;
    work.tool("lz4").args(&["--decompress", "--stdout"]).arg(&packed).into_file(to).finish()?;
    let mut first = [0; 4];
    File::open(&out).and_then(|mut file| file.read_exact(&mut first)).map_err(Error::io("read", &out))?;
    if kernel::is_unpacked(&first) {
        Ok(())
    } else {
        Err(Error::Kernel("what is packed in it is no kernel".to_owned()))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    File::create(path).and_then(|mut file| file.write_all(bytes)).map_err(Error::io("write", path))
}

/// Removes what must not be in an image.
fn tidy(root: &Path, recipe: &Recipe) -> Result<(), Error> {
    for name in recipe.removed {
        let path = root.join(name.trim_end_matches('/'));
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let removed = if !found.is_dir() {
            fs::remove_file(&path)
        } else if name.ends_with('/') {
            empty(&path)
        } else {
            fs::remove_dir_all(&path)
        };
        removed.map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// Removes what is in a directory, which keeps its owner and mode.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

/// The same tree gives the same bytes: times are fixed, and the tool sorts names itself.
fn squash(work: &Work) -> Result<(), Error> {
    work.tool("mksquashfs")
        .arg(work.path("root"))
        .arg(work.path("out").join(ROOT))
        .args(&["-comp", "lz4", "-noappend", "-no-xattrs", "-no-progress", "-quiet"])
        .args(&["-all-time", CHANGED, "-mkfs-time", CHANGED])
        .run(&|_| ())
}

fn manifest(
    work: &Work,
    recipe: &Recipe,
    kernel: String,
    packages: BTreeMap<String, String>,
) -> Result<Manifest, Error> {
    let hash = hash(&work.path("out"))?;
    let short: String = hash.chars().take(SHORT).collect();
    Ok(Manifest {
        name: recipe.name.to_owned(),
        version: format!("{}-{short}", recipe.name),
        hash,
        built: now(),
        kernel,
        agent: agent(),
        packages,
        security: BTreeSet::new(),
    })
}

/// The agent that would be in an image now.
pub(super) fn agent() -> String {
    hex(&Sha256::digest(teal_runtime::agent::PROGRAM))
}

/// Of all content: each file's name, length and bytes.
fn hash(directory: &Path) -> Result<String, Error> {
    let mut sum = Sha256::new();
    for name in [ROOT, KERNEL, INITRD] {
        let path = directory.join(name);
        let read = |sum: &mut Sha256| {
            let mut file = File::open(&path)?;
            sum.update(name.as_bytes());
            sum.update(file.metadata()?.len().to_le_bytes());
            io::copy(&mut file, sum)
        };
        read(&mut sum).map_err(Error::io("read", &path))?;
    }
    Ok(hex(&sum.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::recipe;

    #[test]
    fn what_is_this_hosts_is_not_in_an_image() {
        let recipe = recipe::named("debian-12").expect("a recipe");
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        for path in ["etc/apt/sources.list.d", "var/log/apt", "tmp/x", "usr/bin"] {
            fs::create_dir_all(root.join(path)).expect("made");
        }
        for path in
            ["etc/resolv.conf", "etc/apt/sources.list.d/0.sources", "var/log/apt/history.log", "usr/bin/node"]
        {
            fs::write(root.join(path), "x").expect("written");
        }
        tidy(root, recipe).expect("tidied");
        let left = |path: &str| root.join(path).exists();
        assert!(!left("etc/apt") && !left("etc/resolv.conf") && !left("var/log/apt") && !left("tmp/x"));
        assert!(left("var/log") && left("tmp") && left("usr/bin/node"));
    }

    #[test]
    fn what_came_for_security_is_noted_in_the_version_that_is_installed() {
        let planned = |name: &str, version: &str, security| Planned {
            name: name.into(),
            version: version.into(),
            security,
        };
        let all = [planned("a", "2", true), planned("b", "1", false), planned("c", "9", true)];
        let has = [("a", "2"), ("b", "1"), ("c", "8")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        assert_eq!(secured(&all, &has), BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn the_hash_is_that_of_the_content() {
        let of = |root: &str, kernel: &str| {
            let directory = tempfile::tempdir().expect("a directory");
            for (name, text) in [(ROOT, root), (KERNEL, kernel), (INITRD, "i")] {
                fs::write(directory.path().join(name), text).expect("written");
            }
            hash(directory.path()).expect("read")
        };
        assert_eq!(of("ab", "c"), of("ab", "c"));
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_eq!(of("", "").len(), 64);
    }
}
