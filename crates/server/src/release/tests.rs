//! With real trees on a real disk.

use super::*;
use crate::manifest::Manifest;
use std::{
    collections::BTreeMap,
    os::unix::fs::{PermissionsExt, symlink},
};
use teal_core::{route::Colour, time::Time};
use teal_runtime::{Limits, Tree};

fn meta(kind: Kind, start: &str) -> Meta {
    Meta {
        commit: "c".repeat(40),
        image: "1".into(),
        kind,
        created: Time(1),
        run: Run {
            prelude: String::new(),
            start: Some(start.into()),
            variables: BTreeMap::from([("PYTHONUNBUFFERED".into(), "1".into())]),
            port: 8080,
            needs_teal: kind == Kind::Static,
        },
        manifest: Manifest::default(),
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    releases: Releases,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let releases = Releases::open(&directory.path().join("releases")).expect("opened");
        Self { directory, releases }
    }

    /// A new work directory with these files.
    fn work(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let work = self.directory.path().join(name);
        fs::create_dir_all(work.join("tree")).expect("made");
        for (path, text) in files {
            let path = work.join("tree").join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        work
    }

    fn seal(&self, work: &Path) -> Sealed {
        self.releases.seal(work, &meta(Kind::Linux, "x"), &Choice::default()).expect("sealed")
    }
}

#[test]
fn identical_content_has_one_name_whatever_was_built_when() {
    let fixture = Fixture::new();
    let files = [("a", "1"), ("lib/b", "2")];
    let first = fixture.seal(&fixture.work("one", &files));
    let second = fixture.seal(&fixture.work("two", &files));
    assert_eq!(first.id, second.id);
    assert!(!fixture.directory.path().join("two").exists(), "the second one is not kept");
    let release = fixture.releases.get(&first.id).expect("read").expect("there");
    assert_eq!(release.meta, meta(Kind::Linux, "x"));
    assert_eq!(fs::read_to_string(release.tree.join("lib/b")).expect("read"), "2");
    let other = fixture.seal(&fixture.work("three", &[("a", "1"), ("lib/b", "3")]));
    let moved = fixture.seal(&fixture.work("four", &[("a", "1"), ("lib2/b", "2")]));
    let run =
        fixture.releases.seal(&fixture.work("five", &files), &meta(Kind::Linux, "y"), &Choice::default());
    let names = HashSet::from([first.id, other.id, moved.id, run.expect("sealed").id]);
    assert_eq!(names.len(), 4, "content, paths and the way to run all count");
}

#[test]
fn modes_count_but_never_those_that_lend_rights() {
    let fixture = Fixture::new();
    let with = |name: &str, mode| {
        let work = fixture.work(name, &[("tool", "x")]);
        fs::set_permissions(work.join("tree/tool"), fs::Permissions::from_mode(mode)).expect("set");
        fixture.seal(&work).id
    };
    let plain = with("a", 0o755);
    assert_eq!(plain, with("b", 0o4755));
    assert_eq!(plain, with("c", 0o2755));
    assert_ne!(plain, with("d", 0o644));
    let release = fixture.releases.get(&plain).expect("read").expect("there");
    let mode = fs::metadata(release.tree.join("tool")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn links_are_kept_and_never_followed() {
    let fixture = Fixture::new();
    let victim = fixture.directory.path().join("victim");
    fs::write(&victim, "untouched").expect("written");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o4711)).expect("set");
    let before = fs::metadata(&victim).expect("there");
    let work = fixture.work("w", &[("a", "x")]);
    symlink(&victim, work.join("tree/soft")).expect("linked");
    symlink("/", work.join("tree/root")).expect("linked");
    symlink("nowhere", work.join("tree/broken")).expect("linked");
    fs::hard_link(&victim, work.join("tree/hard")).expect("linked");
    let sealed = fixture.seal(&work);
    let after = fs::metadata(&victim).expect("there");
    assert_eq!(after.permissions(), before.permissions());
    assert_eq!(fs::read_to_string(&victim).expect("read"), "untouched");
    let tree = fixture.releases.get(&sealed.id).expect("read").expect("there").tree;
    assert_eq!(fs::read_link(tree.join("root")).expect("a link"), Path::new("/"));
    assert_eq!(fs::read_to_string(tree.join("hard")).expect("read"), "untouched");
    assert_eq!(fs::metadata(tree.join("hard")).expect("there").permissions().mode() & 0o7777, 0o711);
}

#[test]
fn pipes_and_sockets_are_left_out_with_a_word() {
    let fixture = Fixture::new();
    let work = fixture.work("w", &[("a", "x")]);
    nix::unistd::mkfifo(&work.join("tree/pipe"), nix::sys::stat::Mode::S_IRUSR).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(work.join("tree/socket")).expect("bound");
    let sealed = fixture.seal(&work);
    assert_eq!(sealed.notes.len(), 1);
    assert!(sealed.notes[0].contains("pipe (a pipe), socket (a socket)"), "{:?}", sealed.notes);
    assert_eq!(sealed.id, fixture.seal(&fixture.work("v", &[("a", "x")])).id);
}

#[test]
fn only_what_is_chosen_is_sealed() {
    let fixture = Fixture::new();
    let files = [("dist/a", "1"), ("dist/cache/b", "2"), ("src/c", "3"), ("top", "4")];
    let names = |only, without| {
        let choice = Choice::parse(only, without);
        let work = fixture.work("w", &files);
        let id = fixture.releases.seal(&work, &meta(Kind::Linux, "x"), &choice).expect("sealed").id;
        let tree = fixture.releases.get(&id).expect("read").expect("there").tree;
        let there = files.into_iter().filter(|(path, _)| tree.join(path).exists());
        there.map(|(path, _)| path).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(None, Some("/src:dist/cache")), "dist/a top");
    assert_eq!(names(Some("dist"), None), "dist/a dist/cache/b");
    assert_eq!(names(Some("dist/cache:top"), None), "dist/cache/b top");
    assert_eq!(names(Some("../.."), None), "dist/a dist/cache/b src/c top");
}

#[test]
fn two_versions_of_a_page_never_look_alike_to_a_browser() {
    let fixture = Fixture::new();
    let times = ["one", "two"].map(|text| {
        let work = fixture.work(text, &[("index.html", text)]);
        let file = fs::File::open(work.join("tree/index.html")).expect("open");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)).expect("set");
        let id =
            fixture.releases.seal(&work, &meta(Kind::Static, "x"), &Choice::default()).expect("sealed").id;
        let tree = fixture.releases.get(&id).expect("read").expect("there").tree;
        fs::metadata(tree.join("index.html")).expect("there").modified().expect("a time")
    });
    assert_ne!(times[0], times[1]);
    assert_eq!(times[0].duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs(), 1_000);
}

