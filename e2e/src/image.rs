//! Versions of an image as the server finds them, for tests of what happens when there is another one.

use anyhow::{Context, Result};
use serde_json::json;
use std::{fs, os::unix::fs::symlink, path::Path};
use teal_core::{
    image::{INITRD, KERNEL, MANIFEST, Manifest, ROOT},
    time::Time,
};

/// Makes a version below a host's directory with the content of this one (`TEAL_IMAGE`); `openssl` is the version of its one package. The one that was
/// built last is the one that pushes are built on.
///
/// # Errors
/// If it cannot be written.
pub fn make(host: &Path, content: &Path, version: &str, built: u64, openssl: &str) -> Result<()> {
    let directory = host.join("data/images").join(version);
    fs::create_dir_all(&directory)?;
    for file in [ROOT, KERNEL, INITRD] {
        symlink(content.canonicalize()?.join(file), directory.join(file)).with_context(|| file.to_owned())?;
    }
    let manifest = Manifest {
        name: "debian-12".into(),
        version: version.into(),
        hash: "0".repeat(64),
        built: Time(built),
        kernel: String::new(),
        agent: "0".repeat(64),
        packages: [("openssl".to_owned(), openssl.to_owned())].into(),
        security: ["openssl".to_owned()].into(),
    };
    // The manifest comes last: a directory without it is no image.
    let new = directory.join("new");
    fs::write(&new, json!(manifest).to_string())?;
    Ok(fs::rename(new, directory.join(MANIFEST))?)
}
