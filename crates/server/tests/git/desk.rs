//! A server on ports of its own, and a user with real git and real ssh.

use crate::facts::{Facts, PATIENCE, TOKEN};
use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};
use teal_server::git::{Git, MAX_PUSH, Options};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
};

/// By which way the user comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Ssh,
    Http,
}

pub const WAYS: [Way; 2] = [Way::Ssh, Way::Http];

pub struct Desk {
    pub directory: tempfile::TempDir,
    pub facts: Facts,
    pub git: Git<Facts>,
    pub ssh: SocketAddr,
    pub http: SocketAddr,
    /// As good as a process: ends with all its tasks.
    process: Option<tokio::runtime::Runtime>,
}

impl Desk {
    pub async fn new() -> Self {
        Self::limited(MAX_PUSH).await
    }

    pub async fn limited(max_push: u64) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let facts = Facts::new(directory.path());
        let program = hook_program(directory.path());
        let options = Options { directory: directory.path().join("git"), program, max_push };
        let git = Git::open(facts.clone(), options).expect("opens");
        let process = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let process = process.expect("a runtime");
        let (ssh, http) = process.spawn(serve(git.clone())).await.expect("serves");
        let desk = Self { directory, facts, git, ssh, http, process: Some(process) };
        desk.make_key("alice").await;
        desk.facts.register(&desk.fingerprint("alice").await, "alice");
        desk.make_key("mallory").await;
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn make_key(&self, name: &str) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(self.path(name));
        assert!(keygen.status().await.expect("runs").success());
    }

    async fn fingerprint(&self, name: &str) -> String {
        let output = Command::new("ssh-keygen").arg("-lf").arg(self.path(name)).output().await.expect("runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.split(' ').nth(1).expect("a fingerprint").to_owned()
    }

    pub fn url(&self, way: Way, app: &str) -> String {
        let (id, secret) = TOKEN;
        match way {
            Way::Ssh => format!("ssh://git@{}/{app}.git", self.ssh),
            Way::Http => format!("http://{id}:{secret}@{}/{app}.git", self.http),
        }
    }

    /// ssh with this key and nothing of this machine's own configuration.
    pub fn ssh_command(&self, key: &str) -> String {
        let known = self.path("known_hosts");
        format!(
            "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={}",
            self.path(key).display(),
            known.display()
        )
    }

    pub fn client_as(&self, key: &str, directory: &Path) -> Command {
        let mut command = Command::new("git");
        command.current_dir(directory).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in [
            ("HOME", self.directory.path().to_string_lossy().into_owned()),
            ("GIT_SSH_COMMAND", self.ssh_command(key)),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("GIT_AUTHOR_NAME", "Ada".into()),
            ("GIT_AUTHOR_EMAIL", "ada@example.org".into()),
            ("GIT_COMMITTER_NAME", "Ada".into()),
            ("GIT_COMMITTER_EMAIL", "ada@example.org".into()),
        ] {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub fn client(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = self.client_as("alice", directory);
        command.args(arguments);
        command
    }

    /// Runs git, which may fail.
    pub async fn try_git(&self, directory: &Path, arguments: &[&str]) -> Done {
        let output = self.client(directory, arguments).output();
        Done::of(tokio::time::timeout(PATIENCE, output).await.expect("git ends").expect("git runs"))
    }

    /// Runs git, which may not fail.
    pub async fn git(&self, directory: &Path, arguments: &[&str]) -> String {
        let done = self.try_git(directory, arguments).await;
        assert_eq!(done.code, Some(0), "git {arguments:?}: {}", done.said);
        done.out
    }

    /// A repository with one commit on `main`.
    pub async fn checkout(&self, name: &str) -> PathBuf {
        let directory = self.path(name);
        self.git(self.directory.path(), &["init", "-q", "-b", "main", name]).await;
        self.commit(&directory, "first").await;
        directory
    }

    /// Commits something new and says its hash.
    pub async fn commit(&self, directory: &Path, message: &str) -> String {
        std::fs::write(directory.join("file"), message).expect("writes");
        self.git(directory, &["add", "."]).await;
        self.git(directory, &["commit", "-q", "-m", message]).await;
        self.git(directory, &["rev-parse", "HEAD"]).await.trim().to_owned()
    }

    /// A push under way.
    pub fn push(&self, directory: &Path, url: &str, what: &[&str]) -> Pushing {
        let mut command = self.client(directory, &["push", url]);
        let mut child = command
            .args(what)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("git runs");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        Pushing { child, stderr, said: String::new() }
    }

    /// What the server has.
    pub async fn remote(&self, way: Way, app: &str) -> String {
        self.git(self.directory.path(), &["ls-remote", &self.url(way, app)]).await
    }

    /// Nothing of any push is left over.
    pub async fn is_clean(&self) {
        let pushes = self.path("git/pushes");
        let empty = || std::fs::read_dir(&pushes).expect("reads").next().is_none();
        let wait = async {
            while !empty() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the sockets of pushes are gone");
    }

    /// Ends the server as a crash would: nobody is told.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shutdown_background();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves both ways until the runtime ends.
async fn serve(git: Git<Facts>) -> (SocketAddr, SocketAddr) {
    let loopback = "127.0.0.1:0".parse().expect("address");
    let ssh = git.ssh(loopback).await.expect("listens");
    let listener = tokio::net::TcpListener::bind(loopback).await.expect("listens");
    let addresses = (ssh.local_addr(), listener.local_addr().expect("address"));
    tokio::spawn(async move {
        let http = async { axum::serve(listener, git.http()).await.expect("serves") };
        tokio::join!(http, ssh.run());
    });
    addresses
}

/// What git did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub said: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), said: text(&output.stderr) }
    }
}

pub struct Pushing {
    pub child: Child,
    stderr: BufReader<ChildStderr>,
    pub said: String,
}

impl Pushing {
    /// Reads until a line holds these words.
    pub async fn hears(&mut self, words: &str) {
        let hear = async {
            while !self.said.lines().any(|line| line.contains(words)) {
                let mut line = Vec::new();
                // Git ends progress with a carriage return.
                if self.stderr.read_until(b'\n', &mut line).await.expect("reads") == 0 {
                    return false;
                }
                self.said.push_str(&String::from_utf8_lossy(&line).replace('\r', "\n"));
            }
            true
        };
        let heard = tokio::time::timeout(PATIENCE, hear).await.expect("it is said in time");
        assert!(heard, "{words:?} was never said: {}", self.said);
    }

    /// Reads to the end: the exit code and all that was said.
    pub async fn end(mut self) -> (Option<i32>, String) {
        let read = async {
            let mut line = Vec::new();
            while self.stderr.read_until(b'\n', &mut line).await.expect("reads") > 0 {}
            self.said.push_str(&String::from_utf8_lossy(&line));
            self.child.wait().await.expect("ends").code()
        };
        let code = tokio::time::timeout(PATIENCE, read).await.expect("the push ends");
        (code, self.said)
    }

    /// The connection breaks: git and its ssh are gone at once.
    pub async fn cut(mut self) {
        let group = nix::unistd::Pid::from_raw(self.child.id().expect("runs").cast_signed());
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("kills");
        self.child.wait().await.expect("ends");
    }
}

/// A program that is the hook: this test binary, told to be it. Its standard output is libtest's, so the protocol goes by descriptor 3.
fn hook_program(directory: &Path) -> PathBuf {
    let path = directory.join("teal");
    let test = std::env::current_exe().expect("this program");
    let script = format!(
        "#!/bin/sh\nTEAL_TEST_HOOK=\"$2\" exec '{}' --exact hook_process --nocapture 3>&1 >/dev/null\n",
        test.display()
    );
    std::fs::write(&path, script).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("sets the mode");
    path
}
