//! An instance's log on disk: one JSON object per line, bounded, rotated once. It never fails: a full disk costs lines, not the app.

use crate::LogLine;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// The size at which the file is renamed to `.1` and begun anew, in bytes.
const MAX_FILE: u64 = 8 << 20;
/// The longest text of a line, in bytes.
pub(crate) const MAX_TEXT: usize = 16 << 10;

/// The writer of one log.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl Log {
    /// Goes on with the file, or begins it.
    pub(crate) fn open(path: PathBuf) -> Self {
        let mut log = Self { path, file: None, size: 0 };
        let _tried_again_by_the_next_line = log.reopen();
        log
    }

    /// Appends one line.
    pub(crate) fn write(&mut self, stage: &str, error: bool, text: &str) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let line = LogLine { at, stage: stage.to_owned(), error, text: text.to_owned() };
        if self.append(&line).is_err() {
            self.file = None;
        }
    }

    fn append(&mut self, line: &LogLine) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.size + bytes.len() as u64 > MAX_FILE {
            fs::rename(&self.path, self.path.with_added_extension("1"))?;
            self.reopen()?;
        }
        self.size += bytes.len() as u64;
        // One write for a line: readers never see half of one, save after a crash.
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(&bytes))
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }
}

/// Cuts a stream of bytes into lines of at most [`MAX_TEXT`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The whole lines that end in `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            while self.rest.len() > MAX_TEXT {
                let more = self.rest.split_off(boundary(&self.rest));
                lines.push(text(&std::mem::replace(&mut self.rest, more)));
            }
            if self.rest.last() == Some(&b'\n') {
                self.rest.pop();
                lines.push(text(&std::mem::take(&mut self.rest)));
            }
        }
        lines
    }

    /// What came after the last line's end.
    pub(crate) fn finish(self) -> Option<String> {
        (!self.rest.is_empty()).then(|| text(&self.rest))
    }
}

/// The last place before [`MAX_TEXT`] that is no middle of a character.
fn boundary(bytes: &[u8]) -> usize {
    let continues = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (MAX_TEXT - 3..=MAX_TEXT).rev().find(|at| !continues(at)).unwrap_or(MAX_TEXT)
}

/// Bytes that are no UTF-8 become the replacement character, which is longer: cut again.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    while text.len() > MAX_TEXT {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_and_at_the_limit() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\r\nb"), ["a"]);
        assert_eq!(lines.push(b"c\n\n"), ["bc", ""]);
        let long = "é".repeat(MAX_TEXT);
        let cut = lines.push(long.as_bytes());
        assert!(cut.iter().all(|line| line.len() <= MAX_TEXT && !line.contains('\u{fffd}')));
        let all = cut.concat() + &lines.finish().unwrap_or_default();
        assert_eq!(all, long);
    }

    #[test]
    fn bytes_that_are_no_text_stay_within_the_limit() {
        let mut lines = Lines::default();
        let cut = lines.push(&[0xff; 3 * MAX_TEXT]);
        assert!(cut.iter().all(|line| line.len() <= MAX_TEXT));
    }

    #[test]
    fn a_full_log_is_renamed_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("e-1-0.log");
        let mut log = Log::open(path.clone());
        let text = "x".repeat(MAX_TEXT);
        for _ in 0..1200 {
            log.write("start", true, &text);
        }
        let older = fs::metadata(dir.path().join("e-1-0.log.1")).expect("renamed").len();
        assert!(older <= MAX_FILE && fs::metadata(&path).expect("anew").len() <= MAX_FILE);
        let first =
            fs::read_to_string(&path).expect("text").lines().next().map(serde_json::from_str::<LogLine>);
        assert!(first.expect("a line").expect("whole").error);
    }
}
