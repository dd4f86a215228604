//! Where a build's package managers keep what they fetch: a directory of the build, or one that is kept for the app's next build.
//!
//! Builds write what they like there, so it is only ever given to builds of the same app, and nothing here follows what is in it.

use super::detect::Variables;
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use walkdir::WalkDir;

/// Where it is inside.
pub(super) const INSIDE: &str = "/var/cache/teal";
/// A kept cache that is larger, in bytes, is begun anew by the next build.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// The variables that lead package managers there: never into the app's own directory, for that is sealed.
pub(super) fn variables() -> Variables {
    let below = |name: &str| format!("{INSIDE}/{name}");
    let all = [
        ("HOME", below("home")),
        ("TEAL_CACHE", INSIDE.to_owned()),
        ("XDG_CACHE_HOME", below("xdg")),
        ("npm_config_cache", below("npm")),
        ("YARN_CACHE_FOLDER", below("yarn")),
        ("BUN_INSTALL_CACHE_DIR", below("bun")),
        ("PIP_CACHE_DIR", below("pip")),
        ("UV_CACHE_DIR", below("uv-cache")),
    ];
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where Debian keeps the certificate authorities that the operator trusts, on the host and inside.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Package managers that bring authorities of their own are told of the operator's: a mirror may have a certificate of the house.
pub(super) fn authorities() -> Variables {
    if !Path::new(AUTHORITIES).exists() {
        return Variables::new();
    }
    let names = ["NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
    names.into_iter().map(|name| (name.to_owned(), AUTHORITIES.to_owned())).collect()
}

/// The app's kept cache, in `directory`, which is emptied first if it grew too large.
pub(super) fn kept(directory: &Path) -> io::Result<PathBuf> {
    let (files, full) = (directory.join("files"), directory.join("full"));
    if full.exists() {
        let bin = directory.join(".bin");
        crate::release::remove(&bin).map_err(io::Error::other)?;
        match fs::rename(&files, &bin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(&full)?;
        crate::release::in_background(move || drop(crate::release::remove(&bin)));
    }
    Ok(files)
}

/// Makes the directory, with a home in it.
pub(super) fn prepare(files: PathBuf) -> io::Result<PathBuf> {
    fs::create_dir_all(&files)?;
    // One level only: what an earlier build left there may be a link.
    match fs::create_dir(files.join("home")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(files),
    }
}

/// Notes whether the kept cache grew too large. It is not emptied at once, for the next build may use it already.
pub(super) fn measure(directory: &Path) {
    if size(&directory.join("files")) > MAX_BYTES
        && let Err(error) = fs::write(directory.join("full"), "")
    {
        tracing::warn!(%error, "a dependency cache that is too large cannot be marked");
    }
}

/// The bytes of all files below, as they are written down: one with holes counts as if it had none.
pub(super) fn size(files: &Path) -> u64 {
    let entries = WalkDir::new(files).follow_links(false).into_iter().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len());
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_kept_until_it_is_marked_as_too_large() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = prepare(kept(directory.path()).expect("a place")).expect("made");
        fs::write(files.join("package"), "12345").expect("written");
        assert!(size(&files) >= 5);
        measure(directory.path());
        assert!(prepare(kept(directory.path()).expect("a place")).expect("made").join("package").exists());
        fs::write(directory.path().join("full"), "").expect("marked");
        let files = prepare(kept(directory.path()).expect("a place")).expect("made");
        assert!(files.join("home").is_dir() && !files.join("package").exists());
        assert!(!directory.path().join("full").exists());
    }
}
