//! Logs of deployments: one append-only file each, followed live. Lines are numbered from 1; control characters are made harmless here,
//! once, for every reader. A reader that stops reading costs nothing: it reads the file at its own pace.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Result, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use teal_core::{api::LogView, id::DeploymentId, time::Time};
use tokio::sync::watch;

/// The longest line, in bytes; the rest is cut off.
pub const MAX_LINE: usize = 16 * 1024;
/// The most lines that one deployment's log keeps; past it one line says so and the rest is dropped.
pub const MAX_LINES: u64 = 100_000;
/// Room past [`MAX_LINES`] for what Teal itself says: however much a build wrote, its verdict is in the log.
const RESERVE: u64 = 1_000;
/// The stage of what Teal itself says of a deployment.
pub const TEAL: &str = "teal";
/// The stage of single probes: kept with their latency, and too many to be shown to somebody who only follows.
pub const PROBE: &str = "probe";
/// A reader is led to the place of at least every so-many-th line.
const MARKS: u64 = 256;

/// The logs of all deployments. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    open: Mutex<HashMap<DeploymentId, Open>>,
}

/// What is known of a log that somebody asked for.
struct Open {
    /// The last line's number; followers wait for it to change.
    last: watch::Sender<u64>,
    /// Where the file ends.
    end: u64,
    /// Of some lines: the number, and where it begins.
    marks: Vec<(u64, u64)>,
}

impl Open {
    /// Notes that this line, of so many bytes, is at the end.
    fn pass(&mut self, number: u64, bytes: u64) {
        if self.marks.last().is_none_or(|(marked, _)| number >= marked + MARKS) {
            self.marks.push((number, self.end));
        }
        self.end += bytes;
    }

    /// Where to begin to look for the lines after this one.
    fn before(&self, after: u64) -> u64 {
        let first = self.marks.partition_point(|(number, _)| *number <= after + 1);
        first.checked_sub(1).map_or(0, |index| self.marks[index].1)
    }
}

impl Logs {
    /// Logs in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(directory: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self { inner: Arc::new(Inner { directory, open: Mutex::default() }) })
    }

    /// Appends a line. A text of several lines becomes several.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, deployment: &DeploymentId, at: Time, stage: &str, text: &str) -> Result<()> {
        let mut all = self.lock();
        let open = all.entry(deployment.clone()).or_insert_with(|| self.scan(deployment));
        let mut number = *open.last.borrow();
        let mut lines = Vec::new();
        for line in text.lines() {
            let Some(text) = kept(number, stage, line) else { break };
            number += 1;
            let view = LogView { number, at: rfc3339(at), stage: harmless(stage), text };
            let mut line = serde_json::to_vec(&view).map_err(std::io::Error::other)?;
            line.push(b'\n');
            lines.push((number, line));
        }
        let bytes: Vec<u8> = lines.iter().flat_map(|(_, line)| line).copied().collect();
        let path = self.path(deployment);
        std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(&bytes)?;
        lines.iter().for_each(|(number, line)| open.pass(*number, line.len() as u64));
        open.last.send_replace(number);
        Ok(())
    }

    /// Lines after `after` (0: from the first), at most `limit`, oldest first.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn read(&self, deployment: &DeploymentId, after: u64, limit: usize) -> Result<Vec<LogView>> {
        let begin = self.lock().get(deployment).map_or(0, |open| open.before(after));
        let Some(views) = self.views(deployment, begin)? else { return Ok(Vec::new()) };
        Ok(views.filter_map(|(view, _)| view).filter(|view| view.number > after).take(limit).collect())
    }

    /// The last `limit` lines, without single probes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn tail(&self, deployment: &DeploymentId, limit: usize) -> Result<Vec<LogView>> {
        let mut lines = self.read(deployment, 0, usize::MAX)?;
        lines.retain(|line| line.stage != PROBE);
        Ok(lines.split_off(lines.len().saturating_sub(limit)))
    }

    /// The number of the last line; changes when a line is appended. Read what is new with [`Self::read`].
    #[must_use]
    pub fn follow(&self, deployment: &DeploymentId) -> watch::Receiver<u64> {
        let mut all = self.lock();
        all.entry(deployment.clone()).or_insert_with(|| self.scan(deployment)).last.subscribe()
    }

    /// Removes a log.
    ///
    /// # Errors
    /// If the file is there and cannot be removed.
    pub fn remove(&self, deployment: &DeploymentId) -> Result<()> {
        self.lock().remove(deployment);
        match std::fs::remove_file(self.path(deployment)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the logs of all deployments but these.
    pub fn collect(&self, keep: &HashSet<DeploymentId>) {
        let Ok(entries) = std::fs::read_dir(&self.inner.directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id = name.strip_suffix(".jsonl").and_then(|id| id.parse::<DeploymentId>().ok());
            if let Some(id) = id.filter(|id| !keep.contains(id)) {
                let _ = self.remove(&id);
            }
        }
    }

    fn path(&self, deployment: &DeploymentId) -> PathBuf {
        self.inner.directory.join(format!("{deployment}.jsonl"))
    }

    /// What an earlier server wrote. A line that it could not end is ended here, so that the next one is whole.
    fn scan(&self, deployment: &DeploymentId) -> Open {
        let mut open = Open { last: watch::Sender::new(0), end: 0, marks: Vec::new() };
        let mut torn = false;
        for (view, bytes) in self.views(deployment, 0).ok().flatten().into_iter().flatten() {
            torn = view.is_none();
            let number = view.map_or(*open.last.borrow(), |view| view.number);
            open.pass(number, bytes);
            open.last.send_replace(number);
        }
        let file =
            torn.then(|| std::fs::OpenOptions::new().append(true).open(self.path(deployment)).ok()).flatten();
        if file.is_some_and(|mut file| file.write_all(b"\n").is_ok()) {
            open.end += 1;
        }
        open
    }

    /// The lines from this place on (`None` for one that is not ours), each with its length in the file. `None`: there is no log.
    fn views(
        &self,
        deployment: &DeploymentId,
        begin: u64,
    ) -> Result<Option<impl Iterator<Item = (Option<LogView>, u64)> + use<>>> {
        let mut file = match File::open(self.path(deployment)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(begin))?;
        let mut reader = BufReader::new(file);
        Ok(Some(std::iter::from_fn(move || {
            let mut line = Vec::new();
            let read = reader.read_until(b'\n', &mut line).ok().filter(|read| *read > 0)?;
            Some((serde_json::from_slice(&line).ok(), read as u64))
        })))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Open>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text that is kept as the line after line `number`; `None` once the log is full.
fn kept(number: u64, stage: &str, line: &str) -> Option<String> {
    match number {
        _ if stage == TEAL && number < MAX_LINES + RESERVE => Some(harmless(line)),
        0..MAX_LINES => Some(harmless(line)),
        MAX_LINES => Some("… more lines were written than are kept".into()),
        _ => None,
    }
}

/// An instant as users see it.
#[must_use]
pub fn rfc3339(at: Time) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::from("?"), |t| format!("{t:.3}"))
}

/// The text without control characters: terminal escapes of a build must not reach a terminal. Tabs stay.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MAX_LINE));
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\t' => clean.push('\t'),
            c if c.is_control()
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c) => {}
            c => clean.push(c),
        }
        if clean.len() >= MAX_LINE {
            clean.push('…');
            break;
        }
    }
    clean
}

