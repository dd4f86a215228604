//! The thread that writes the access log. It alone may wait: for a disk, or for whoever reads a pipe.
//!
//! It opens its file anew when somebody renamed it, so that `logrotate` needs to tell nobody.

use super::AccessLog;
use crate::{error::Error, metrics::Edge};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};
use teal_core::access::LogForm;

/// Batches that wait to be written.
const WAITING: usize = 32;

/// How often the file's name is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A router that stops waits so long for its last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Failures are spoken of no more often than this.
const REMIND: Duration = Duration::from_secs(10);

/// Some lines.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) text: Vec<u8>,
    pub(crate) lines: u64,
}

/// Where a worker hands lines to.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) form: LogForm,
    pub(crate) batches: SyncSender<Batch>,
}

/// The thread's handle.
#[derive(Debug)]
pub(crate) struct Writer {
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Writer {
    /// Starts the thread; nothing if the log is off. The thread ends when all clones of the log are gone.
    ///
    /// # Errors
    /// If the file cannot be opened, or the thread not be started.
    pub(crate) fn start(options: &AccessLog, edge: Arc<Edge>) -> Result<Option<(Log, Self)>, Error> {
        if options.form == LogForm::Off {
            return Ok(None);
        }
        let place = Place::open(options.file.clone())
            .map_err(|source| Error::AccessLog { path: options.file.clone().unwrap_or_default(), source })?;
        let (batches, received) = sync_channel(WAITING);
        let (end, ended) = sync_channel(0);
        let body = move || {
            serve(place, &received, &edge);
            drop(end);
        };
        let thread = Builder::new().name("access-log".into()).spawn(body);
        let thread = thread.map_err(|source| Error::Start { part: "the access log's thread", source })?;
        Ok(Some((Log { form: options.form, batches }, Self { thread, ended })))
    }

    /// Waits for the last lines, but not for a reader that takes none.
    pub(crate) fn end(self) {
        match self.ended.recv_timeout(LAST_LINES) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!("the access log takes no more lines: its last ones are lost");
            }
            _ => drop(self.thread.join()),
        }
    }
}

fn serve(mut place: Place, received: &Receiver<Batch>, edge: &Edge) {
    let mut spoken: Option<Instant> = None;
    loop {
        let batch = match received.recv_timeout(LOOK) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => Batch::default(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = place.look(Instant::now()).and_then(|()| place.write(&batch.text));
        if let Err(error) = written {
            edge.log_dropped(batch.lines);
            if spoken.is_none_or(|last| last.elapsed() >= REMIND) {
                spoken = Some(Instant::now());
                tracing::error!(%error, file = ?place.path, "the access log cannot be written: its lines are dropped and counted");
            }
        }
    }
}

/// Where the lines go.
#[derive(Debug)]
struct Place {
    path: Option<PathBuf>,
    /// Opened when it is first needed: only a pipe is not opened at once, because that waits for its reader.
    file: Option<File>,
    looked: Instant,
    /// The last write broke off, maybe inside of a line.
    torn: bool,
}

impl Place {
    fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let is_pipe = |path: &Path| fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        let file = path.as_deref().filter(|path| !is_pipe(path)).map(append_to).transpose()?;
        Ok(Self { path, file, looked: Instant::now(), torn: false })
    }

    /// Lets go of a file that is not under its name any more.
    fn look(&mut self, now: Instant) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if now.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now;
            if self.file.as_ref().is_some_and(|file| !is_under(file, path)) {
                self.file = None;
            }
        }
        if self.file.is_none() {
            self.file = Some(append_to(path)?);
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let ended = match &mut self.file {
            Some(file) => append(file, text, self.torn),
            None => append(&mut io::stdout().lock(), text, self.torn),
        };
        self.torn = ended.is_err();
        ended
    }
}

/// A line that broke off ends before the next one begins.
fn append(to: &mut impl Write, text: &[u8], torn: bool) -> io::Result<()> {
    if torn {
        to.write_all(b"\n")?;
    }
    to.write_all(text)?;
    to.flush()
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn is_under(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_file_is_left_and_a_torn_line_is_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("access.log");
        let mut place = Place::open(Some(path.clone())).expect("opens");
        place.write(b"one\n").expect("writes");
        fs::rename(&path, directory.path().join("old.log")).expect("renames");
        place.torn = true;
        place.look(Instant::now() + LOOK).expect("opens anew");
        place.write(b"two\n").expect("writes");
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).expect("reads");
        assert_eq!((read("old.log").as_str(), read("access.log").as_str()), ("one\n", "\ntwo\n"));
        let mode = fs::metadata(&path).expect("there").mode();
        assert_eq!(mode & 0o137, 0, "nobody else may read or change it: {mode:o}");
    }
}
