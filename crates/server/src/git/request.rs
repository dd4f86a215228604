//! What a client asks for, strictly parsed: the service, and the app's name in a path. Nothing that a client sends becomes a path or an
//! argument here: a name that is not an app's name is refused.

/// The longest app name.
const MAX_NAME: usize = 30;

/// What git clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Fetch and clone.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// The sub-command of git, without `git-`.
    pub(super) const fn subcommand(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }

    /// The service of this name (`git-upload-pack`).
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }
}

/// Why a command is not served; users read it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Not a git command.
    #[error(
        "Teal's SSH speaks git only: git clone, git fetch and git push. For everything else there is the teal command."
    )]
    NotGit,
    /// The path is not an app's name.
    #[error(
        "That is not a repository of Teal: it is named by the app, as in ssh://git@HOST:PORT/shop.git. `teal apps list` shows the apps."
    )]
    NoRepository,
}

/// Parses the command of an SSH client, such as `git-upload-pack '/shop.git'`.
pub(super) fn command(line: &[u8]) -> Result<(Service, String), Refusal> {
    let line = std::str::from_utf8(line).map_err(|_| Refusal::NotGit)?;
    let (service, path) = match line.strip_prefix("git ") {
        Some(rest) => rest.split_once(' ').map(|(name, path)| (Service::named(&format!("git-{name}")), path)),
        None => line.split_once(' ').map(|(name, path)| (Service::named(name), path)),
    }
    .ok_or(Refusal::NotGit)?;
    let service = service.ok_or(Refusal::NotGit)?;
    let path = path.trim();
    let path = path.strip_prefix('\'').and_then(|path| path.strip_suffix('\'')).unwrap_or(path);
    app_name(path).map(|name| (service, name.to_owned())).ok_or(Refusal::NoRepository)
}

/// The app that a path names: `/shop.git`, `shop.git`, `/shop` or `shop`, with or without a slash at the end.
pub(super) fn app_name(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let name = path.strip_suffix(".git").unwrap_or(path);
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(legal);
    (fits && name.starts_with(|c: char| c.is_ascii_lowercase())).then_some(name)
}

/// What the client says about the protocol's version, if it is harmless: it becomes `GIT_PROTOCOL` of a process.
pub(super) fn protocol(text: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | ':' | '.' | '-');
    (text.starts_with("version=") && text.len() <= 64 && text.chars().all(legal)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_git_clients_name_a_service_and_an_app() {
        for (line, service) in [
            ("git-upload-pack '/shop.git'", Service::UploadPack),
            ("git-receive-pack 'shop.git'", Service::ReceivePack),
            ("git upload-pack '/shop'", Service::UploadPack),
            ("git-receive-pack shop", Service::ReceivePack),
            ("git-receive-pack '/shop.git/'", Service::ReceivePack),
        ] {
            assert_eq!(command(line.as_bytes()), Ok((service, "shop".into())), "{line}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for line in [
            "ls",
            "",
            "upload-pack shop",
            "git-shell x",
            "sh -c 'git-upload-pack shop'",
            "git-upload-archive 'shop'",
            "git gc",
        ] {
            assert_eq!(command(line.as_bytes()), Err(Refusal::NotGit), "{line}");
        }
        for path in [
            "'/../shop.git'",
            "'shop.git;id'",
            "'$(id)'",
            "'/a/b.git'",
            "'~shop'",
            "''",
            "'Shop'",
            "--upload-pack=x",
            "'shop.git' --x",
            "'1shop'",
            "'a''b'",
            "'.git'",
            "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
        ] {
            let line = format!("git-upload-pack {path}");
            assert_eq!(command(line.as_bytes()), Err(Refusal::NoRepository), "{line}");
        }
        assert_eq!(command(b"git-upload-pack '\xff'"), Err(Refusal::NotGit));
    }

    #[test]
    fn only_a_plain_protocol_version_reaches_a_process() {
        assert_eq!(protocol("version=2").as_deref(), Some("version=2"));
        for bad in ["", "2", "version=2\n", "version=2 x", "version=$(id)"] {
            assert_eq!(protocol(bad), None, "{bad:?}");
        }
    }
}
