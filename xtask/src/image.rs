//! The image that tests run on: built once into `target/images` by `teal image build`, and again only when what goes into it changes.

use crate::packages;
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

/// What is built.
const NAME: &str = "debian-12";

/// What goes into an image, of what is tracked: how it is made, and the agent in it.
const SOURCES: [&str; 5] = [
    "crates/server/src/images",
    "crates/agent",
    "crates/core/src/agent.rs",
    "crates/core/src/image.rs",
    "Cargo.lock",
];

/// Builds it if it is not there, and prints its directory. Without root there is none, and tests that need it say so.
pub(crate) fn run() -> Result<()> {
    if let Some(there) = built()? {
        println!("{}", there.display());
        return Ok(());
    }
    if !packages::is_root()? {
        println!("SKIPPED: an image is built as root; tests that need one are skipped");
        return Ok(());
    }
    packages::install()?;
    let (home, key) = (home(), key()?);
    // Older ones: half a gigabyte each.
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    fs::create_dir_all(&home)?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--locked", "--quiet", "-p", "teal-cli", "--", "image", "build", NAME, "--directory"])
        .arg(&home)
        .status()?;
    if !status.success() {
        bail!("the image was not built; the reason is above");
    }
    fs::write(home.join(".key"), key)?;
    println!("{}", built()?.context("the image is not where it was built")?.display());
    Ok(())
}

/// The image's directory, if it is there and still what would be built.
pub(crate) fn built() -> Result<Option<PathBuf>> {
    let home = home();
    if fs::read_to_string(home.join(".key")).ok() != Some(key()?) {
        return Ok(None);
    }
    let mut versions = fs::read_dir(&home)?.flatten().map(|entry| entry.path());
    Ok(versions.find(|path| path.join("manifest.json").is_file()))
}

fn home() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(&target).unwrap_or(target).join("images")
}

/// Changes when one of the sources does.
fn key() -> Result<String> {
    let mut sum = DefaultHasher::new();
    for source in SOURCES {
        for entry in walkdir::WalkDir::new(Path::new(source)).sort_by_file_name() {
            let entry = entry.with_context(|| source.to_owned())?;
            if entry.file_type().is_file() {
                entry.path().hash(&mut sum);
                fs::read(entry.path())?.hash(&mut sum);
            }
        }
    }
    Ok(format!("{:016x}", sum.finish()))
}
