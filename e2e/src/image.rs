//! Images as the server finds them, for tests of what happens when there is another one.

use anyhow::Result;
use serde_json::json;
use std::{fs, path::Path};
use teal_core::{
    image::{MANIFEST, Manifest},
    time::Time,
};

/// Makes an image of this version below a host's directory; `openssl` is the version of its one package. The image that was built last is the one that
/// pushes are built on.
///
/// # Errors
/// If it cannot be written.
pub fn make(host: &Path, version: &str, built: u64, openssl: &str) -> Result<()> {
    let directory = host.join("data/images").join(version);
    fs::create_dir_all(&directory)?;
    let manifest = Manifest {
        name: "debian-12".into(),
        version: version.into(),
        hash: "0".repeat(64),
        built: Time(built),
        kernel: String::new(),
        agent: "0".repeat(64),
        packages: [("openssl".to_owned(), openssl.to_owned())].into(),
    };
    // The manifest comes last: a directory without it is no image.
    let new = directory.join("new");
    fs::write(&new, json!(manifest).to_string())?;
    Ok(fs::rename(new, directory.join(MANIFEST))?)
}
