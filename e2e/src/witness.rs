//! Reads what the app under test recorded from the logs of its instances. A log is removed with its instance, so every one is opened as soon as
//! it is there and read to its end later: an open file outlives its name.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Between two looks for new logs: an instance lives longer than this before it serves.
const LOOK: Duration = Duration::from_millis(20);

type Logs = Arc<Mutex<HashMap<u64, Log>>>;

struct Log {
    file: BufReader<File>,
    /// A line that was not whole yet.
    line: String,
}

/// Somebody who looks at the logs until it is dropped.
pub(crate) struct Witness {
    logs: Logs,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Looks at all instances of the Teal in this directory.
    pub(crate) fn start(directory: &Path) -> Self {
        let logs = Logs::default();
        let over = Arc::new(AtomicBool::new(false));
        let (mine, ended, directory) =
            (Arc::clone(&logs), Arc::clone(&over), directory.join("data/logs/instances"));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                open_new(&directory, &mine);
                std::thread::sleep(LOOK);
            }
        });
        Self { logs, over, thread: Some(thread) }
    }

    /// `BOOT SEQUENCE ID` of everything that was recorded since the last call.
    pub(crate) fn news(&self) -> Vec<String> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.values_mut().flat_map(records).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open_new(directory: &Path, logs: &Logs) {
    for path in files(directory) {
        let Ok(file) = File::open(&path) else { continue };
        let Ok(facts) = file.metadata() else { continue };
        let mut logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.entry(facts.ino()).or_insert_with(|| Log { file: BufReader::new(file), line: String::new() });
    }
}

/// The logs of all instances; each has a directory of its own.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries =
        |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries(directory).flat_map(|instance| entries(&instance).collect::<Vec<_>>()).collect()
}

fn records(log: &mut Log) -> Vec<String> {
    let mut found = Vec::new();
    while log.file.read_line(&mut log.line).is_ok_and(|read| read > 0) && log.line.ends_with('\n') {
        let value: serde_json::Value = serde_json::from_str(&log.line).unwrap_or_default();
        found.extend(
            value["text"].as_str().and_then(|text| text.strip_prefix("recorded ")).map(ToOwned::to_owned),
        );
        log.line.clear();
    }
    found
}
