//! Reads the logs that instances write ([`LogLine`]s in a file that is rotated to `.1`): the last lines, and what is new.
//! What an instance writes is hostile: lines that do not parse are passed over, and no call reads more than a bounded part.

use nix::fcntl::OFlag;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use teal_runtime::LogLine;

/// The most that one call reads.
const MAX_READ: u64 = 4 * 1024 * 1024;

/// Where a reader is in a log.
#[derive(Debug, Clone)]
pub struct Follower {
    path: PathBuf,
    inode: u64,
    offset: u64,
}

impl Follower {
    /// Begins at the log's present end: what was written before is not told again.
    #[must_use]
    pub fn at_end(path: PathBuf) -> Self {
        let (inode, offset) = std::fs::metadata(&path).map_or((0, 0), |facts| (facts.ino(), facts.len()));
        Self { path, inode, offset }
    }

    /// Begins at the log's first line.
    #[must_use]
    pub fn at_begin(path: PathBuf) -> Self {
        Self { path, inode: 0, offset: 0 }
    }

    /// The lines that came since the last call. Half-written lines wait for the next call.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn more(&mut self) -> io::Result<Vec<LogLine>> {
        let Some(file) = opened(&self.path)? else { return Ok(Vec::new()) };
        let facts = file.metadata()?;
        let mut lines = Vec::new();
        if facts.ino() != self.inode || facts.len() < self.offset {
            if self.inode != 0 {
                self.rest_of_old(&mut lines)?;
            }
            (self.inode, self.offset) = (facts.ino(), 0);
        }
        self.offset += read_lines(file, self.offset, &mut lines)?;
        Ok(lines)
    }

    /// The log was rotated since the last call: what had not been read of the old file.
    fn rest_of_old(&self, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let old = opened(&rotated(&self.path))?;
        match old.filter(|file| file.metadata().is_ok_and(|facts| facts.ino() == self.inode)) {
            Some(file) => read_lines(file, self.offset, lines).map(drop),
            None => Ok(()),
        }
    }
}

/// The last lines of a log, at most `count`.
#[must_use]
pub fn tail(path: &Path, count: usize) -> Vec<LogLine> {
    let mut lines = Vec::new();
    for path in [rotated(path), path.to_owned()] {
        if let Ok(Some(file)) = opened(&path) {
            let begin = file.metadata().map_or(0, |facts| facts.len().saturating_sub(MAX_READ / 8));
            let _ = read_lines(file, begin, &mut lines);
        }
    }
    lines.split_off(lines.len().saturating_sub(count))
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn opened(path: &Path) -> io::Result<Option<File>> {
    // The directory belongs to the instance: a link in it must not lead the server anywhere.
    match OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads whole lines from `offset` on; how many bytes they took.
fn read_lines(mut file: File, offset: u64, lines: &mut Vec<LogLine>) -> io::Result<u64> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let parsed =
        bytes[..whole].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    lines.extend(parsed);
    Ok(whole as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(text: &str) -> String {
        serde_json::to_string(&LogLine { at: 1, stage: "start".into(), error: false, text: text.into() })
            .expect("serialises")
            + "\n"
    }

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn nothing_is_lost_or_told_twice_across_rotation() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("log");
        let mut follower = Follower::at_begin(path.clone());
        assert!(follower.more().expect("reads").is_empty());
        let mut file = File::create(&path).expect("creates");
        write!(file, "{}{}", line("one"), &line("two")[..10]).expect("writes");
        assert_eq!(texts(follower.more().expect("reads")), ["one"]);
        write!(file, "{}{}", &line("two")[10..], line("three")).expect("writes");
        std::fs::rename(&path, rotated(&path)).expect("renames");
        std::fs::write(&path, line("four")).expect("writes");
        assert_eq!(texts(follower.more().expect("reads")), ["two", "three", "four"]);
        assert_eq!(texts(tail(&path, 2)), ["three", "four"]);
    }
}
