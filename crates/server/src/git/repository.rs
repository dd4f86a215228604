//! One app's bare repository, by way of the git binary: references, commits, durability. It knows nothing of users or deployments.

use super::{
    Error,
    home::{Home, sync_directory},
    ledger::{Changes, Refs},
    wire,
};
use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncWriteExt, process::Command};

/// The longest that a git process of the server's own may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest that putting packs together may take.
const REPACK_DEADLINE: Duration = Duration::from_secs(3_600);
/// Past this number of packs they are put together.
const MAX_PACKS: usize = 40;
/// The longest first line of a message or name of an author, in characters.
const MAX_TEXT: usize = 200;

/// What the platform wants to know of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// The author's name.
    pub(super) author: String,
    /// The first line of the message.
    pub(super) subject: String,
}

/// A repository that is there.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    home: &'a Home,
    path: PathBuf,
}

impl<'a> Repository<'a> {
    /// The repository at `path`, made if it is not there: beside its place and then moved, so that half a repository is never seen.
    /// Concurrent calls for the same path must be kept apart by the caller.
    pub(super) async fn open(home: &'a Home, path: PathBuf, branch: &str) -> Result<Self, Error> {
        let repository = Self { home, path };
        if !repository.path.join("HEAD").exists() {
            repository.create(branch).await?;
        }
        Ok(repository)
    }

    async fn create(&self, branch: &str) -> Result<(), Error> {
        let io = |source| Error::Repository { path: self.path.clone(), source };
        let parent = self.path.parent().ok_or_else(|| io(io::Error::other("it has no parent")))?;
        super::home::private_directory(parent).map_err(io)?;
        let beside = self.path.with_extension("new");
        let _ = std::fs::remove_dir_all(&beside);
        let mut init = self.home.command(parent);
        init.args(["init", "--quiet", "--bare", "--template="]).arg(format!("--initial-branch={branch}"));
        run(init.arg("--").arg(&beside), None, DEADLINE).await?;
        std::fs::rename(&beside, &self.path).and_then(|()| sync_directory(parent)).map_err(io)
    }

    fn git<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = self.home.command(&self.path);
        command.arg("--git-dir=.").args(arguments);
        command
    }

    /// Branches, tags and what the ledger keeps; not the thousands of `refs/teal/commits`.
    pub(super) async fn refs(&self) -> Result<Refs, Error> {
        let mut command = self.git(["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads"]);
        command.args(["refs/tags", "refs/teal/intent", "refs/teal/pending", "refs/teal/good"]);
        let said = run(&mut command, None, DEADLINE).await?;
        let text = String::from_utf8_lossy(&said);
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(commit, name)| (name.to_owned(), commit.to_owned())).collect())
    }

    /// Makes all changes or none, durably. Those who call keep others of the same app away meanwhile.
    pub(super) async fn change(&self, changes: &Changes) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut script = String::from("start\n");
        for (name, commit) in changes {
            // Writing to a string cannot fail.
            let _ = match commit {
                Some(commit) => writeln!(script, "update {name} {commit}"),
                None => writeln!(script, "delete {name}"),
            };
        }
        script.push_str("commit\n");
        run(&mut self.git(["update-ref", "--no-deref", "--stdin"]), Some(script.as_bytes()), DEADLINE)
            .await?;
        self.sync(changes).await
    }

    /// Git syncs files but not the directories that name them.
    async fn sync(&self, changes: &Changes) -> Result<(), Error> {
        let mut directories = vec![self.path.clone(), self.path.join("objects/pack")];
        for name in changes.keys() {
            let ancestors = Path::new(name).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            directories.extend(ancestors.map(|path| self.path.join(path)));
        }
        directories.sort();
        directories.dedup();
        let path = self.path.clone();
        let sync =
            move || directories.iter().filter(|path| path.is_dir()).try_for_each(|path| sync_directory(path));
        let synced = tokio::task::spawn_blocking(sync).await;
        synced.map_err(io::Error::other).flatten().map_err(|source| Error::Repository { path, source })
    }

    /// Whether everything that `ancestor` has is in `commit`.
    pub(super) async fn contains(&self, commit: &str, ancestor: &str) -> bool {
        run(&mut self.git(["merge-base", "--is-ancestor", ancestor, commit]), None, DEADLINE).await.is_ok()
    }

    /// Author and first line of a commit.
    pub(super) async fn commit(&self, hash: &str) -> Result<Commit, Error> {
        let object = format!("{hash}^{{commit}}");
        let mut command =
            self.git(["show", "--no-patch", "--no-show-signature", "--no-notes", "--format=%an%x00%s"]);
        let said = run(command.args(["--end-of-options", &object]), None, DEADLINE).await?;
        let text = String::from_utf8_lossy(&said);
        let (author, subject) = text.trim_end_matches('\n').split_once('\0').unwrap_or_default();
        Ok(Commit { author: short(author), subject: short(subject) })
    }

    /// Lets clones check out `branch`, if what they would check out is not there.
    pub(super) async fn offer(&self, branch: &str, refs: &Refs) -> Result<(), Error> {
        let head = tokio::fs::read_to_string(self.path.join("HEAD")).await.unwrap_or_default();
        if head.trim().strip_prefix("ref: ").is_some_and(|name| refs.contains_key(name)) {
            return Ok(());
        }
        run(&mut self.git(["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]), None, DEADLINE)
            .await
            .map(drop)
    }

    /// Puts packs together once there are many; safe beside pushes and fetches.
    pub(super) async fn tidy(&self) -> Result<(), Error> {
        let Ok(entries) = std::fs::read_dir(self.path.join("objects/pack")) else { return Ok(()) };
        let packs = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "pack"));
        if packs.count() <= MAX_PACKS {
            return Ok(());
        }
        run(&mut self.git(["repack", "-d", "-q", "--geometric=2"]), None, REPACK_DEADLINE).await.map(drop)
    }
}

/// One line, harmless and short.
fn short(text: &str) -> String {
    crate::log::harmless(text).chars().take(MAX_TEXT).collect()
}

/// Runs git to its end and returns what it wrote.
async fn run(command: &mut Command, input: Option<&[u8]>, deadline: Duration) -> Result<Vec<u8>, Error> {
    let doing = command.as_std().get_args().nth(1).unwrap_or_default().to_string_lossy().into_owned();
    let failed = |said: String| Error::Git { doing: doing.clone(), said };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let stdin = child.stdin.take();
    let feed = async {
        // A process that does not want its input says why itself.
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            let _ = stdin.write_all(input).await;
        }
    };
    let all = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = match tokio::time::timeout(deadline, all).await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("it took longer than {} s", deadline.as_secs()))),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(short(String::from_utf8_lossy(&output.stderr).trim())))
}

/// Whether an update still fits: what the client saw is still there. For a branch it also fits if nothing would be lost, since a
/// verdict may have moved the branch back while the client was sending.
pub(super) async fn fits(
    repository: &Repository<'_>,
    refs: &Refs,
    update: &wire::Update,
    branch: bool,
) -> bool {
    let current = refs.get(&update.name);
    let expected = (!wire::is_zero(&update.old)).then_some(&update.old);
    match current {
        _ if current == expected => true,
        None => branch,
        Some(current) => {
            branch && (*current == update.new || repository.contains(&update.new, current).await)
        }
    }
}
