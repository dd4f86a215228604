//! The working tree of a build: `git archive` of a commit, without `.git`, in a directory of its own.
//!
//! The commit is listed before anything is unpacked: its size, the number of its files and every path are checked first. The tree may hold
//! links that lead anywhere: they are made, and nothing outside an instance follows them.

use super::submodules::Submodule;
use std::{
    io,
    path::{Component, Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

/// The most files of a commit.
pub const MAX_FILES: u64 = 200_000;
/// The largest commit, unpacked, in bytes.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// The longest path, in bytes.
const MAX_PATH: u64 = 4096;
/// The longest `.gitmodules` that is read, in bytes.
const MAX_MODULES: u64 = 256 * 1024;
/// Listing and unpacking take at most this long.
const DEADLINE: Duration = Duration::from_secs(300);

/// Why there is no tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a full hash.
    #[error("`{0}` is not the full hash of a commit")]
    Hash(String),
    /// `APP_FOLDER` names nothing.
    #[error("APP_FOLDER={0}, but the commit has no such folder: correct the variable or add the folder")]
    Folder(String),
    /// The repository does not have it.
    #[error("the commit {0} is not in the app's repository any more: push it again")]
    Missing(String),
    /// More than a commit may hold.
    #[error(
        "the commit holds more than {what}: take what is not source out of the repository, or set APP_FOLDER to a smaller folder"
    )]
    TooLarge {
        /// "200000 files", "4 GiB".
        what: String,
    },
    /// A path that no checkout would make.
    #[error("the commit holds a file named `{path}`, which cannot be checked out: rename it")]
    Path {
        /// The path, made harmless.
        path: String,
    },
    /// A tool answered with a failure.
    #[error("{tool} failed: {message}")]
    Tool {
        /// `git` or `tar`.
        tool: &'static str,
        /// The end of what it said.
        message: String,
    },
    /// Neither tool nor disk could be used.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Would trying again end in the same way?
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Tool { .. } | Self::Io { .. })
    }

    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many files.
    pub files: u64,
    /// Their size, in bytes.
    pub bytes: u64,
    /// Submodules, which are not unpacked.
    pub submodules: Vec<Submodule>,
    /// What the commit says of them.
    pub modules: String,
}

/// A path inside the app's directory, tidied: no `..`, no `.`; a leading `/` means that directory. `.` is the directory itself.
#[must_use]
pub fn inside(path: &str) -> Option<String> {
    if path.contains(['\0', '\n']) || path.len() as u64 > MAX_PATH {
        return None;
    }
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(if parts.is_empty() { ".".into() } else { parts.join("/") })
}

/// Unpacks the commit (or a folder of it, tidied by [`inside`]) to `destination`, which must not be there.
///
/// # Errors
/// A sentence; [`Error::is_final`] tells whether it is the commit's fault.
pub async fn unpack(
    repository: &Path,
    commit: &str,
    folder: Option<&str>,
    destination: &Path,
) -> Result<Contents, Error> {
    let legal = matches!(commit.len(), 40 | 64) && commit.chars().all(|c| c.is_ascii_hexdigit());
    if !legal {
        return Err(Error::Hash(crate::log::harmless(&commit.chars().take(80).collect::<String>())));
    }
    let folder = folder.filter(|folder| *folder != ".");
    let late = |_| Error::Io { what: "unpack the commit in time", source: io::ErrorKind::TimedOut.into() };
    let both = async {
        if !has(repository, commit).await? {
            return Err(Error::Missing(commit.to_owned()));
        }
        let mut contents = list(repository, commit, folder).await?;
        if !contents.submodules.is_empty() {
            contents.modules = modules(repository, commit).await?;
        }
        extract(repository, commit, folder, destination).await?;
        Ok(contents)
    };
    tokio::time::timeout(DEADLINE, both).await.map_err(late)?
}

