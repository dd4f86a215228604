//! Runs the distribution's programs for a build: by their full names' directories, with a deadline, line by line, and never longer than this
//! process lives. A program that fails says its last lines; what it says goes through here, so that no password of a mirror is shown.

use super::{Error, stop::Stop};
use crate::log::harmless;
use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where programs are, whatever the operator's PATH says.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// No step takes longer, in seconds, on the slowest mirror that is worth waiting for.
const DEADLINE: &str = "1800";

/// Every file of an image was last changed then (the first of January 2020): what a build makes itself must not say when that was.
pub(super) const CHANGED: &str = "1577836800";

/// So many last lines explain a failure.
const LAST_WORDS: usize = 12;

/// The longest line, in bytes, and the longest answer.
const MAX_LINE: u64 = 16 * 1024;
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// The programs that an image is made with, and the Debian packages that bring them.
const NEEDED: [(&str, &str); 8] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("lz4", "lz4"),
    ("mksquashfs", "squashfs-tools"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("setpriv", "util-linux"),
    ("tar", "tar"),
];

/// Refuses to begin what could not be finished.
pub(super) fn check() -> Result<(), Error> {
    let there = |program: &str| PATH.split(':').any(|directory| Path::new(directory).join(program).exists());
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Missing(missing.join(" "))) }
}

/// A program with its arguments.
#[derive(Debug)]
pub(super) struct Tool {
    name: String,
    command: Command,
    stop: Stop,
}

impl Tool {
    /// The program runs in namespaces of its own: it ends, with all that it started, when this process does.
    ///
    /// The signal comes with the end of the *thread* that starts it: a build has one of its own. Whoever stops the build ends it, too.
    pub(super) fn new(program: &str, stop: &Stop) -> Self {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
        ]);
        command.args(["timeout", "--signal=KILL", DEADLINE, program]);
        command.env("PATH", PATH).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command.env_remove("SOURCE_DATE_EPOCH").env_remove("APT_CONFIG").stdin(Stdio::null());
        Self { name: program.to_owned(), command, stop: stop.clone() }
    }

    /// One more argument.
    pub(super) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub(super) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable.
    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Where it runs.
    pub(super) fn directory(mut self, directory: PathBuf) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Where what it writes goes.
    pub(super) fn into_file(mut self, file: std::fs::File) -> Self {
        self.command.stdout(file);
        self
    }

    /// Runs it, telling each line that it says.
    pub(super) fn run(mut self, say: &dyn Fn(&str)) -> Result<(), Error> {
        let (lines, writer) = std::io::pipe().map_err(|e| self.unstartable(e))?;
        let other = writer.try_clone().map_err(|e| self.unstartable(e))?;
        let started = self.stop.spawn(self.command.stdout(writer).stderr(other));
        let mut child = started.map_err(|e| self.unstartable(e))?;
        // The command holds the pipe's other end, too: without this the lines would never end.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let last = follow(lines, say);
        let status = self.stop.wait(&mut child).map_err(|e| self.unstartable(e))?;
        if status.success() { Ok(()) } else { Err(self.failed(status.code(), last)) }
    }

    /// Runs it and answers what it writes.
    pub(super) fn answer(self) -> Result<String, Error> {
        let text = self.bytes()?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs it to its end, whatever it writes.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let started = self.stop.spawn(self.command.stderr(Stdio::piped()));
        let mut child = started.map_err(|e| self.unstartable(e))?;
        let last = child.stderr.take().map(|from| follow(from, &|_| ())).unwrap_or_default();
        let status = self.stop.wait(&mut child).map_err(|e| self.unstartable(e))?;
        if status.success() { Ok(()) } else { Err(self.failed(status.code(), last)) }
    }

    fn bytes(mut self) -> Result<Vec<u8>, Error> {
        let spawned = self.stop.spawn(self.command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut child = spawned.map_err(|e| self.unstartable(e))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let last = std::thread::spawn(move || err.map(|err| follow(err, &|_| ())).unwrap_or_default());
        let mut bytes = Vec::new();
        if let Some(out) = out {
            out.take(MAX_ANSWER).read_to_end(&mut bytes).map_err(|e| self.unstartable(e))?;
        }
        let status = self.stop.wait(&mut child).map_err(|e| self.unstartable(e))?;
        let last = last.join().unwrap_or_default();
        if status.success() { Ok(bytes) } else { Err(self.failed(status.code(), last)) }
    }

    fn unstartable(&self, source: std::io::Error) -> Error {
        self.stop.check().err().unwrap_or_else(|| self.tool(source.to_string()))
    }

    fn tool(&self, why: String) -> Error {
        Error::Tool { name: self.name.clone(), why }
    }

    fn failed(&self, code: Option<i32>, last: VecDeque<String>) -> Error {
        if let Err(cancelled) = self.stop.check() {
            return cancelled;
        }
        let how = code.map_or_else(|| "was ended".to_owned(), |code| format!("ended with {code}"));
        let said = Vec::from(last).join("; ");
        self.tool(if said.is_empty() { how } else { format!("{how}: {said}") })
    }
}

