//! A durable file of the router's state: written beside itself and renamed, so that a crash leaves the old or the new one. It carries its length
//! and a checksum, because half of it must never be used. Nothing may be acknowledged before [`Durable::save`] returned.

use crate::error::Error;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A file with one value in it, as JSON; only its owner can read it.
#[derive(Debug)]
pub(crate) struct Durable {
    directory: PathBuf,
    name: &'static str,
}

impl Durable {
    /// The file of this name, there or not.
    pub(crate) fn new(directory: &Path, name: &'static str) -> Self {
        Self { directory: directory.to_owned(), name }
    }

    /// What was saved last; `None` if nothing was. A file that is not whole is kept aside for a person to see.
    pub(crate) fn load<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let path = self.directory.join(self.name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::State { path, doing: "it cannot be read", source }),
        };
        match self.parse(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(why) => {
                let aside = self.directory.join(format!("{}.corrupt", self.name));
                tracing::error!(file = %path.display(), why, kept = %aside.display(),
                    "a saved file is corrupt: starting without it, the server will send what belongs there");
                let renamed = fs::rename(&path, &aside);
                renamed.map_err(|source| Error::State { path, doing: "it cannot be renamed", source })?;
                Ok(None)
            }
        }
    }

    /// What was saved last, as far as it can be read, while somebody else may save; nothing is moved.
    pub(crate) fn peek<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let path = self.directory.join(self.name);
        let failed = |source| Error::State { path: path.clone(), doing: "it cannot be read", source };
        match fs::read(&path) {
            Ok(bytes) => self.parse(&bytes).map(Some).map_err(|why| failed(io::Error::other(why))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes the value durable: written, fsynced, renamed, the directory fsynced.
    pub(crate) fn save<T: serde::Serialize>(&self, value: &T) -> Result<(), Error> {
        let bytes = self.render(value)?;
        let (new, path) = (self.directory.join(format!("{}.new", self.name)), self.directory.join(self.name));
        let failed = |doing| {
            let path = path.clone();
            move |source| Error::State { path, doing, source }
        };
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new);
        let mut file = file.map_err(failed("the new file cannot be made"))?;
        file.write_all(&bytes).map_err(failed("the new file cannot be written"))?;
        file.sync_all().map_err(failed("the new file cannot be fsynced"))?;
        fs::rename(&new, &path).map_err(failed("the new file cannot be renamed"))?;
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(failed("the directory cannot be fsynced"))
    }

    fn magic(&self) -> String {
        format!("teal-router-{} 1", self.name)
    }

    fn render<T: serde::Serialize>(&self, value: &T) -> Result<Vec<u8>, Error> {
        let body = serde_json::to_vec(value).map_err(Error::Serialise)?;
        let mut bytes = format!("{} {} {:016x}\n", self.magic(), body.len(), checksum(&body)).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, String> {
        let end = bytes.iter().position(|b| *b == b'\n').ok_or("it has no first line")?;
        let (line, body) = (&bytes[..end], &bytes[end + 1..]);
        let line = std::str::from_utf8(line).map_err(|_| "its first line is not text")?;
        let numbers = line.strip_prefix(&self.magic()).ok_or("its first line is not that of such a file")?;
        let expected = format!(" {} {:016x}", body.len(), checksum(body));
        if numbers != expected {
            return Err(format!(
                "length or checksum differ: the file says{numbers}, its content is{expected}"
            ));
        }
        serde_json::from_slice(body).map_err(|error| format!("it does not parse: {error}"))
    }
}

/// FNV-1a: finds torn and rotten files, protects from nobody.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_value_comes_back_as_it_was_and_only_to_its_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = Durable::new(directory.path(), "table");
        assert_eq!(file.load::<Vec<u32>>().expect("loads"), None);
        file.save(&vec![1, 2]).expect("saves");
        assert_eq!(file.load::<Vec<u32>>().expect("loads"), Some(vec![1, 2]));
        let mode = fs::metadata(directory.path().join("table")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn every_torn_or_changed_file_is_kept_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = Durable::new(directory.path(), "table");
        let whole = file.render(&vec![7; 5]).expect("renders");
        for cut in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            for bad in [&whole[..cut], &flipped[..]] {
                fs::write(directory.path().join("table"), bad).expect("writes");
                assert_eq!(file.load::<Vec<u32>>().expect("loads"), None, "at {cut}");
                let aside = directory.path().join("table.corrupt");
                assert_eq!(fs::read(&aside).expect("kept"), bad);
                fs::remove_file(aside).expect("removes");
            }
        }
    }
}
