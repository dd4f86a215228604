//! Submodules: fetched inside the build's own sandbox, so that a repository can reach what its build can reach and nothing of the host.
//!
//! What is fetched is the commit that the app's commit names, never a branch. Only addresses without a login of their own are taken: there is
//! nobody in a build who could answer.

use super::script::{lines, quote};
use teal_runtime::Command;

/// The stage that fetches them.
pub(super) const STAGE: &str = "submodules";
/// The most of one app.
const MAX: usize = 50;
/// How git may fetch.
const PROTOCOLS: &str = "https:http:git";

/// A submodule that a commit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submodule {
    /// Where it belongs, from the top of the repository.
    pub path: String,
    /// Its commit: the full hash.
    pub commit: String,
}

/// Fetches one submodule to a path; nothing of git is left there.
const FETCH: &str = r#"fetch() {
  echo "Submodule $1 at $3"
  mkdir -p "$1"
  git -C "$1" init -q
  git -C "$1" fetch -q --depth 1 "$2" "$3" 2>/dev/null || git -C "$1" fetch -q "$2" '+refs/heads/*:refs/remotes/all/*'
  git -C "$1" -c advice.detachedHead=false checkout -q "$3"
  git -C "$1" submodule update -q --init --recursive --depth 1
  find "$1" -name .git -prune -exec rm -rf {} +
}"#;

/// The command that fetches all that are in this folder of the repository (`.`: the whole).
///
/// # Errors
/// A sentence: which cannot be fetched, why, and what to do.
pub(super) fn command(modules: &str, all: &[Submodule], folder: &str) -> Result<Option<Command>, String> {
    script(modules, all, folder, PROTOCOLS)
        .map(|script| script.map(|script| Command { stage: STAGE.to_owned(), script }))
}

fn script(modules: &str, all: &[Submodule], folder: &str, protocols: &str) -> Result<Option<String>, String> {
    let named = parse(modules);
    let mut fetches = Vec::new();
    for submodule in all {
        let inside = match folder {
            "." => Some(submodule.path.as_str()),
            folder => submodule.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')),
        };
        let Some(inside) = inside else { continue };
        let url = named.iter().find(|(path, _)| *path == submodule.path).map(|(_, url)| url.as_str());
        let url = url.ok_or_else(|| refusal(&submodule.path, "`.gitmodules` does not say where it is"))?;
        if !protocols.split(':').any(|protocol| url.starts_with(&format!("{protocol}://"))) {
            let why = "its address is not one that everybody can fetch from (https://…)";
            return Err(refusal(&submodule.path, why));
        }
        fetches.push(format!("fetch {} {} {}", quote(inside), quote(url), quote(&submodule.commit)));
    }
    if fetches.len() > MAX {
        return Err(format!("the commit has {} submodules, {MAX} are fetched at most", fetches.len()));
    }
    if fetches.is_empty() {
        return Ok(None);
    }
    let quiet = format!("export GIT_ALLOW_PROTOCOL={protocols} GIT_TERMINAL_PROMPT=0");
    let script = [quiet.as_str(), FETCH].into_iter().chain(fetches.iter().map(String::as_str));
    Ok(Some(lines(script)))
}

fn refusal(path: &str, why: &str) -> String {
    format!(
        "the submodule {path} cannot be fetched: {why}; correct it, or set CC_DISABLE_GIT_SUBMODULES=true to build without submodules"
    )
}

/// Path and address of each section of a `.gitmodules`. What is odd is passed over: a submodule without an address is refused by name.
fn parse(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(Option<String>, Option<String>)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            found.push((None, None));
        }
        let (Some((key, value)), Some(last)) = (line.split_once('='), found.last_mut()) else { continue };
        let value = value.trim().trim_matches('"').to_owned();
        match key.trim() {
            "path" => last.0 = Some(value),
            "url" => last.1 = Some(value),
            _ => {}
        }
    }
    found.into_iter().filter_map(|(path, url)| Some((path?, url?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    const MODULES: &str = "[submodule \"lib\"]\n\tpath = lib/other\n\turl = https://example.org/it's.git\n";

    fn one(path: &str) -> [Submodule; 1] {
        [Submodule { path: path.into(), commit: "c".repeat(40) }]
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_with_the_remedy() {
        let script = command(MODULES, &one("lib/other"), ".").expect("legal").expect("one").script;
        assert!(script.contains("fetch 'lib/other' 'https://example.org/it'\\''s.git' 'cccc"), "{script}");
        assert_eq!(command(MODULES, &[], "."), Ok(None));
        assert_eq!(command(MODULES, &one("lib/other"), "app"), Ok(None), "it is not in the app's folder");
        let below = command(MODULES, &one("lib/other"), "lib").expect("legal").expect("one").script;
        assert!(below.contains("fetch 'other' "), "{below}");
        for url in
            ["git@example.org:a.git", "ssh://git@example.org/a", "../a.git", "/srv/a", "file:///a", "-u"]
        {
            let modules = format!("[submodule \"a\"]\npath = a\nurl = {url}");
            let told = command(&modules, &one("a"), ".").expect_err(url);
            assert!(told.contains("submodule a") && told.contains("CC_DISABLE_GIT_SUBMODULES"), "{told}");
        }
        assert!(command("", &one("a"), ".").expect_err("nowhere").contains(".gitmodules"));
        let many: Vec<_> = (0..=MAX).flat_map(|_| one("lib/other")).collect();
        assert!(command(MODULES, &many, ".").expect_err("too many").contains("at most"));
    }

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "protocol.file.allow=always"];
        let output =
            std::process::Command::new("git").args(identity).args(arguments).current_dir(directory).output();
        let output = output.expect("git runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[test]
    fn the_commit_that_is_named_is_fetched_and_nothing_of_git_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, tree) = (directory.path().join("from"), directory.path().join("tree"));
        fs::create_dir_all(&from).expect("made");
        fs::create_dir_all(&tree).expect("made");
        git(&from, &["init", "-q", "-b", "main"]);
        fs::write(from.join("file"), "old").expect("written");
        git(&from, &["add", "."]);
        git(&from, &["commit", "-q", "-m", "old"]);
        let commit = git(&from, &["rev-parse", "HEAD"]);
        fs::write(from.join("file"), "new").expect("written");
        git(&from, &["commit", "-q", "-a", "-m", "new"]);
        let modules = format!("[submodule \"x\"]\n  path = a/b\n  url = \"file://{}\"\n", from.display());
        let all = [Submodule { path: "a/b".into(), commit }];
        let script = script(&modules, &all, ".", "file").expect("legal").expect("one");
        let ran = std::process::Command::new("bash").arg("-c").arg(&script).current_dir(&tree).output();
        let ran = ran.expect("bash runs");
        assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(fs::read_to_string(tree.join("a/b/file")).expect("fetched"), "old");
        assert!(!tree.join("a/b/.git").exists());
    }
}
