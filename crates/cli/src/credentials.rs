//! Where the server is and what proves who asks: `TEAL_URL` and `TEAL_TOKEN`, or what `teal login` stored (mode 0600).
//! A token must never come from the command line (other users read it there) and is never printed.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A server and the token for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The server's address, without a trailing slash.
    pub(crate) url: String,
    /// The secret.
    pub(crate) token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, …)", self.url)
    }
}

/// The credentials to use: each half from its flag or variable, else from the file.
pub(crate) fn find(url: Option<&str>) -> Result<Credentials> {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let (url, token) = (url.map(str::to_owned), variable("TEAL_TOKEN"));
    if let (Some(url), Some(token)) = (&url, &token) {
        return Ok(Credentials { url: normal(url)?, token: token.clone() });
    }
    let stored = load(&path()?)?;
    let missing = || {
        Error::usage("no server is known: you are not logged in").hint(
            "run `teal login http://SERVER:8600` (the first token is in the server's data directory), or set TEAL_URL and TEAL_TOKEN",
        )
    };
    let Some(stored) = stored else { return Err(missing()) };
    let url = match url {
        Some(url) => normal(&url)?,
        None => stored.url.clone(),
    };
    // A stored token belongs to its server: it is never sent to another one.
    let token = match token {
        Some(token) => token,
        None if url == stored.url => stored.token,
        None => {
            return Err(Error::usage(format!("the stored token is for {}, not for {url}", stored.url))
                .hint(format!("run `teal login {url}`, or set TEAL_TOKEN")));
        }
    };
    Ok(Credentials { url, token })
}

/// The address in the form in which it is stored: scheme, host, port.
pub(crate) fn normal(url: &str) -> Result<String> {
    let trimmed = url.trim().trim_end_matches('/');
    let uri: http::Uri = trimmed.parse().map_err(|e| bad_url(url, &e))?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    if known && plain && uri.query().is_none() {
        Ok(trimmed.to_owned())
    } else {
        Err(bad_url(url, &"no http(s) address"))
    }
}

fn bad_url(url: &str, why: &dyn fmt::Display) -> Error {
    // An address with a password in it must not be repeated.
    let shown = url.rsplit('@').next().unwrap_or_default();
    Error::usage(format!("`{shown}` is not the address of a server: {why}"))
        .hint("give it as http://HOST:PORT or https://HOST, without user or password")
}

/// The file that `teal login` writes.
pub(crate) fn path() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let base = std::env::var_os("XDG_CONFIG_HOME").filter(|v| !v.is_empty()).map(PathBuf::from).or_else(home);
    let base = base.ok_or_else(|| {
        Error::usage("there is no place for credentials: neither HOME nor XDG_CONFIG_HOME is set")
            .hint("set HOME, or use TEAL_URL and TEAL_TOKEN")
    })?;
    Ok(base.join("teal").join("credentials.toml"))
}

/// What is stored there, if anything; refuses a file that others may read.
fn load(path: &Path) -> Result<Option<Credentials>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::because(format!("{} cannot be read", path.display()), error)),
    };
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o077 != 0 {
        return Err(Error::usage(format!(
            "{} may be read by others (mode {:o})",
            path.display(),
            mode & 0o777
        ))
        .hint(format!("run `chmod 600 {}`, and replace the token if it may have leaked", path.display())));
    }
    let parsed = toml::from_str(&text);
    parsed.map(Some).map_err(|_| {
        Error::usage(format!("{} is damaged: it holds no url and token", path.display()))
            .hint("remove it and run `teal login` again")
    })
}

/// Stores them: written beside, mode 0600 from the start, then renamed over the old ones.
pub(crate) fn store(credentials: &Credentials) -> Result<PathBuf> {
    let path = path()?;
    store_at(&path, credentials)
        .map_err(|e| Error::because(format!("{} cannot be written", path.display()), e))?;
    Ok(path)
}

fn store_at(path: &Path, credentials: &Credentials) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let text = toml::to_string(credentials).map_err(std::io::Error::other)?;
    let fresh = directory.join(format!(".credentials.{}", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_private_and_comes_back() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("teal/credentials.toml");
        let credentials = Credentials { url: "http://h:1".into(), token: "teal_x".into() };
        store_at(&path, &credentials).expect("stores");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path).expect("loads"), Some(credentials));
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("c.toml");
        store_at(&path, &Credentials { url: "http://h:1".into(), token: "s3cret".into() }).expect("stores");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
        let error = load(&path).expect_err("refused");
        assert!(error.message.contains("may be read by others") && !error.message.contains("s3cret"));
    }

    #[test]
    fn passwords_in_addresses_are_refused_and_not_repeated() {
        let error = normal("http://me:hunter2@host:1").expect_err("refused");
        assert!(!error.message.contains("hunter2"), "{error}");
        assert_eq!(normal("https://host/").expect("fine"), "https://host");
    }
}