/// Whether the repository is there and has this commit.
async fn has(repository: &Path, commit: &str) -> Result<bool, Error> {
    if !repository.join("HEAD").exists() {
        return Ok(false);
    }
    let mut git = git(repository);
    git.args(["cat-file", "-e"])
        .arg(format!("{commit}^{{commit}}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Git answers 1 for an object that it does not have, and 128 for a name that leads to none.
    let status = git.status().await.map_err(Error::io("run git"))?;
    match status.code() {
        Some(0) => Ok(true),
        Some(1 | 128) => Ok(false),
        _ => Err(Error::Tool { tool: "git", message: format!("ended with {status}") }),
    }
}

/// The text of `.gitmodules`, which is at the top whatever folder the app is in; nothing if there is none.
async fn modules(repository: &Path, commit: &str) -> Result<String, Error> {
    let mut git = git(repository);
    git.args(["cat-file", "blob", &format!("{commit}:.gitmodules")]);
    let mut child = git.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(Error::io("run git"))?;
    let Some(stdout) = child.stdout.take() else { return Err(Error::io("read from git")(pipe_missing())) };
    let mut text = Vec::new();
    stdout.take(MAX_MODULES).read_to_end(&mut text).await.map_err(Error::io("read from git"))?;
    let _ = child.wait().await;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Lists the commit and checks its limits and paths.
async fn list(repository: &Path, commit: &str, folder: Option<&str>) -> Result<Contents, Error> {
    let mut git = git(repository);
    git.args(["ls-tree", "-r", "-l", "-z", "--full-tree", commit]);
    if let Some(folder) = folder {
        git.arg("--").arg(format!("{folder}/"));
    }
    let mut child =
        git.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(Error::io("run git"))?;
    let Some(stdout) = child.stdout.take() else { return Err(Error::io("read from git")(pipe_missing())) };
    let mut entries = BufReader::new(stdout);
    let (mut contents, mut entry) = (Contents::default(), Vec::new());
    loop {
        entry.clear();
        let mut limited = (&mut entries).take(MAX_PATH + 200);
        let read = limited.read_until(0, &mut entry).await.map_err(Error::io("read from git"))?;
        if read == 0 {
            break;
        }
        contents.add(&entry)?;
    }
    finish("git", child).await?;
    match folder {
        Some(folder) if contents.files == 0 => Err(Error::Folder(folder.to_owned())),
        _ => Ok(contents),
    }
}

impl Contents {
    /// `<mode> <type> <hash> <size>\t<path>\0`
    fn add(&mut self, entry: &[u8]) -> Result<(), Error> {
        let odd = |entry: &[u8]| {
            let text = crate::log::harmless(&String::from_utf8_lossy(entry));
            Error::Path { path: text.rsplit('\t').next().unwrap_or_default().chars().take(200).collect() }
        };
        let Some(entry) = entry.strip_suffix(b"\0") else { return Err(odd(entry)) };
        let mut halves = entry.splitn(2, |byte| *byte == b'\t');
        let (facts, path) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let wrong = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.eq_ignore_ascii_case(b".git");
        if path.split(|byte| *byte == b'/').any(wrong) {
            return Err(odd(entry));
        }
        let facts = String::from_utf8_lossy(facts);
        let mut facts = facts.split_whitespace();
        if facts.next() == Some("160000") {
            let commit = facts.nth(1).unwrap_or_default().to_owned();
            let path = String::from_utf8(path.to_vec()).map_err(|_| odd(entry))?;
            self.submodules.push(Submodule { path, commit });
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(facts.last().and_then(|size| size.parse().ok()).unwrap_or(0));
        if self.files > MAX_FILES {
            return Err(Error::TooLarge { what: format!("{MAX_FILES} files") });
        }
        if self.bytes > MAX_BYTES {
            return Err(Error::TooLarge { what: format!("{} GiB", MAX_BYTES >> 30) });
        }
        Ok(())
    }
}

/// `git archive | tar -x`, then the folder takes the destination's name: it is there only when it is whole.
async fn extract(
    repository: &Path,
    commit: &str,
    folder: Option<&str>,
    destination: &Path,
) -> Result<(), Error> {
    let incoming = destination.with_extension("incoming");
    crate::release::remove(&incoming).map_err(|error| Error::Io {
        what: "remove what an interrupted build left",
        source: io::Error::other(error),
    })?;
    tokio::fs::create_dir_all(&incoming).await.map_err(Error::io("make the build's directory"))?;
    let mut git = git(repository);
    git.args(["archive", "--format=tar", commit]);
    if let Some(folder) = folder {
        git.arg("--").arg(folder);
    }
    let mut git = git.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(Error::io("run git"))?;
    let Some(pipe) = git.stdout.take() else { return Err(Error::io("read from git")(pipe_missing())) };
    let pipe: Stdio = pipe.try_into().map_err(Error::io("connect git to tar"))?;
    let tar = tar(&incoming, pipe).spawn().map_err(Error::io("run tar"))?;
    // The one that fails first makes the other one fail: git's word counts more.
    let (git, tar) = tokio::join!(finish("git", git), finish("tar", tar));
    git.and(tar)?;
    let from = folder.map_or_else(|| incoming.clone(), |folder| incoming.join(folder));
    let real = tokio::fs::symlink_metadata(&from).await.is_ok_and(|metadata| metadata.is_dir());
    if !real {
        return Err(Error::Folder(folder.unwrap_or(".").to_owned()));
    }
    tokio::fs::rename(&from, destination).await.map_err(Error::io("name the build's directory"))?;
    // What is beside the folder is not the app's.
    let _ = tokio::fs::remove_dir_all(&incoming).await;
    Ok(())
}

fn git(repository: &Path) -> Command {
    let mut git = bare("git");
    git.args(["-c", "safe.directory=*", "-c", "core.attributesFile=/dev/null", "-c", "tar.umask=0022"]);
    git.arg("--git-dir").arg(repository);
    git.env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_LITERAL_PATHSPECS", "1");
    git
}

fn tar(into: &Path, from: Stdio) -> Command {
    let mut tar = bare("tar");
    tar.args(["-x", "-f", "-", "--no-same-owner", "--no-same-permissions", "-C"]).arg(into);
    tar.stdin(from).stdout(Stdio::null()).stderr(Stdio::piped());
    tar
}

/// A tool with nothing of the server's environment but where tools are.
fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

async fn finish(tool: &'static str, mut child: Child) -> Result<(), Error> {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut limited = stderr.take(64 * 1024);
        let _ = limited.read_to_end(&mut said).await;
    }
    let status: ExitStatus = child.wait().await.map_err(Error::io("wait for git and tar"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(Error::Tool { tool, message: format!("{} ({status})", crate::log::harmless(said)) })
}

fn pipe_missing() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

/// Where the tree of a build is, below the directory of the build.
pub(super) fn of(build: &Path) -> PathBuf {
    build.join("release").join("tree")
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
