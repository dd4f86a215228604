//! With a real git.

use super::*;
use std::{fs, os::unix::fs::symlink, process};

struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { directory: tempfile::tempdir().expect("a directory") };
        repository.git(&["init", "-q", "-b", "main", "."]);
        repository
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = process::Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.invalid"])
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn commit(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "a change", "--allow-empty"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    async fn unpack(&self, commit: &str, folder: Option<&str>) -> Result<(Contents, PathBuf), Error> {
        let destination = self.at(".git/build/tree");
        fs::create_dir_all(self.at(".git/build")).expect("made");
        let contents = unpack(&self.at(".git"), commit, folder, &destination).await?;
        Ok((contents, destination))
    }
}

#[tokio::test]
async fn a_commit_is_unpacked_without_its_repository() {
    let repository = Repository::new();
    fs::write(repository.at("run.sh"), "#!/bin/sh\n").expect("written");
    fs::create_dir(repository.at("lib")).expect("made");
    fs::write(repository.at("lib/odd ✓ name"), "x").expect("written");
    symlink("/etc/passwd", repository.at("outside")).expect("linked");
    let commit = repository.commit();
    let (contents, tree) = repository.unpack(&commit, None).await.expect("unpacked");
    assert_eq!((contents.files, contents.bytes), (3, 10 + 1 + 11));
    assert!(tree.join("lib/odd ✓ name").exists() && !tree.join(".git").exists());
    assert_eq!(fs::read_link(tree.join("outside")).expect("a link"), Path::new("/etc/passwd"));
    assert!(!tree.with_extension("incoming").exists());
}

#[tokio::test]
async fn a_folder_becomes_the_tree() {
    let repository = Repository::new();
    fs::create_dir_all(repository.at("apps/shop")).expect("made");
    fs::write(repository.at("apps/shop/index.html"), "x").expect("written");
    fs::write(repository.at("secret"), "x").expect("written");
    symlink("apps/shop", repository.at("link")).expect("linked");
    let commit = repository.commit();
    let (contents, tree) = repository.unpack(&commit, Some("apps/shop")).await.expect("unpacked");
    assert_eq!(contents.files, 1);
    assert!(tree.join("index.html").exists() && !tree.join("secret").exists());
    for missing in ["apps/other", "link", "secret"] {
        let error = repository.unpack(&commit, Some(missing)).await.expect_err("refused");
        assert!(matches!(&error, Error::Folder(name) if name == missing) && error.is_final(), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_no_commit_is_refused_before_git_sees_it() {
    let repository = Repository::new();
    repository.commit();
    for odd in ["HEAD", "--output=/tmp/x", "", "zz"] {
        let error = repository.unpack(odd, None).await.expect_err("refused");
        assert!(matches!(error, Error::Hash(_)), "{error:?}");
    }
    let error = repository.unpack(&"0".repeat(40), None).await.expect_err("refused");
    assert!(
        matches!(error, Error::Missing(_)) && error.is_final(),
        "trying again would not bring it back: {error:?}"
    );
}

#[test]
fn paths_that_no_checkout_makes_are_refused() {
    let mut contents = Contents::default();
    for odd in ["../x", "a/../b", ".git/hooks/x", "a/.GIT/config", "", "a//b"] {
        let entry = format!("100644 blob 00       3\t{odd}\0");
        assert!(matches!(contents.add(entry.as_bytes()), Err(Error::Path { .. })), "{odd:?}");
    }
    assert!(contents.add(b"100644 blob 00 3\tcut off").is_err());
    contents.add(b"160000 commit 00       -\tlib/other\0").expect("a submodule");
    let expected = super::super::submodules::Submodule { path: "lib/other".into(), commit: "00".into() };
    assert_eq!(contents.submodules, [expected]);
    let huge = format!("100644 blob 00 {}\tx\0", MAX_BYTES);
    assert!(matches!(contents.add(huge.as_bytes()), Ok(())), "just fits");
    assert!(matches!(contents.add(b"100644 blob 00 1\ty\0"), Err(Error::TooLarge { .. })));
}

#[test]
fn paths_of_variables_stay_inside() {
    assert_eq!(inside("/public/").as_deref(), Some("public"));
    assert_eq!(inside("./a//b/.").as_deref(), Some("a/b"));
    assert_eq!(inside("/").as_deref(), Some("."));
    assert_eq!(inside("a/../../b"), None);
    assert_eq!(inside("a\nb"), None);
}
