//! The instance's log: one file of bounded size and its predecessor, in a directory that was opened on the host.

use crate::pid1::channel::Sink;
use nix::fcntl::{OFlag, openat, renameat};
use std::{
    fs::File,
    io::{self, Write},
};
use teal_core::agent::{LOG_NAME, MAX_LOG};

/// The log file.
#[derive(Debug)]
pub(crate) struct Log {
    directory: File,
    file: File,
    size: u64,
}

impl Log {
    /// Goes on with the file that is there, or begins one.
    pub(crate) fn open(directory: File) -> io::Result<Self> {
        let file = open(&directory)?;
        let size = file.metadata()?.len();
        Ok(Self { directory, file, size })
    }

    fn rotate(&mut self) -> io::Result<()> {
        renameat(&self.directory, LOG_NAME, &self.directory, format!("{LOG_NAME}.1").as_str())?;
        self.file = open(&self.directory)?;
        self.size = 0;
        Ok(())
    }
}

impl Sink for Log {
    /// They are lost if the host's disk is full.
    fn append(&mut self, lines: &[u8]) {
        if self.size + lines.len() as u64 > MAX_LOG && self.size > 0 {
            // If the host refuses, the old file grows on for now; the next append tries again.
            let _ = self.rotate();
        }
        if self.file.write_all(lines).is_ok() {
            self.size += lines.len() as u64;
        }
    }
}

fn open(directory: &File) -> io::Result<File> {
    let flags = OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    Ok(File::from(openat(directory, LOG_NAME, flags, mode)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_are_the_most_there_ever_are() {
        let path = std::env::temp_dir().join(format!("teal-agent-log-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        let mut log = Log::open(File::open(&path).expect("directory")).expect("log");
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..30 {
            log.append(&line);
        }
        let mut sizes: Vec<(String, u64)> = std::fs::read_dir(&path)
            .expect("directory")
            .flatten()
            .map(|e| (e.file_name().to_string_lossy().into_owned(), e.metadata().expect("file").len()))
            .collect();
        sizes.sort();
        std::fs::remove_dir_all(&path).expect("cleaned up");
        assert_eq!(sizes.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["log", "log.1"]);
        assert!(sizes.iter().all(|(_, size)| *size <= MAX_LOG), "{sizes:?}");
    }
}
