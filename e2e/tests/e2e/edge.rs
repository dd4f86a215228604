//! What the edge does with requests of apps that were pushed: a host in parts, sessions that stay with their instance, and limits.

use crate::{app, at_rest, push_well, quick, until_status};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use teal_e2e::{Answer, Host, Options, until};

/// Requests that would show another instance if there were no session.
const MANY: usize = 12;

#[test]
fn two_apps_share_a_host_by_path_and_sessions_stay_with_their_instance() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let mut config = quick();
    (config["instances"], config["sticky_sessions"]) = (json!(2), json!(true));
    let shop = app(&host, "shop", config)?;
    let cart = app(&host, "cart", quick())?;
    for (name, domain) in [("shop", "both.test"), ("cart", "both.test/cart")] {
        let path = format!("/apps/{name}/domains");
        host.api().send::<Value>("PATCH", &path, &json!({ "add": [domain] }))?;
    }
    push_well(&shop, "shop-1")?;
    push_well(&cart, "cart-1")?;
    for (path, version) in [
        ("/", "shop-1"),
        ("/cart", "cart-1"),
        ("/cart/items?id=1", "cart-1"),
        ("/cartography", "shop-1"),
        ("/x/cart", "shop-1"),
    ] {
        assert_eq!(host.ask("both.test", path, &[])?.version(), version, "{path}");
    }

    let all: BTreeSet<String> = (0..MANY)
        .map(|_| Ok(host.ask("both.test", "/", &[])?.instance().to_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(all.len(), 2, "without a session both instances are asked: {all:?}");
    let first = host.ask("both.test", "/", &[])?;
    let cookie = first.cookie.clone().context("a session")?;
    stays(&host, &cookie, &first)?;

    push_well(&shop, "shop-2")?;
    let moved = host.ask("both.test", "/", &[("cookie", &cookie)])?;
    assert_eq!(moved.version(), "shop-2", "a session never keeps anybody in the old version");
    let cookie = moved.cookie.clone().context("a session with one of the new instances")?;
    stays(&host, &cookie, &moved)?;
    assert_eq!(
        host.ask("both.test", "/cart", &[("cookie", &cookie)])?.version(),
        "cart-1",
        "the other app's"
    );
    until_status(&host, "shop", "it comes to rest", at_rest).map(drop)
}

/// Whoever comes with this cookie gets to the instance that gave it, and is given no other.
fn stays(host: &Host, cookie: &str, first: &Answer) -> Result<()> {
    for _ in 0..MANY {
        let again = host.ask("both.test", "/", &[("cookie", cookie)])?;
        assert_eq!((again.instance(), again.version()), (first.instance(), first.version()));
        assert_eq!(again.cookie, None);
    }
    Ok(())
}

#[test]
fn limits_count_what_is_in_flight_for_one_client_and_for_all() -> Result<()> {
    let config = "trusted_proxies = [\"127.0.0.1\"]".into();
    let host = Host::start(&Options { config, ..Options::default() })?;
    let mut config = quick();
    (config["max_requests"], config["max_requests_per_client"]) = (json!(2), json!(1));
    let repository = app(&host, "shop", config)?;
    push_well(&repository, "one")?;
    let shop = "shop.localhost";
    let [ada, grace, joan] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|address| [("x-forwarded-for", address)]);
    let asked = |who: &[(&str, &str)]| host.ask(shop, "/", who);
    let refused = |who: &[(&str, &str)], status: u16| {
        until(&format!("a request too many is answered with {status}"), || {
            asked(who).ok().filter(|answer| answer.status == status)
        })
    };

    let first = host.hold(shop, &ada)?;
    assert_eq!(refused(&ada, 429)?.retry_after.as_deref(), Some("1"));
    assert_eq!(asked(&grace)?.status, 200, "another client has a place");
    let second = host.hold(shop, &grace)?;
    assert_eq!(refused(&joan, 503)?.retry_after.as_deref(), Some("1"));

    assert_eq!((first.finish()?, second.finish()?), (200, 200), "what had a place is served");
    for who in [&ada, &grace, &joan] {
        until("the places are free again", || (asked(who).ok()?.status == 200).then_some(()))?;
    }
    Ok(())
}