#[test]
fn what_nobody_keeps_is_removed_with_its_cache() {
    let fixture = Fixture::new();
    let kept = fixture.seal(&fixture.work("a", &[("a", "1")])).id;
    let lost = fixture.seal(&fixture.work("b", &[("a", "2")])).id;
    fixture.releases.remember("k1", &kept).expect("noted");
    fixture.releases.remember("k2", &lost).expect("noted");
    let keep = HashSet::from([kept.clone()]);
    assert_eq!(fixture.releases.collect(&keep, GRACE).expect("collected"), 0, "too young");
    assert_eq!(fixture.releases.collect(&keep, Duration::ZERO).expect("collected"), 1);
    assert_eq!(fixture.releases.get(&lost).expect("read"), None);
    assert_eq!(fixture.releases.cached("k1").expect("read").expect("there").id, kept);
    assert_eq!(fixture.releases.cached("k2").expect("read"), None);
    assert_eq!(fs::read_dir(&fixture.releases.cache).expect("listed").count(), 1);
}

#[test]
fn an_interrupted_removal_is_finished_at_the_next_start() {
    let fixture = Fixture::new();
    let bin = fixture.releases.directory.join(".bin-r-0");
    fs::create_dir_all(bin.join("tree/locked")).expect("made");
    fs::set_permissions(bin.join("tree/locked"), fs::Permissions::from_mode(0o000)).expect("set");
    Releases::open(&fixture.directory.path().join("releases")).expect("opened");
    assert!(!bin.exists());
}

#[test]
fn the_key_tells_builds_apart_and_shows_nothing() {
    let app = "app-1".parse().expect("legal");
    let key = |commit, variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Key { app: &app, commit, image: "1", kind: None, variables: &variables }.text()
    };
    let plain = key("c", &[]);
    assert_eq!(plain, key("c", &[("CC_HEALTH_CHECK_PATH", "/up"), ("CC_RUN_FAILED_HOOK", "x")]));
    for (commit, variables) in [
        ("d", vec![]),
        ("c", vec![("CC_PRE_BUILD_HOOK", "x")]),
        ("c", vec![("VITE_API", "hunter2")]),
        ("c", vec![("VITE_API", "hunter3")]),
    ] {
        assert_ne!(plain, key(commit, &variables));
    }
    assert!(!key("c", &[("VITE_API", "hunter2")]).contains("hunter"));
    assert_ne!(key("c", &[("A", "1B2")]), key("c", &[("A", "1"), ("B", "2")]));
}

#[test]
fn an_environment_makes_a_release_run() {
    let environment = Environment {
        id: "e-9".parse().expect("legal"),
        app: "app-1".parse().expect("legal"),
        name: "shop".into(),
        deployment: "d-9".parse().expect("legal"),
        commit: "other".into(),
        colour: Colour::Green,
        variables: BTreeMap::from([
            ("PYTHONUNBUFFERED".into(), "0".into()),
            ("CC_WORKER_COMMAND".into(), "w".into()),
        ]),
        tcp_port: Some(5432),
        image: None,
        limits: Limits { memory_mib: 512, cpu_milli: 1000, pids: 100, disk_mib: 100 },
        proxies: vec![],
        server: "/data/static-server".into(),
    };
    let release =
        Release { id: "r-1".parse().expect("legal"), tree: "/r/tree".into(), meta: meta(Kind::Static, "go") };
    let spec = run_spec(&release, &environment, 2);
    assert_eq!(spec.id.as_str(), "e-9-2");
    assert_eq!(spec.commands.last().map(|command| command.script.as_str()), Some("go"));
    assert_eq!((spec.port, spec.workers.as_slice()), (Some(8080), ["w".into()].as_slice()));
    assert_eq!(spec.tcp_port, Some(5432));
    assert!(matches!(&spec.tree, Tree::Sealed(tree) if tree == Path::new("/r/tree")));
    assert_eq!(spec.variables["INSTANCE_NUMBER"], "2");
    assert_eq!(spec.variables["COMMIT_ID"], "other");
    assert_eq!(spec.variables["PYTHONUNBUFFERED"], "0");
    assert_eq!(spec.variables["TEAL_BINARY"], "/opt/teal/teal");
    assert_eq!(spec.mounts[0].target, Path::new("/opt/teal"));
    assert!(!spec.mounts[0].writable);
}
