//! Follows the log file of an instance, across its rotation and across restarts of the server. No line is passed on twice.

use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use teal_runtime::LogLine;

/// At most this much is read at once, in bytes.
const CHUNK: u64 = 256 * 1024;
/// A line that is longer is no line of an agent, and is dropped.
const LONGEST: usize = 512 * 1024;

/// How far a log was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    inode: u64,
    /// Where the first line begins that was not passed on.
    offset: u64,
    /// The number that the receiving log was at.
    number: u64,
}

/// A log that is followed.
pub(super) struct Tail {
    log: PathBuf,
    mark: PathBuf,
    open: Option<Open>,
    /// What was noted before the server stopped.
    noted: Option<Mark>,
    /// Lines that were passed on after that was noted.
    skip: u64,
}

struct Open {
    file: File,
    inode: u64,
    offset: u64,
    partial: Vec<u8>,
}

impl Tail {
    /// Follows `log`, from where the file `mark` says.
    pub(super) fn new(log: PathBuf, mark: PathBuf) -> Self {
        let noted = fs::read(&mark).ok().and_then(|bytes| serde_json::from_slice::<Mark>(&bytes).ok());
        let mut tail = Self { log, mark, open: None, noted, skip: 0 };
        let files = [tail.log.clone(), tail.rotated()];
        tail.open =
            noted.and_then(|noted| files.iter().find_map(|path| Open::at(path, Some(noted)).ok().flatten()));
        tail
    }

    /// The number that the receiving log was at when it was noted last; 0 if it never was.
    pub(super) fn noted(&self) -> u64 {
        self.noted.map_or(0, |noted| noted.number)
    }

    /// So many lines arrived in the receiving log after that: they are not passed on again.
    pub(super) fn skip(&mut self, lines: u64) {
        self.skip = lines;
    }

    /// What was written since the last call, at most a chunk of it; empty if there is nothing new.
    pub(super) fn read(&mut self) -> io::Result<Vec<LogLine>> {
        loop {
            if self.open.is_none() {
                self.open = self.first()?;
            }
            let Some(open) = &mut self.open else { return Ok(Vec::new()) };
            // Looked at before it is read: once the name is another file's, nothing more is written to this one.
            let replaced = inode(&self.log)?.is_some_and(|now| now != open.inode);
            let mut lines = open.lines()?;
            if !lines.is_empty() {
                let skipped = self.skip.min(lines.len() as u64);
                self.skip -= skipped;
                lines.drain(..usize::try_from(skipped).unwrap_or(usize::MAX));
                if lines.is_empty() {
                    continue;
                }
                return Ok(lines);
            }
            if !replaced || open.more()? {
                return Ok(lines);
            }
            let before = open.inode;
            self.open = self.next(before)?;
        }
    }

    /// Notes how far it is; the receiving log is at `number`. Not synced: a log is no decision.
    pub(super) fn note(&self, number: u64) -> io::Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let mark = Mark { inode: open.inode, offset: open.offset, number };
        let new = self.mark.with_extension("new");
        fs::write(&new, serde_json::to_vec(&mark).map_err(io::Error::other)?)?;
        fs::rename(&new, &self.mark)
    }

    fn first(&self) -> io::Result<Option<Open>> {
        let rotated = self.rotated();
        Ok(match Open::at(&rotated, None)? {
            Some(open) => Some(open),
            None => Open::at(&self.log, None)?,
        })
    }

    /// The file after this one: if another one was rotated meanwhile, that comes first.
    fn next(&self, inode_before: u64) -> io::Result<Option<Open>> {
        let rotated = self.rotated();
        if inode(&rotated)?.is_some_and(|inode| inode != inode_before)
            && let Some(open) = Open::at(&rotated, None)?
        {
            return Ok(Some(open));
        }
        Open::at(&self.log, None)
    }

    fn rotated(&self) -> PathBuf {
        let mut name = self.log.clone().into_os_string();
        name.push(".1");
        name.into()
    }
}

