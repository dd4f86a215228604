//! A developer's repository, pushed by the real git.

use crate::Host;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A checkout with a remote.
pub struct Repository {
    directory: TempDir,
    remote: String,
    token: String,
}

/// What `git push` said.
#[derive(Debug)]
pub struct Pushed {
    /// The commit that was pushed.
    pub commit: String,
    /// Its exit status was 0.
    pub ok: bool,
    /// Everything that it printed.
    pub output: String,
}

impl Repository {
    /// An empty repository whose remote is this app.
    ///
    /// # Errors
    /// If git does not work.
    pub fn new(host: &Host, app: &str) -> Result<Self> {
        let url = host.api().url();
        let this = Self {
            directory: TempDir::new()?,
            remote: format!("{url}/{app}.git"),
            token: host.api().token().to_owned(),
        };
        this.git(&["init", "-q", "-b", "main"])?;
        Ok(this)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes files and commits everything; the commit's hash.
    ///
    /// # Errors
    /// If git does not work.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> Result<String> {
        for (name, text) in files {
            let path = self.path().join(name);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, text)?;
        }
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", message])?;
        self.head()
    }

    /// The hash of HEAD.
    ///
    /// # Errors
    /// If git does not work.
    pub fn head(&self) -> Result<String> {
        Ok(String::from_utf8(self.git(&["rev-parse", "HEAD"])?.stdout)?.trim().to_owned())
    }

    /// Pushes HEAD to `main` and waits for git to end.
    ///
    /// # Errors
    /// If git cannot be run. A refused push or a failed deployment is no error: see [`Pushed::ok`].
    pub fn push(&self) -> Result<Pushed> {
        self.push_to("HEAD:main", &[])
    }

    /// Pushes something else.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_to(&self, refspec: &str, flags: &[&str]) -> Result<Pushed> {
        let output = self.push_command(refspec, flags).output()?;
        Ok(Pushed { commit: self.head()?, ok: output.status.success(), output: text(&output) })
    }

    /// The command that pushes, for tests that want to start it in the background. The token goes by a helper, never by argv.
    #[must_use]
    pub fn push_command(&self, refspec: &str, flags: &[&str]) -> Command {
        let mut command = self.command();
        let helper = "!f() { test \"$1\" = get && printf 'username=t-admin\\npassword=%s\\n' \"$TEAL_TEST_TOKEN\"; }; f";
        command.args(["-c", "credential.helper=", "-c", &format!("credential.helper={helper}"), "push"]);
        command.args(flags).args([&self.remote, refspec]).env("TEAL_TEST_TOKEN", &self.token);
        command.stdin(Stdio::null());
        command
    }

    /// Commits files and pushes them.
    ///
    /// # Errors
    /// As [`Self::commit`] and [`Self::push`].
    pub fn deploy(&self, files: &[(&str, &str)], message: &str) -> Result<Pushed> {
        self.commit(files, message)?;
        self.push()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(self.path())
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", self.path());
        command.args(["-c", "user.name=Dev", "-c", "user.email=dev@example.org"]);
        command
    }

    fn git(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command().args(arguments).output()?;
        if !output.status.success() {
            bail!("git {}: {}", arguments.join(" "), text(&output));
        }
        Ok(output)
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
