//! The control socket: what is acknowledged is durable, and no garbage harms.

use crate::{
    app::App,
    client::get,
    rig::{Control, Rig, nowhere, options, route, until},
};
use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::Duration,
};
use teal_core::{
    control::{MAX_FRAME, Reply, Request, VERSION, encode},
    route::Table,
};
use teal_router::{Error, Ready, Router};

#[test]
fn the_last_table_is_served_before_any_server_connects() {
    let mut rig = Rig::start();
    let (one, two) = (App::version("1"), App::version("2"));
    rig.control.replace(vec![route("e-1", &[one.address])]);
    rig.restart();
    assert_eq!(get(rig.http(), "/").text(), "1");
    rig.control = Control::connect(&rig.socket());
    assert_eq!(rig.control.generation, 1, "it says what it serves");
    rig.control.change(Some(route("e-2", &[two.address])));
    rig.restart();
    assert_eq!(get(rig.http(), "/").text(), "2");
}

#[test]
fn a_corrupt_table_is_kept_aside_and_serves_nobody() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    rig.router.take().expect("runs").stop();
    let file = rig.directory.path().join("state/table");
    let whole = std::fs::read(&file).expect("reads");
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("writes");
    rig.router = Some(Router::start(options(rig.directory.path())).expect("starts all the same"));
    assert_eq!(get(rig.http(), "/").status, 404);
    assert!(rig.directory.path().join("state/table.corrupt").exists());
    let mut control = Control::connect(&rig.socket());
    assert_eq!(control.generation, 0);
    control.replace(vec![route("e-1", &[app.address])]);
    assert_eq!(get(rig.http(), "/").text(), "v");
}

#[test]
fn a_change_from_another_generation_asks_for_the_table() {
    let mut rig = Rig::start();
    rig.control.replace(vec![route("e-1", &[nowhere()])]);
    let apps = [("a-0".parse().expect("legal"), None)];
    let change = |base_generation, generation| Request::Change {
        base_generation,
        generation,
        apps: apps.clone().into(),
    };
    for base in [0, 2, 100] {
        assert_eq!(rig.control.ask(&change(base, 101)), Reply::NeedTable { generation: 1 });
    }
    for not_newer in [0, 1] {
        assert!(matches!(rig.control.ask(&change(1, not_newer)), Reply::Refused { .. }));
    }
    assert_eq!(get(rig.http(), "/").status, 502, "nothing changed");
    assert_eq!(rig.control.ask(&change(1, 2)), Reply::Acknowledged { generation: 2 });
    assert_eq!(get(rig.http(), "/").status, 404);
}

#[test]
fn what_cannot_be_saved_is_not_served() {
    let mut rig = Rig::start();
    let (one, two) = (App::version("1"), App::version("2"));
    rig.control.replace(vec![route("e-1", &[one.address])]);
    // The file of changes is lost, and a directory is where a new file of the whole should be: root can write anywhere else.
    let obstacle = rig.directory.path().join("state/table.new");
    std::fs::create_dir(&obstacle).expect("makes");
    std::fs::remove_file(rig.directory.path().join("state/changes-1")).expect("removes");
    let apps = [("a-0".parse().expect("legal"), Some(route("e-2", &[two.address])))];
    let change = Request::Change { base_generation: 1, generation: 2, apps: apps.into() };
    for missing in ["changes-1", "table"] {
        let Reply::Refused { reason } = rig.control.ask(&change) else { panic!("acknowledged") };
        assert!(reason.contains(missing), "{reason}");
        assert_eq!(get(rig.http(), "/").text(), "1");
    }
    std::fs::remove_dir(obstacle).expect("removes");
    assert_eq!(rig.control.ask(&change), Reply::Acknowledged { generation: 2 });
    assert_eq!(get(rig.http(), "/").text(), "2");
}

#[test]
fn tables_that_cannot_be_are_refused_whole() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let bad = Table { generation: 2, apps: [("a-9".parse().expect("legal"), route("e-2", &[]))].into() };
    let Reply::Refused { reason } = rig.control.ask(&Request::Replace { table: bad }) else { panic!() };
    assert!(reason.contains("no instances"), "{reason}");
    assert_eq!(get(rig.http(), "/").text(), "v");
}

#[test]
fn strangers_are_refused_by_name() {
    let rig = Rig::start();
    let mut control = Control::connect(&rig.socket());
    let mut hello = |version, requires: &[&str]| {
        let requires = requires.iter().map(ToString::to_string).collect();
        control.ask(&Request::Hello { version, requires })
    };
    assert!(matches!(hello(VERSION, &["cut", "standby"]), Reply::Hello { .. }));
    let Reply::Refused { reason } = hello(VERSION, &["cut", "teleport"]) else { panic!() };
    assert!(reason.contains("teleport") && !reason.contains("cut"), "{reason}");
    assert!(matches!(hello(VERSION + 1, &[]), Reply::Refused { .. }));
}

