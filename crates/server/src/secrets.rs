//! Secrets at rest: sealed with a key file of mode 0600. It must never log a secret, nor accept a key that others can read.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    constant_time, digest, hmac, rand,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

const KEY_LEN: usize = 32;

/// What can be wrong with secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file cannot be used.
    #[error("the key file {path} cannot be used: {why}")]
    KeyFile {
        /// Where it is.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The sealed text was altered, or sealed with another key or for another purpose.
    #[error(
        "a sealed secret does not open: the key file is not the one it was sealed with, or the store was altered"
    )]
    Sealed,
}

/// The server's key. Cheap enough to make where needed, never printed.
pub struct Key {
    bytes: [u8; KEY_LEN],
}

impl Key {
    /// Reads the key file, or makes it (0600, fsynced) if it is not there.
    ///
    /// # Errors
    /// If others can read it, if it has the wrong length, or if it cannot be made.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |why: String| Error::KeyFile { path: path.display().to_string(), why };
        match fs::metadata(path) {
            Ok(facts) if facts.permissions().mode() & 0o077 != 0 => {
                return Err(fail("others may read it; run `chmod 600` on it".into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path).map_err(|e| fail(e.to_string()))?
            }
            Err(error) => return Err(fail(error.to_string())),
        }
        let bytes = fs::read(path).map_err(|e| fail(e.to_string()))?;
        let bytes = bytes.try_into().map_err(|_| fail(format!("it must hold exactly {KEY_LEN} bytes")))?;
        Ok(Self { bytes })
    }

    /// Seals a text for one purpose; it opens only for the same purpose.
    ///
    /// # Errors
    /// Never in practice: if the cipher refuses.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(purpose), &mut sealed)
            .map_err(|_| Error::Sealed)?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// Opens what [`Self::seal`] made.
    ///
    /// # Errors
    /// If it was altered or sealed for another purpose or with another key.
    pub fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
        let mut buffer = rest.to_vec();
        let plain = self
            .cipher()?
            .open_in_place(nonce, Aad::from(purpose), &mut buffer)
            .map_err(|_| Error::Sealed)?;
        Ok(plain.to_vec())
    }

    /// A key of its own for another purpose, e.g. signing sessions.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; KEY_LEN] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.bytes), purpose.as_bytes());
        let mut key = [0; KEY_LEN];
        key.copy_from_slice(&tag.as_ref()[..KEY_LEN]);
        key
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.bytes).map_err(|_| Error::Sealed)
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; KEY_LEN];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    write_private(path, &bytes)
}

/// Writes a file that only its owner can read, durably: written beside, fsynced, renamed.
///
/// # Errors
/// If any of that fails; the old file is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}

/// A new secret of 256 random bits, with a prefix by which scanners know it.
///
/// # Errors
/// If the system has no random numbers.
pub fn new_secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(format!("teal_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is stored of a secret: it has 256 random bits, so a plain hash is enough.
#[must_use]
pub fn hash(secret: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// Compares in constant time.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_the_same_key_and_purpose() {
        let directory = tempfile::tempdir().expect("directory");
        let key = Key::open(&directory.path().join("key")).expect("makes");
        let again = Key::open(&directory.path().join("key")).expect("opens");
        let other = Key::open(&directory.path().join("other")).expect("makes");
        let mut sealed = key.seal("shop", b"s3cret").expect("seals");
        assert!(!sealed.windows(6).any(|w| w == b"s3cret"));
        assert_eq!(again.unseal("shop", &sealed).expect("opens"), b"s3cret");
        assert!(key.unseal("blog", &sealed).is_err());
        assert!(other.unseal("shop", &sealed).is_err());
        sealed[20] ^= 1;
        assert!(key.unseal("shop", &sealed).is_err());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("key");
        Key::open(&path).expect("makes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        assert!(Key::open(&path).is_err());
    }
}
