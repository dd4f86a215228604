//! The app's directory and further ones: what is written where, and who owns it.

use crate::rig::{Rig, done, removed};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
};
use teal_runtime::{Mount, Runtime, Tree};

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_release_is_never_written_to() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.script("e-1-0", "echo changed > hello.txt; mkdir d; rm -rf sub; ls; cat hello.txt");
    let Tree::Sealed(release) = &spec.tree else { unreachable!() };
    fs::create_dir(release.join("sub")).expect("made");
    fs::write(release.join("sub/file"), "kept").expect("written");
    let (code, text) = rig.run(&spec).await;
    assert_eq!((code, text.as_str()), (0, "d\nhello.txt\nchanged"));
    assert_eq!(fs::read_to_string(release.join("hello.txt")).expect("there"), "sealed");
    assert_eq!(fs::read_to_string(release.join("sub/file")).expect("there"), "kept");
    assert!(!release.join("d").exists());
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_tree_keeps_what_is_built_and_its_owners() {
    let Some(rig) = Rig::new() else { return };
    let tree =
        rig.release(&[("Makefile", "all:\n\tmkdir -p out && echo built > out/file && chmod 750 out\n")]);
    let mut spec = rig.script("b-1", "make && stat -c '%U' Makefile out/file");
    spec.tree = Tree::Working(tree.clone());
    spec.port = None;
    let (code, text) = rig.run(&spec).await;
    assert_eq!((code, text.lines().skip(1).collect::<Vec<_>>()), (0, vec!["app", "app"]), "{text}");
    removed(&rig.sandbox, &spec.id).await;
    assert_eq!(fs::read_to_string(tree.join("out/file")).expect("built"), "built\n");
    for path in ["Makefile", "out", "out/file"] {
        let found = fs::metadata(tree.join(path)).expect("there");
        assert_eq!((found.uid(), found.gid()), (0, 0), "{path}");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn further_directories_are_written_only_if_they_may_be() {
    let Some(rig) = Rig::new() else { return };
    let (cache, shared) = (rig.config.data.join("cache"), rig.release(&[("seed", "s")]));
    let script =
        "echo kept > .cache/deps/file; cat /shared/seed; echo; touch /shared/no 2>/dev/null || echo refused";
    let mut spec = rig.script("b-1", script);
    let mount = |source: &std::path::Path, target: &str, writable| Mount {
        source: source.into(),
        target: target.into(),
        writable,
    };
    spec.mounts = vec![mount(&cache, "/app/.cache/deps", true), mount(&shared, "/shared", false)];
    for tree in [Tree::Working(rig.release(&[])), Tree::Sealed(rig.release(&[]))] {
        spec.tree = tree;
        let (code, text) = rig.run(&spec).await;
        assert_eq!((code, text.as_str()), (0, "s\nrefused"));
        assert_eq!(fs::read_to_string(cache.join("file")).expect("kept"), "kept\n");
        assert_eq!(fs::metadata(cache.join("file")).expect("there").uid(), 0);
        removed(&rig.sandbox, &spec.id).await;
        done(rig.sandbox.forget(&spec.id).await);
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_apps_tree_leads_nowhere_on_the_host() {
    let Some(rig) = Rig::new() else { return };
    let target = rig.config.data.join("target");
    fs::create_dir_all(&target).expect("made");
    let tree = rig.release(&[]);
    symlink(&target, tree.join("escape")).expect("linked");
    let mut spec = rig.script("b-1", "ls escape/ 2>/dev/null | wc -l");
    spec.tree = Tree::Working(tree);
    spec.mounts = vec![Mount {
        source: rig.release(&[("secret", "x")]),
        target: "/app/escape/in".into(),
        writable: true,
    }];
    // Whether it starts is of no concern: nothing may be made where the link points.
    let _ = rig.sandbox.ensure(&spec).await;
    assert_eq!(fs::read_dir(&target).expect("there").count(), 0);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_image_takes_the_hosts_place() {
    let Some(mut rig) = Rig::new() else { return };
    let image = rig.release(&[]);
    fs::create_dir_all(image.join("usr/bin")).expect("made");
    fs::create_dir_all(image.join("etc")).expect("made");
    symlink("usr/bin", image.join("bin")).expect("linked");
    copy_with_libraries("/bin/bash", &image);
    fs::write(image.join("etc/timezone"), "Mars/Olympus\n").expect("written");
    rig.config.image = Some(image);
    rig.sandbox = rig.again();
    let script = "echo /usr/* /usr/bin/*; echo $(</etc/timezone) $(</app/hello.txt)";
    let (code, text) = rig.run(&rig.script("e-1-0", script)).await;
    assert_eq!((code, text.lines().last()), (0, Some("Mars/Olympus sealed")), "{text}");
    assert!(text.starts_with("/usr/bin") && text.contains("/usr/bin/bash\n"), "{text}");
    rig.close().await;
}

/// A program and what it is linked with, at the same places below `image`.
fn copy_with_libraries(program: &str, image: &std::path::Path) {
    let libraries = std::process::Command::new("ldd").arg(program).output().expect("ldd runs").stdout;
    let libraries = String::from_utf8(libraries).expect("text");
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths {
        let to = image.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().expect("a parent")).expect("made");
        fs::copy(path, to).expect("copied");
    }
    fs::copy(program, image.join("usr/bin/bash")).expect("copied");
}