/// Skips what follows an ESC: a CSI or OSC sequence to its end, otherwise one character.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    match characters.next() {
        Some('[') => while characters.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some(']') => while characters.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_build_never_reach_a_terminal() {
        assert_eq!(harmless("\u{1b}[31mred\u{1b}[0m\u{7}\ta\u{1b}]0;title\u{7}b"), "red\tab");
    }

    #[test]
    fn lines_are_numbered_across_reopening_and_followed() {
        let directory = tempfile::tempdir().expect("directory");
        let id: DeploymentId = "d-1".parse().expect("legal");
        let logs = Logs::open(directory.path().to_owned()).expect("opens");
        logs.append(&id, Time(0), "build", "one\ntwo").expect("appends");
        let logs = Logs::open(directory.path().to_owned()).expect("opens");
        let follow = logs.follow(&id);
        logs.append(&id, Time(1_700_000_000_123), "build", "three").expect("appends");
        assert!(follow.has_changed().expect("open"));
        let lines = logs.read(&id, 2, 10).expect("reads");
        assert_eq!((lines.len(), lines[0].number, lines[0].text.as_str()), (1, 3, "three"));
        assert_eq!(lines[0].at, "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn every_place_of_a_long_log_is_found_also_after_a_crash_in_a_line() {
        let directory = tempfile::tempdir().expect("directory");
        let id: DeploymentId = "d-1".parse().expect("legal");
        let mut logs = Logs::open(directory.path().to_owned()).expect("opens");
        for number in 1..=1_000_u64 {
            logs.append(&id, Time(0), "build", &format!("line {number}")).expect("appends");
            if number == 500 {
                let path = directory.path().join("d-1.jsonl");
                let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("opens");
                file.write_all(b"{\"number\":501,\"at").expect("writes");
                logs = Logs::open(directory.path().to_owned()).expect("opens");
            }
        }
        for after in [0, 1, 254, 255, 256, 257, 499, 500, 501, 757, 998, 999, 1_000] {
            let lines = logs.read(&id, after, 3).expect("reads");
            let expected: Vec<_> =
                (after + 1..=1_000).take(3).map(|number| format!("line {number}")).collect();
            assert_eq!(
                lines.into_iter().map(|line| line.text).collect::<Vec<_>>(),
                expected,
                "after {after}"
            );
        }
    }

    #[test]
    fn a_flood_of_lines_never_hides_the_verdict() {
        let directory = tempfile::tempdir().expect("directory");
        let id: DeploymentId = "d-1".parse().expect("legal");
        let logs = Logs::open(directory.path().to_owned()).expect("opens");
        let flood = "x\n".repeat(usize::try_from(MAX_LINES).expect("fits") + 10);
        logs.append(&id, Time(0), "build", &flood).expect("appends");
        logs.append(&id, Time(0), TEAL, "Deploy failed").expect("appends");
        logs.append(&id, Time(0), "build", "more").expect("appends");
        let lines = logs.read(&id, MAX_LINES - 1, 10).expect("reads");
        let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["x", "… more lines were written than are kept", "Deploy failed"]);
    }
}
