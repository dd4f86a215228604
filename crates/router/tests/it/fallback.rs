//! When instances refuse, close, break or hang: who is asked next, and what the client is told.

use crate::{
    app::{App, respond},
    client::{Client, get},
    rig::{Rig, nowhere, route, target, until},
};
use std::{collections::BTreeSet, io, sync::atomic::Ordering, time::Duration};

#[test]
fn a_refusal_goes_to_the_standby_and_is_counted() {
    let mut rig = Rig::start();
    let standby = App::version("standby");
    let mut app = route("e-2", &[nowhere()]);
    app.standby = Some(target("e-1", &[standby.address]));
    rig.control.replace(vec![app]);
    let mut client = Client::connect(rig.http()).expect("connects");
    assert_eq!(client.get("/").expect("an answer").text(), "standby");
    assert_eq!(client.post("/", "once").expect("an answer").text(), "standby");
    assert_eq!(standby.bodies(), ["once"]);
    let (live, standby) = (rig.control.counts("e-2"), rig.control.counts("e-1"));
    assert_eq!((live.refused, live.requests, live.failed), (2, 0, 0));
    assert_eq!((standby.refused, standby.requests, standby.failed), (0, 2, 0));
}

#[test]
fn one_dead_instance_of_three_is_not_noticed() {
    let mut rig = Rig::start();
    let (one, two) = (App::version("1"), App::version("2"));
    rig.control.replace(vec![route("e-1", &[one.address, nowhere(), two.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let answers: BTreeSet<String> =
        (0..200).map(|_| client.get("/").expect("an answer").text().to_owned()).collect();
    assert_eq!(answers.len(), 2, "both others serve");
    let counts = rig.control.counts("e-1");
    assert!(counts.refused > 0 && counts.failed == 0);
}

#[test]
fn nobody_answers() {
    let mut rig = Rig::start();
    rig.control.replace(vec![route("e-1", &[nowhere(), nowhere()])]);
    let answer = get(rig.http(), "/");
    assert_eq!((answer.status, answer.text()), (502, "No instance of shop accepts connections.\n"));
    let counts = rig.control.counts("e-1");
    assert_eq!((counts.refused, counts.failed, counts.in_flight), (2, 1, 0));
}

#[test]
fn a_connection_that_was_closed_while_idle_is_never_the_clients_error() {
    let mut rig = Rig::start();
    let app = App::version("v");
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for number in 0..100 {
        let answer = if number % 2 == 0 { client.get("/") } else { client.post("/", &number.to_string()) };
        assert_eq!(answer.expect("an answer").text(), "v");
        app.hang_up();
    }
    assert_eq!(app.bodies().len(), 50, "each exactly once");
    assert!(app.seen.connections.load(Ordering::SeqCst) >= 100);
}

#[test]
fn an_app_that_closes_after_each_answer_without_saying_so_works() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        respond(asked, "v")?;
        Err(io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..200 {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    assert_eq!(rig.control.counts("e-1").failed, 0);
}

#[test]
fn a_post_that_may_have_arrived_is_not_sent_again() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        if asked.head.starts_with("POST") {
            return Err(io::ErrorKind::Other.into());
        }
        respond(asked, "v")
    });
    let standby = App::version("standby");
    let mut both = route("e-2", &[app.address]);
    both.standby = Some(target("e-1", &[standby.address]));
    rig.control.replace(vec![both]);
    let mut client = Client::connect(rig.http()).expect("connects");
    assert_eq!(client.get("/").expect("an answer").text(), "v");
    let answer = client.post("/", "once").expect("an answer");
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!((app.bodies().len(), standby.bodies().len()), (1, 0));
    assert_eq!(rig.control.counts("e-2").failed, 1);
}

#[test]
fn an_instance_that_hangs_is_given_up() {
    let mut rig = Rig::with(|options| options.limits.answer = Duration::from_millis(50));
    let (open, wait) = crate::app::gate();
    let app = App::answering(move |_| {
        let _ = wait.pass();
        Err(io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let answer = get(rig.http(), "/");
    assert_eq!((answer.status, answer.text()), (504, "shop did not answer in time.\n"));
    drop(open);
    assert_eq!(rig.control.counts("e-1").failed, 1);
}

#[test]
fn a_response_that_breaks_off_breaks_off_at_the_client() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| {
        asked.stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?;
        Err(io::ErrorKind::Other.into())
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    assert_eq!(client.get("/").expect_err("cut short").kind(), io::ErrorKind::UnexpectedEof);
    until("counted", || rig.control.counts("e-1").failed == 1);
    assert_eq!(rig.control.counts("e-1").in_flight, 0);
}

#[test]
fn answers_of_5xx_are_the_apps_own() {
    let mut rig = Rig::start();
    let app = App::answering(|asked| asked.stream.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    assert_eq!(get(rig.http(), "/").status, 500);
    let counts = rig.control.counts("e-1");
    assert_eq!((counts.server_errors, counts.failed, counts.requests), (1, 0, 1));
}
