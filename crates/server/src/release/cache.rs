//! The build cache: which release was built from what. A file per key, whose content is the release's name; losing one costs a build.

use super::{Error, Release, Releases, touch};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt::Write, fs, io, path::PathBuf};
use teal_core::id::{AppId, ReleaseId};

/// What a build depends on.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The app: one app never gets what another one built.
    pub app: &'a AppId,
    /// The full hash.
    pub commit: &'a str,
    /// The image's version.
    pub image: &'a str,
    /// The app's setting.
    pub kind: Option<&'a str>,
    /// The user's variables. All of them are given to the build, so all count but those that `AFTERWARDS` names.
    pub variables: &'a BTreeMap<String, String>,
}

/// Variables (or beginnings of their names) that neither a build nor a start sees the effect of.
const AFTERWARDS: [&str; 6] = [
    "CC_DISABLE_BUILD_CACHE_UPLOAD",
    "CC_HEALTH_CHECK_",
    "CC_RUN_FAILED_HOOK",
    "CC_RUN_SUCCEEDED_HOOK",
    "CC_TASK",
    "CC_WORKER_RESTART",
];

impl Key<'_> {
    /// The key as text: safe as a file's name, and no variable can be read from it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut sum = Sha256::new();
        let mut field = |bytes: &str| {
            sum.update((bytes.len() as u64).to_le_bytes());
            sum.update(bytes);
        };
        field("2");
        field(self.app.as_str());
        field(self.commit);
        field(self.image);
        field(self.kind.unwrap_or_default());
        let counts = |name: &&String| !AFTERWARDS.iter().any(|start| name.starts_with(start));
        for (name, value) in self.variables.iter().filter(|(name, _)| counts(name)) {
            field(name);
            field(value);
        }
        hex(&sum.finalize()[..20])
    }
}

impl Releases {
    /// The release that was built from this, if it is still there.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn cached(&self, key: &str) -> Result<Option<Release>, Error> {
        let Ok(text) = fs::read_to_string(self.entry(key)) else { return Ok(None) };
        let Ok(id) = text.trim().parse() else { return Ok(None) };
        let release = self.get(&id)?;
        if release.is_some() {
            touch(&self.home(&id))?;
        }
        Ok(release)
    }

    /// Notes that this was built into that release.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn remember(&self, key: &str, release: &ReleaseId) -> Result<(), Error> {
        let (path, new) = (self.entry(key), self.entry(&format!(".{key}")));
        fs::write(&new, release.as_str()).map_err(Error::io("write", &new))?;
        fs::rename(&new, &path).map_err(Error::io("write", &path))
    }

    pub(super) fn forget_missing(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.cache).map_err(Error::io("list", &self.cache))? {
            let path = entry.map_err(Error::io("list", &self.cache))?.path();
            let id = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<ReleaseId>().ok());
            if id.is_some_and(|id| self.home(&id).join("meta.json").exists()) {
                continue;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(&self, key: &str) -> PathBuf {
        self.cache.join(key)
    }
}

/// The name of a release with this content.
pub(super) fn named(sum: &[u8; 32]) -> ReleaseId {
    // `r-` and hexadecimal digits are always legal.
    #[allow(clippy::unwrap_used)]
    format!("r-{}", hex(&sum[..16])).parse().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