#[test]
fn nothing_is_done_for_who_has_not_said_hello() {
    let mut rig = Rig::start();
    let mut stream = UnixStream::connect(rig.socket()).expect("connects");
    let mut bytes = Vec::new();
    encode(&Request::Replace { table: Table { generation: 9, ..Table::default() } }, &mut bytes)
        .expect("encodes");
    stream.write_all(&bytes).expect("writes");
    let reply = Control { stream, generation: 0 }.reply().expect("a reply");
    assert!(matches!(reply, Reply::Refused { .. }), "{reply:?}");
    rig.control.replace(vec![]);
}

#[test]
fn garbage_harms_nobody() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let too_long = (MAX_FRAME + 1).to_be_bytes();
    let huge = MAX_FRAME.to_be_bytes();
    let nonsense = [&5_u32.to_be_bytes()[..], b"{{{{{"].concat();
    let pieces: [&[u8]; 6] = [b"", b"\0", &too_long, &huge, &nonsense, b"GET / HTTP/1.1\r\n\r\n"];
    for piece in pieces {
        let mut stream = UnixStream::connect(rig.socket()).expect("connects");
        stream.write_all(piece).expect("writes");
        stream.shutdown(std::net::Shutdown::Write).expect("half closes");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
        // Closed, with a refusal or without; never left hanging. What was not read makes it a reset.
        let end = stream.read_to_end(&mut Vec::new());
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    }
    // The server's own connection was not replaced by any of these, and its garbage is refused, not fatal.
    rig.control.stream.write_all(&nonsense).expect("writes");
    assert!(matches!(rig.control.reply().expect("a reply"), Reply::Refused { .. }));
    rig.control.change(Some(route("e-1", &[app.address])));
    assert_eq!(get(rig.http(), "/").text(), "v");
}

#[test]
fn frames_may_come_byte_by_byte() {
    let rig = Rig::start();
    let mut control = Control::connect(&rig.socket());
    let mut bytes = Vec::new();
    encode(&Request::Traffic, &mut bytes).expect("encodes");
    for byte in bytes {
        control.stream.write_all(&[byte]).expect("writes");
    }
    assert!(matches!(control.reply().expect("a reply"), Reply::Traffic { .. }));
}

#[test]
fn the_newest_server_wins() {
    let mut rig = Rig::start();
    let mut newer = Control::connect(&rig.socket());
    newer.replace(vec![]);
    let mut rest = [0];
    assert_eq!(rig.control.stream.read(&mut rest).expect("an end"), 0, "the older one is closed");
    newer.replace(vec![]);
}

#[test]
fn the_socket_is_for_its_owner_and_replaces_a_leftover() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("leftover"));
    let router = Router::start(options(directory.path())).expect("starts");
    let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Control::connect(&path);
    let second = Router::start(options(directory.path()));
    assert!(matches!(second, Err(Error::Taken { .. })), "one router per directory");
    Control::connect(&path);
    router.stop();
}

#[test]
fn whoever_waits_for_it_is_told_the_addresses() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("ready");
    let mut with_file = options(directory.path());
    with_file.ready = Ready::File(file.clone());
    with_file.http = vec!["127.0.0.1:0".parse().expect("legal"), "[::1]:0".parse().expect("legal")];
    let router = Router::start(with_file).expect("starts");
    let told = std::fs::read_to_string(file).expect("there when it has started");
    let addresses: Vec<_> = told.lines().map(|line| line.parse().expect("an address")).collect();
    assert_eq!(addresses, router.http());
    for address in addresses {
        assert_eq!(get(address, "/").status, 404);
    }
    router.stop();
}

#[test]
fn a_large_table_is_taken() {
    let mut rig = Rig::start();
    let app = App::version("v");
    let many = (0..2_000).map(|number| {
        let mut app = route("e-1", &[app.address]);
        app.domains = (0..10).map(|domain| format!("d{domain}.app{number}.test")).collect();
        app
    });
    rig.control.replace(many.collect());
    let answer = crate::client::raw(rig.http(), "GET / HTTP/1.1\r\nHost: d9.app1999.test\r\n\r\n");
    assert_eq!(answer.expect("an answer").text(), "v");
    until("idle", || rig.control.counts("e-1").in_flight == 0);
}
