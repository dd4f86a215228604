//! Small files that a crash leaves whole, the old or the new one: written beside themselves, fsynced and renamed. Only their owner reads them. Nothing
//! may rely on one before [`write`] returned.

use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// What is in the file; `None` if there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file by this value, as JSON; durable when this returns.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = parent.join(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_written_replaces_what_was_there_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("record.json");
        assert_eq!(read(&path).expect("readable"), None);
        fs::write(directory.path().join("record.json.new"), "what a crash has left").expect("written");
        for text in ["longer than the next", "short"] {
            write(&path, &text).expect("written");
            let expected = serde_json::to_vec(text).expect("text");
            assert_eq!(read(&path).expect("readable"), Some(expected));
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1, "nothing is left beside it");
    }
}
