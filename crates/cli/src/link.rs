//! The `.teal` file: links a checkout to an app, so that commands in it need no name. It holds no secret and may be committed.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Its name, at the top of the checkout.
pub(crate) const FILE: &str = ".teal";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// The app's name.
    pub(crate) app: String,
    /// The server that it lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

/// The link of the checkout that this directory is in: looks upwards and stops at the top of the checkout.
pub(crate) fn find(from: &Path) -> Result<Option<Link>> {
    for directory in from.ancestors() {
        let path = directory.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => return parse(&path, &text).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if path.is_dir() || directory.join(".git").exists() => {
                return Err(Error::because(format!("{} cannot be read", path.display()), error));
            }
            Err(_) => {}
        }
        if directory.join(".git").exists() {
            return Ok(None);
        }
    }
    Ok(None)
}

fn parse(path: &Path, text: &str) -> Result<Link> {
    toml::from_str(text).map_err(|e| {
        Error::usage(format!("{} is no link to an app: {}", path.display(), e.message()))
            .hint("write it again with `teal link APP`")
    })
}

/// The top of the checkout that this directory is in.
pub(crate) fn checkout(from: &Path) -> Option<PathBuf> {
    from.ancestors().find(|directory| directory.join(".git").exists()).map(Path::to_owned)
}

/// Writes the link at the top of the checkout.
pub(crate) fn write(checkout: &Path, link: &Link) -> Result<PathBuf> {
    let path = checkout.join(FILE);
    let text = toml::to_string(link).map_err(|e| Error::because("the link does not turn into TOML", e))?;
    let fresh = checkout.join(format!("{FILE}.{}", std::process::id()));
    std::fs::write(&fresh, text)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(|e| Error::because(format!("{} cannot be written", path.display()), e))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_found_from_below_and_not_beyond_the_checkout() {
        let top = tempfile::tempdir().expect("directory");
        let link = Link { app: "outer".into(), url: None };
        write(top.path(), &link).expect("writes");
        let inner = top.path().join("inner");
        std::fs::create_dir_all(inner.join(".git")).expect("makes");
        std::fs::create_dir_all(inner.join("a/b")).expect("makes");
        assert_eq!(find(&inner.join("a/b")).expect("reads"), None);
        let link = Link { app: "shop".into(), url: Some("http://h:1".into()) };
        write(&inner, &link).expect("writes");
        assert_eq!(find(&inner.join("a/b")).expect("reads"), Some(link));
        assert_eq!(checkout(&inner.join("a")), Some(inner));
    }
}