impl Open {
    /// Opens the file; if `mark` is given, only if it is that file, and there.
    fn at(path: &Path, mark: Option<Mark>) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        let offset = mark.map_or(0, |mark| mark.offset);
        if mark.is_some_and(|mark| mark.inode != metadata.ino()) || offset > metadata.len() {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(Self { file, inode: metadata.ino(), offset, partial: Vec::new() }))
    }

    fn lines(&mut self) -> io::Result<Vec<LogLine>> {
        (&self.file).take(CHUNK).read_to_end(&mut self.partial)?;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            if self.partial.len() > LONGEST {
                self.offset += self.partial.len() as u64;
                self.partial.clear();
            }
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        self.offset += whole.len() as u64;
        let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Is there more to be read at once?
    fn more(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() > self.offset + self.partial.len() as u64)
    }
}

fn inode(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Writer {
        directory: tempfile::TempDir,
    }

    impl Writer {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().expect("a directory") }
        }

        fn log(&self) -> PathBuf {
            self.directory.path().join("log")
        }

        fn write(&self, texts: impl IntoIterator<Item = u32>) {
            let mut file = File::options().create(true).append(true).open(self.log()).expect("open");
            for text in texts {
                let line = LogLine { at: 1, stage: "build".into(), error: false, text: text.to_string() };
                writeln!(file, "{}", serde_json::to_string(&line).expect("json")).expect("written");
            }
        }

        fn rotate(&self) {
            fs::rename(self.log(), self.directory.path().join("log.1")).expect("renamed");
        }

        /// As after a restart, with so many lines in the receiving log.
        fn tail(&self, number: u64) -> Tail {
            let mut tail = Tail::new(self.log(), self.directory.path().join("mark"));
            tail.skip(number - tail.noted());
            tail
        }
    }

    fn all(tail: &mut Tail) -> Vec<u32> {
        let mut found = Vec::new();
        loop {
            let lines = tail.read().expect("read");
            if lines.is_empty() {
                return found;
            }
            found.extend(lines.iter().map(|line| line.text.parse::<u32>().expect("a number")));
        }
    }

    #[test]
    fn lines_come_once_and_half_a_line_waits() {
        let writer = Writer::new();
        let mut tail = writer.tail(0);
        assert!(all(&mut tail).is_empty());
        writer.write(0..3);
        assert_eq!(all(&mut tail), [0, 1, 2]);
        let mut file = File::options().append(true).open(writer.log()).expect("open");
        write!(file, "{{\"at\":1,\"stage\":\"b\",").expect("written");
        assert!(all(&mut tail).is_empty());
        writeln!(file, "\"text\":\"3\"}}").expect("written");
        writeln!(file, "not json").expect("written");
        writer.write(4..5);
        assert_eq!(all(&mut tail), [3, 4]);
    }

    #[test]
    fn rotation_loses_nothing_however_it_falls() {
        let writer = Writer::new();
        let mut tail = writer.tail(0);
        writer.write(0..2);
        assert_eq!(all(&mut tail), [0, 1]);
        writer.write(2..4);
        writer.rotate();
        assert_eq!(all(&mut tail), [2, 3]);
        writer.write(4..6);
        assert_eq!(all(&mut tail), [4, 5]);
        writer.rotate();
        writer.write(6..8);
        writer.rotate();
        writer.write(8..9);
        assert_eq!(all(&mut tail), [6, 7, 8], "twice between two looks");
    }

    #[test]
    fn a_restarted_server_goes_on_where_it_was() {
        let writer = Writer::new();
        let mut tail = writer.tail(0);
        writer.write(0..5);
        assert_eq!(all(&mut tail).len(), 5);
        tail.note(15).expect("noted");
        writer.write(5..8);
        // It passed on two more (17), but was killed before it noted that.
        assert_eq!(all(&mut writer.tail(17)), [7]);
        writer.rotate();
        writer.write(8..9);
        assert_eq!(all(&mut writer.tail(17)), [7, 8], "found in the rotated file");
    }

    #[test]
    fn a_flood_is_read_in_chunks() {
        let writer = Writer::new();
        writer.write(0..20_000);
        let mut tail = writer.tail(0);
        let first = tail.read().expect("read").len();
        assert!(first > 0 && first < 20_000, "{first}");
        assert_eq!(first + all(&mut tail).len(), 20_000);
    }
}