/// Tells each line; answers the last ones.
fn follow(from: impl Read, say: &dyn Fn(&str)) -> VecDeque<String> {
    let mut reader = BufReader::new(from);
    let (mut last, mut line) = (VecDeque::new(), Vec::new());
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        let text = presentable(&String::from_utf8_lossy(&line));
        if text.is_empty() {
            continue;
        }
        say(&text);
        last.push_back(text);
        if last.len() > LAST_WORDS {
            last.pop_front();
        }
    }
}

/// A line as anybody may read it: harmless to a terminal, without the password in a mirror's address.
fn presentable(line: &str) -> String {
    let hidden = line.split_whitespace().map(without_password).collect::<Vec<_>>().join(" ");
    harmless(&hidden)
}

fn without_password(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((secret, _)) => format!("{scheme}://***@{}", &rest[secret.len() + 1..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn no_password_of_a_mirror_is_shown() {
        let table = [
            ("Err:1 http://me:secret@m.test/debian bookworm", "Err:1 http://***@m.test/debian bookworm"),
            ("http://m.test/a@b", "http://m.test/a@b"),
            ("plain@text  and\u{1b}[31m red", "plain@text and red"),
        ];
        for (line, shown) in table {
            assert_eq!(presentable(line), shown);
        }
    }

    #[test]
    fn a_program_is_followed_to_its_end_and_its_last_words_explain_a_failure() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let said = Mutex::new(Vec::new());
        let say = |line: &str| said.lock().expect("whole").push(line.to_owned());
        let failed =
            Tool::new("sh", &Stop::default()).args(&["-c", "echo one; echo two >&2; exit 3"]).run(&say);
        assert_eq!(failed.expect_err("fails").to_string(), "`sh` ended with 3: one; two");
        assert_eq!(*said.lock().expect("whole"), ["one", "two"]);
        assert_eq!(
            Tool::new("sh", &Stop::default())
                .args(&["-c", "echo $$; echo no >&2"])
                .answer()
                .expect("runs")
                .lines()
                .count(),
            1
        );
    }

    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let (fifo, path) = (directory.path().join("fifo"), directory.path().join("fifo"));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let (end, told) = std::sync::mpsc::channel::<()>();
        let starter = std::thread::spawn(move || {
            let mut tool = Tool::new("sh", &Stop::default())
                .args(&["-c", "(exec sleep 1000 > \"$0\") & exec sleep 1000 > \"$0\""])
                .arg(&fifo);
            let child = tool.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
            told.recv().expect("told");
            child
        });
        // This end opens once the program has opened its own, and reads its end once all that hold that one are gone.
        let mut reader = std::fs::File::open(&path).expect("opened");
        end.send(()).expect("it waits");
        let mut child = starter.join().expect("ends");
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("the last writer is gone");
        assert!(!child.wait().expect("ends").success());
    }

    #[test]
    fn a_stopped_build_ends_its_program_with_all_that_it_started() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (stop, said) = (Stop::default(), Mutex::new(Vec::new()));
        // The child of the child is what is told of: it holds the pipe, so its end is what `run` waits for.
        let say = |line: &str| {
            said.lock().expect("whole").push(line.to_owned());
            stop.stop("ada");
        };
        let ended = Tool::new("sh", &stop).args(&["-c", "(sleep 1000) & echo on; sleep 1000"]).run(&say);
        assert_eq!(ended.expect_err("ended").to_string(), "ada ended the build");
        assert_eq!(*said.lock().expect("whole"), ["on"]);
        let next = Tool::new("true", &stop).answer();
        assert!(matches!(next, Err(Error::Cancelled(by)) if by == "ada"), "nothing else begins");
    }
}
