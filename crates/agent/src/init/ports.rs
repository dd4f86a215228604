//! The machine's two virtio ports: found by their names, and the one for the log.

use crate::{
    error::{Doing, Error},
    pid1::channel::Sink,
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The kernel names ports a little after it has loaded their driver.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_millis(2);

/// Opens the port of this name.
pub(crate) fn open(name: &str) -> Result<File, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(device) = find(name) {
            return File::options()
                .read(true)
                .write(true)
                .open(&device)
                .doing(format!("open {}", device.display()));
        }
        if Instant::now() > until {
            return Err(Error::Refused(format!("the machine has no port `{name}`")));
        }
        std::thread::sleep(AGAIN);
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?.flatten();
    let named = |path: &Path| fs::read_to_string(path.join("name")).is_ok_and(|text| text.trim_end() == name);
    let port = ports.map(|entry| entry.path()).find(|path| named(path))?;
    let device = Path::new("/dev").join(port.file_name()?);
    device.exists().then_some(device)
}

/// The log, as far as the machine knows it: its keeper writes the file.
pub(crate) struct LogPort {
    port: File,
}

impl LogPort {
    /// Nothing is written yet.
    pub(crate) fn new(port: File) -> Self {
        Self { port }
    }
}

impl Sink for LogPort {
    /// Waits until the keeper has it: what is written before an answer is read before it.
    fn append(&mut self, lines: &[u8]) {
        let _ = self.port.write_all(lines);
    }
}
