//! Sticky sessions: a client stays with its instance, but never longer than that instance is live.

use crate::{
    app::App,
    client::{Answer, Client},
    rig::{Rig, nowhere, route, target},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};
use teal_core::route::AppRoute;

fn sticky(environment: &str, apps: &[&App]) -> AppRoute {
    let addresses: Vec<_> = apps.iter().map(|app| app.address).collect();
    AppRoute { sticky_sessions: true, ..route(environment, &addresses) }
}

fn ask(client: &mut Client, cookie: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nHost: shop.test\r\nCookie: own=1; {cookie}\r\n\r\n");
    client.send(request.as_bytes()).expect("sends");
    client.answer().expect("answers")
}

/// The cookie that came with the answer, as a client sends it back.
fn cookie(answer: &Answer) -> String {
    let line = answer.headers.get("set-cookie").expect("a cookie");
    line.split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn a_client_stays_with_its_instance_and_the_app_sees_no_cookie() {
    let (mut rig, apps) = (Rig::start(), ["a", "b", "c"].map(App::version));
    rig.control.replace(vec![sticky("e-1", &[&apps[0], &apps[1], &apps[2]])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let mut seen = BTreeSet::new();
    // Each new client is given an instance by chance: all three turn up.
    while seen.len() < 3 {
        let first = ask(&mut client, "");
        let line = &first.headers["set-cookie"];
        assert!(
            line.starts_with("teal-instance-") && line.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
            "{line}"
        );
        for _ in 0..20 {
            let again = ask(&mut client, &cookie(&first));
            assert_eq!(again.text(), first.text());
            assert!(!again.headers.contains_key("set-cookie"), "nothing new to say");
        }
        seen.insert(first.text().to_owned());
    }
    let head = apps[0].last_head();
    assert!(head.contains("cookie: own=1\n") && !head.contains("teal-instance"), "{head}");
}

#[test]
fn whoever_came_by_tls_gets_a_cookie_for_tls() {
    let mut rig = Rig::with(|options| options.trusted = vec![IpAddr::from(Ipv4Addr::LOCALHOST)]);
    let app = App::version("a");
    rig.control.replace(vec![sticky("e-1", &[&app])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\nX-Forwarded-Proto: https\r\n\r\n").expect("sends");
    let answer = client.answer().expect("answers");
    assert!(answer.headers["set-cookie"].ends_with("; SameSite=Lax; Secure"), "{:?}", answer.headers);
}

#[test]
fn after_a_switch_nobody_goes_back() {
    let (mut rig, old, new) = (Rig::start(), App::version("old"), App::version("new"));
    rig.control.replace(vec![sticky("e-1", &[&old])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let before = cookie(&ask(&mut client, ""));
    // The old one stands by, as it does while the new one bakes.
    let standby = Some(target("e-1", &[old.address]));
    rig.control.change(Some(AppRoute { standby, ..sticky("e-2", &[&new]) }));
    let after = ask(&mut client, &before);
    assert_eq!(after.text(), "new");
    assert_ne!(cookie(&after), before);
    let again = ask(&mut client, &cookie(&after));
    assert!(again.text() == "new" && !again.headers.contains_key("set-cookie"));
}

#[test]
fn an_instance_that_does_not_answer_has_nobody_pinned_to_it() {
    let (mut rig, app) = (Rig::start(), App::version("a"));
    let live = |first| Some(target("e-1", &[first, app.address]));
    let dead = App::version("b");
    rig.control.replace(vec![AppRoute { live: live(dead.address), ..sticky("e-1", &[&app]) }]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let pinned = loop {
        let answer = ask(&mut client, "");
        if answer.text() == "b" {
            break cookie(&answer);
        }
    };
    // The same instance, where nobody listens any more.
    rig.control.change(Some(AppRoute { live: live(nowhere()), ..sticky("e-1", &[&app]) }));
    let other = ask(&mut client, &pinned);
    assert_eq!(other.text(), "a");
    assert_ne!(cookie(&other), pinned);
}

#[test]
fn cookies_mean_the_same_after_a_restart_and_nothing_once_sessions_are_not_sticky() {
    let (mut rig, apps) = (Rig::start(), ["a", "b"].map(App::version));
    rig.control.replace(vec![sticky("e-1", &[&apps[0], &apps[1]])]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let first = ask(&mut client, "");
    drop(client);
    rig.restart();
    let mut client = Client::connect(rig.http()).expect("connects");
    for _ in 0..20 {
        let again = ask(&mut client, &cookie(&first));
        assert_eq!(again.text(), first.text());
        assert!(!again.headers.contains_key("set-cookie"));
    }
    drop(client);
    rig.control = crate::rig::Control::connect(&rig.socket());
    rig.control.change(Some(AppRoute { sticky_sessions: false, ..sticky("e-1", &[&apps[0], &apps[1]]) }));
    let mut client = Client::connect(rig.http()).expect("connects");
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let answer = ask(&mut client, &cookie(&first));
        assert!(!answer.headers.contains_key("set-cookie"));
        seen.insert(answer.text().to_owned());
    }
}

#[test]
fn apps_that_share_a_host_do_not_take_each_others_cookies() {
    let (mut rig, site, shop) = (Rig::start(), App::version("site"), App::version("shop"));
    let below = AppRoute { domains: vec!["shop.test/pay".into()], ..sticky("e-2", &[&shop]) };
    rig.control.replace(vec![sticky("e-1", &[&site]), below]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let one = cookie(&client.get("/").expect("answers"));
    let other = cookie(&client.get("/pay").expect("answers"));
    assert_ne!(one.split('=').next(), other.split('=').next());
    assert!(!ask(&mut client, &format!("{other}; {one}")).headers.contains_key("set-cookie"));
}
