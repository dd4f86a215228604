//! Logs of deployments: one append-only file each, followed live. Lines are numbered from 1; control characters are made harmless here,
//! once, for every reader. A reader that stops reading costs nothing: it reads the file at its own pace.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use teal_core::{api::LogView, id::DeploymentId, time::Time};
use tokio::sync::watch;

/// The longest line, in bytes; the rest is cut off.
pub const MAX_LINE: usize = 16 * 1024;
/// The most lines that one deployment's log keeps; past it one line says so and the rest is dropped.
pub const MAX_LINES: u64 = 100_000;

/// The logs of all deployments. Cheap to clone.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    open: Mutex<HashMap<DeploymentId, watch::Sender<u64>>>,
}

impl Logs {
    /// Logs in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(directory: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self { inner: Arc::new(Inner { directory, open: Mutex::default() }) })
    }

    /// Appends a line. A text of several lines becomes several.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(
        &self,
        deployment: &DeploymentId,
        at: Time,
        stage: &str,
        text: &str,
    ) -> std::io::Result<()> {
        let mut open = self.lock();
        let count =
            open.entry(deployment.clone()).or_insert_with(|| watch::Sender::new(self.count(deployment)));
        let mut number = *count.borrow();
        let mut bytes = Vec::new();
        for line in text.lines() {
            if number > MAX_LINES {
                break;
            }
            number += 1;
            let text = if number > MAX_LINES {
                "… more lines were written than are kept".into()
            } else {
                harmless(line)
            };
            let view = LogView { number, at: crate::log::rfc3339(at), stage: harmless(stage), text };
            serde_json::to_writer(&mut bytes, &view).map_err(std::io::Error::other)?;
            bytes.push(b'\n');
        }
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(deployment))?
            .write_all(&bytes)?;
        count.send_replace(number);
        Ok(())
    }

    /// Lines after `after` (0: from the first), at most `limit`, oldest first.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn read(&self, deployment: &DeploymentId, after: u64, limit: usize) -> std::io::Result<Vec<LogView>> {
        let file = match std::fs::File::open(self.path(deployment)) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let views = BufReader::new(file).lines().map_while(std::result::Result::ok);
        let views = views.filter_map(|line| serde_json::from_str::<LogView>(&line).ok());
        Ok(views.filter(|view| view.number > after).take(limit).collect())
    }

    /// The last `limit` lines.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn tail(&self, deployment: &DeploymentId, limit: usize) -> std::io::Result<Vec<LogView>> {
        let mut lines = self.read(deployment, 0, usize::MAX)?;
        Ok(lines.split_off(lines.len().saturating_sub(limit)))
    }

    /// The number of the last line; changes when a line is appended. Read what is new with [`Self::read`].
    #[must_use]
    pub fn follow(&self, deployment: &DeploymentId) -> watch::Receiver<u64> {
        let mut open = self.lock();
        open.entry(deployment.clone())
            .or_insert_with(|| watch::Sender::new(self.count(deployment)))
            .subscribe()
    }

    /// Removes a log.
    ///
    /// # Errors
    /// If the file is there and cannot be removed.
    pub fn remove(&self, deployment: &DeploymentId) -> std::io::Result<()> {
        self.lock().remove(deployment);
        match std::fs::remove_file(self.path(deployment)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
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

    fn count(&self, deployment: &DeploymentId) -> u64 {
        self.read(deployment, 0, usize::MAX)
            .ok()
            .and_then(|lines| lines.last().map(|line| line.number))
            .unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, watch::Sender<u64>>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
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
}
