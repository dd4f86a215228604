//! The real `git`, as `teal deploy` and the demo use it. The token reaches it through the environment of one process and a credential
//! helper (`teal __credential`): never through an argument, an address, or the user's own helpers, which might store it.

use crate::{
    client::Client,
    error::{Error, Kind, Result},
};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Names of the variables that the helper reads.
const URL: &str = "TEAL_CREDENTIAL_URL";
const USER: &str = "TEAL_CREDENTIAL_USER";
const SECRET: &str = "TEAL_CREDENTIAL_SECRET";
/// The longest request that git may send to the helper, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;

/// A checkout.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    directory: PathBuf,
}

impl Checkout {
    /// The checkout whose top is here.
    pub(crate) fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Runs git and returns what it printed.
    pub(crate) fn git<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String> {
        let mut command = self.command();
        let output = command.args(args).stdin(Stdio::null()).output().map_err(missing)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let what: Vec<_> = args.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        Err(Error::because(format!("git {} failed", what.join(" ")), crate::out::harmless(&said)))
    }

    /// The full hash of HEAD.
    pub(crate) fn head(&self) -> Result<String> {
        self.git(&["rev-parse", "--verify", "HEAD^{commit}"]).map_err(|_| {
            Error::usage("there is no commit to deploy in this checkout").hint("commit something first")
        })
    }

    /// Whether files differ from HEAD, which a push would leave behind.
    pub(crate) fn is_dirty(&self) -> Result<bool> {
        Ok(!self.git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty())
    }

    /// Starts a push of HEAD. git's own words come from the child's standard error.
    pub(crate) fn push(&self, client: &Client, remote: &str, branch: &str, force: bool) -> Result<Child> {
        let exe =
            std::env::current_exe().map_err(|e| Error::because("the path of this program is unknown", e))?;
        let mut command = self.command();
        let helper = format!("!{} __credential", quoted(&exe));
        let mut settings = vec![("credential.helper", ""), ("credential.helper", helper.as_str())];
        if is_loopback(client.url()) {
            settings.push(("http.proxy", ""));
        }
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (number, (name, value)) in settings.into_iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{number}"), name)
                .env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env(URL, client.url())
            .env(USER, client.whoami()?.token)
            .env(SECRET, client.token())
            .args(["push", "--no-progress"])
            .args(force.then_some("--force"))
            .args(["--", &here(client.url(), remote), &format!("HEAD:refs/heads/{branch}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().map_err(missing)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.directory).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        command
    }
}

/// The remote as this machine reaches it: the server may call itself by another address than the one that we are logged in to, and the token
/// goes nowhere else.
fn here(url: &str, remote: &str) -> String {
    let path =
        remote.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or(remote, |(_, path)| path);
    format!("{url}/{path}")
}

/// Whether an address is this machine's own, which no proxy can reach.
pub(crate) fn is_loopback(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    uri.and_then(|uri| uri.host().map(str::to_owned)).is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost"
            || host.ends_with(".localhost")
            || address.is_ok_and(|address| address.is_loopback())
    })
}

/// Hands each line that git writes to `line`, without the `remote: ` before what the server said.
pub(crate) fn relay(stderr: impl Read, mut line: impl FnMut(&str)) {
    for bytes in BufReader::new(stderr).split(b'\n').map_while(std::result::Result::ok) {
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\r', ' ']);
        line(text.strip_prefix("remote: ").unwrap_or(text));
    }
}

fn missing(error: std::io::Error) -> Error {
    let hint = if cfg!(target_os = "linux") {
        "install it, for example `apt-get install git`"
    } else {
        "install git"
    };
    Error::because("git cannot be started", error).hint(hint)
}

/// A path as one word of a shell: git runs helpers through one.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// `teal __credential get`: what git asks for user and password. Answers only for the server that the token is for.
pub(crate) fn credential(action: Option<&str>) -> Result<()> {
    if action != Some("get") {
        return Ok(());
    }
    let mut asked = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_REQUEST)
        .read_to_string(&mut asked)
        .map_err(|e| Error::because("git's request cannot be read", e))?;
    let variable = |name| {
        std::env::var(name).map_err(|_| Error::new(Kind::Usage, "this command is run by git, never by hand"))
    };
    let (url, user, secret) = (variable(URL)?, variable(USER)?, variable(SECRET)?);
    match answer(&asked, &url, &user, &secret) {
        Some(answer) => crate::out::Out::new(false).raw(&answer),
        None => Ok(()),
    }
}

fn answer(asked: &str, url: &str, user: &str, secret: &str) -> Option<String> {
    let value = |name: &str| asked.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let origin = format!("{}://{}", value("protocol")?, value("host")?);
    let clean = |text: &str| !text.contains(['\n', '\r', '\0']);
    (origin == url && clean(user) && clean(secret)).then(|| format!("username={user}\npassword={secret}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_told_for_its_own_server_only() {
        let asked = "capability[]=authtype\nprotocol=http\nhost=127.0.0.1:8600\npath=shop.git\n";
        let told = answer(asked, "http://127.0.0.1:8600", "t-1", "s3cret").expect("told");
        assert_eq!(told, "username=t-1\npassword=s3cret");
        assert_eq!(answer(asked, "https://127.0.0.1:8600", "t-1", "s3cret"), None);
        assert_eq!(answer(asked, "http://127.0.0.1:86", "t-1", "s3cret"), None);
    }

    #[test]
    fn a_push_goes_to_the_server_that_the_token_is_for() {
        assert_eq!(
            here("http://127.0.0.1:1", "https://teal.example.org/shop.git"),
            "http://127.0.0.1:1/shop.git"
        );
    }

    #[test]
    fn lines_of_the_server_lose_their_prefix() {
        let mut lines = Vec::new();
        relay(&b"remote: Build succeeded   \nTo http://x\n"[..], |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["Build succeeded", "To http://x"]);
    }
}
