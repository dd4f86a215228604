//! Apps that share a host by different paths.

use crate::{
    app::{App, Asked},
    client::{Client, raw},
    rig::{Rig, route},
    secure::give,
};
use teal_core::{certificate::Proof, route::AppRoute};

/// Says who it is and what it was asked for.
fn named(name: &'static str) -> App {
    App::answering(move |asked: Asked<'_>| {
        let text = format!("{name} {}", asked.path);
        crate::app::respond(asked, &text)
    })
}

fn at(domains: &[&str], environment: &str, app: &App) -> AppRoute {
    let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
    AppRoute { domains, ..route(environment, &[app.address]) }
}

#[test]
fn each_path_has_its_app_which_gets_it_unchanged() {
    let (mut rig, site, shop) = (Rig::start(), named("site"), named("shop"));
    rig.control.replace(vec![
        at(&["Shop.test"], "e-1", &site),
        at(&["SHOP.test/Cart", "shop.test/pay"], "e-2", &shop),
    ]);
    let mut client = Client::connect(rig.http()).expect("connects");
    for (path, answer) in [
        ("/", "site /"),
        ("/Cart", "shop /Cart"),
        ("/Cart/%7Ex/../y?z=/pay", "shop /Cart/%7Ex/../y?z=/pay"),
        ("/cart", "site /cart"),
        ("/payments", "site /payments"),
        ("/pay?x", "shop /pay?x"),
        ("http://shop.test/pay", "shop /pay"),
        ("/shop/..;a//%20", "site /shop/..;a//%20"),
    ] {
        assert_eq!(client.get(path).expect("answers").text(), answer);
    }
}

#[test]
fn what_could_be_another_apps_is_refused() {
    let (mut rig, site, shop) = (Rig::start(), named("site"), named("shop"));
    rig.control.replace(vec![at(&["shop.test"], "e-1", &site), at(&["shop.test/pay"], "e-2", &shop)]);
    for path in ["/pay/../admin", "/pay/%2e%2e", "/x/../pay", "//pay", "/pay%2fx"] {
        let answer = raw(rig.http(), &format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.headers["connection"].as_str()), (400, "close"), "{path}");
        assert!(answer.text().contains("two ways"), "{}", answer.text());
    }
    assert!(site.last_head().is_empty() && shop.last_head().is_empty(), "nothing was forwarded");
}

#[test]
fn proofs_and_redirects_do_not_care_for_paths() {
    let (mut rig, shop) = (Rig::start(), named("shop"));
    let forced =
        AppRoute { force_https: true, ..at(&["shop.test/.well-known", "shop.test/pay"], "e-1", &shop) };
    rig.control.replace(vec![forced]);
    let proof = Proof::Http { domain: "shop.test".into(), token: "tok".into(), answer: "tok.print".into() };
    give(&mut rig, Vec::new(), vec![proof]);
    let mut client = Client::connect(rig.http()).expect("connects");
    let proof = client.get("/.well-known/acme-challenge/tok").expect("answers");
    assert_eq!((proof.status, proof.text().trim()), (200, "tok.print"));
    let moved = client.get("/pay/x?y").expect("answers");
    assert_eq!((moved.status, moved.headers["location"].as_str()), (308, "https://shop.test/pay/x?y"));
    assert_eq!(client.get("/").expect("answers").status, 404);
}

#[test]
fn a_path_changes_hands_between_two_requests_of_one_connection() {
    let (mut rig, site, shop) = (Rig::start(), named("site"), named("shop"));
    let all = |path| vec![at(&["shop.test"], "e-1", &site), at(&[path], "e-2", &shop)];
    rig.control.replace(all("shop.test/a"));
    let mut client = Client::connect(rig.http()).expect("connects");
    let mut ask = |path: &str| client.get(path).expect("answers").text().to_owned();
    assert_eq!((ask("/a"), ask("/b")), ("shop /a".to_owned(), "site /b".to_owned()));
    rig.control.replace(all("shop.test/b"));
    assert_eq!((ask("/a"), ask("/b")), ("site /a".to_owned(), "shop /b".to_owned()));
}
