//! The operator's own configuration of package managers, for builds: which mirror, which certificate authority. Never credentials.
//!
//! Lines that could hold a secret are left out; certificate files that the rest names come along, private keys do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A configuration file that is larger is not one.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// npm's global file of an npm that lives in `/usr`; it is part of the image, so it is replaced in every instance.
const IMAGE_NPMRC: &str = "/usr/etc/npmrc";

/// Variables of the server that name files of certificate authorities.
const AUTHORITIES: [&str; 6] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
];

/// Keys of such files that name one too.
const AUTHORITY_KEYS: [&str; 2] = ["cafile", "cert"];

/// What marks a line that may hold a secret.
const SECRETS: [&str; 7] = ["_auth", "token", "password", "passwd", "username", "secret", "client-cert"];

/// The files that a sandbox gets besides the image's, by their path inside. The host's own system has its authorities already; an `image` does
/// not know those that the operator added.
pub(crate) fn files(build: bool, image: bool) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    if build {
        files.extend(configuration());
        let named: BTreeSet<PathBuf> =
            files.values().flat_map(|text| authorities(text)).chain(variables()).collect();
        files.extend(
            named
                .into_iter()
                .filter(|path| path.is_absolute() && (image || !inside(path)))
                .filter_map(|path| Some((path.clone(), certificates(&path)?))),
        );
    }
    if Path::new(IMAGE_NPMRC).exists() {
        let text = files.get(Path::new("/etc/npmrc")).cloned().unwrap_or_default();
        files.insert(PathBuf::from(IMAGE_NPMRC), text);
    }
    files
}

fn configuration() -> Vec<(PathBuf, String)> {
    let pip = std::env::var_os("PIP_CONFIG_FILE").map(PathBuf::from);
    let from = [
        ("/etc/pip.conf", [pip, Some(PathBuf::from("/etc/pip.conf"))]),
        ("/etc/npmrc", [Some(PathBuf::from(IMAGE_NPMRC)), Some(PathBuf::from("/etc/npmrc"))]),
    ];
    let first = |sources: [Option<PathBuf>; 2]| sources.into_iter().flatten().find_map(|path| read(&path));
    from.into_iter()
        .filter_map(|(to, sources)| Some((PathBuf::from(to), harmless(&first(sources)?))))
        .collect()
}

fn read(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    if found.is_file() && found.len() <= MAX_FILE { fs::read_to_string(path).ok() } else { None }
}

/// Without the lines that may hold a secret: known keys, and addresses with a user in them. A line that goes on the next one goes with it.
fn harmless(text: &str) -> String {
    let mut kept = String::new();
    let mut dropping = false;
    for line in text.lines() {
        let continued = line.starts_with([' ', '\t']);
        dropping = if continued { dropping || secret(line) } else { secret(line) };
        if !dropping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn secret(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let user =
        lower.split("://").skip(1).any(|rest| rest.split(['/', ' ']).next().is_some_and(|a| a.contains('@')));
    user || SECRETS.iter().any(|word| lower.contains(word))
}

fn authorities(text: &str) -> Vec<PathBuf> {
    let value = |line: &str| {
        let (key, value) = line.split_once('=')?;
        AUTHORITY_KEYS.contains(&key.trim()).then(|| PathBuf::from(value.trim().trim_matches(['"', '\''])))
    };
    text.lines().filter_map(value).collect()
}

fn variables() -> impl Iterator<Item = PathBuf> {
    AUTHORITIES.iter().filter_map(std::env::var_os).map(PathBuf::from)
}

/// Part of every sandbox already.
fn inside(path: &Path) -> bool {
    path.starts_with("/usr") || path.starts_with("/etc/ssl/certs")
}

fn certificates(path: &Path) -> Option<String> {
    let text = read(path)?;
    (text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_stay_and_credentials_go() {
        let text = "registry=https://mirror.example/npm/\n//mirror.example/npm/:_authToken=abc\n_auth = eDp5\ncafile=/opt/ca.pem\n";
        let kept = harmless(text);
        assert_eq!(kept, "registry=https://mirror.example/npm/\ncafile=/opt/ca.pem\n");
        assert_eq!(authorities(&kept), [PathBuf::from("/opt/ca.pem")]);
    }

    #[test]
    fn an_address_with_a_user_is_a_credential_wherever_it_stands() {
        let text = "[global]\nindex-url = https://me:pw@mirror.example/simple\nextra-index-url =\n  https://a.example/simple\n  https://tok@b.example/simple\ntimeout = 60\n";
        let kept = harmless(text);
        assert!(!kept.contains('@'), "{kept}");
        assert!(kept.contains("https://a.example/simple") && kept.contains("timeout = 60"), "{kept}");
    }
}
