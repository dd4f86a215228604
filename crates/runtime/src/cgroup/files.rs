//! Reading and writing the small files that a hierarchy is made of.

use super::Error;
use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Between two looks at a condition that the kernel gives no event for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(5);

fn failed(path: PathBuf, verb: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { path, verb, source }
}

/// Makes a group's directory; fine if it is there.
pub(crate) fn make(path: &Path) -> Result<PathBuf, Error> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed(path.to_owned(), "made")(error))
        }
        _ => Ok(path.to_owned()),
    }
}

/// Writes one value.
pub(crate) fn write(dir: &Path, name: &str, value: &str) -> Result<(), Error> {
    let path = dir.join(name);
    // Never created: a file that the kernel does not offer is an error.
    let file = fs::OpenOptions::new().write(true).open(&path);
    file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(failed(path, "written"))
}

/// Reads a whole file.
pub(crate) fn read(dir: &Path, name: &str) -> Result<String, Error> {
    let path = dir.join(name);
    fs::read_to_string(&path).map_err(failed(path, "read"))
}

/// The number behind `key` in a file of `key number` lines.
pub(crate) fn keyed(dir: &Path, name: &str, key: &str) -> Result<u64, Error> {
    let text = read(dir, name)?;
    let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == key);
    Ok(value.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0))
}

/// Does the file list all of `words`?
pub(crate) fn lists(dir: &Path, name: &str, words: &[&str]) -> bool {
    let text = read(dir, name).unwrap_or_default();
    words.iter().all(|word| text.split_whitespace().any(|found| found == *word))
}

/// The groups directly below.
pub(crate) fn children(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Removes a group and those below it. An ending process holds its group for a moment (EBUSY): tried again until then.
pub(crate) fn remove(dir: &Path, until: Instant) -> Result<(), Error> {
    for name in children(dir) {
        remove(&dir.join(name), until)?;
    }
    loop {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                thread::sleep(LOOK_AGAIN)
            }
            Err(error) => return Err(failed(dir.to_owned(), "removed")(error)),
        }
    }
}
