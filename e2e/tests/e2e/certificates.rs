//! A domain gets its certificate by itself: asked for by the server, proven through the router, used by the router, kept when both start anew.

use crate::{app, push_well, quick};
use anyhow::Result;
use serde_json::{Value, json};
use teal_e2e::{Authority, Host, Options, until};

#[test]
fn a_new_domain_gets_its_certificate_by_either_proof() -> Result<()> {
    for challenge in ["http-01", "tls-alpn-01"] {
        issued(challenge)?;
    }
    Ok(())
}

fn issued(challenge: &str) -> Result<()> {
    let mut host = Host::start(&Options { secure: true, ..Options::default() })?;
    let (https, _) = host.https().expect("speaks TLS");
    let authority = Authority::start(host.path(), host.http(), https)?;
    host.configure(&authority.configuration(challenge))?;
    host.kill_server()?;
    host.start_server(&[])?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    host.api().send::<Value>("PATCH", "/apps/shop/domains", &json!({"add": ["www.shop.test"]}))?;
    let state = |host: &Host| {
        let views: Vec<Value> = host.api().get("/apps/shop/certificates").ok()?;
        let view = views.into_iter().find(|view| view["domain"] == "www.shop.test")?;
        Some((view["state"].as_str()?.to_owned(), view["problem"].clone()))
    };
    let issued = until(&format!("{challenge}: the certificate is issued"), || {
        state(&host).filter(|(state, _)| state == "issued")
    });
    issued.map_err(|error| error.context(format!("{:?}\n{}", state(&host), host.log("pebble.log"))))?;
    let served = || host.certificate_of("www.shop.test").ok().filter(|chain| chain.issuer.contains("Pebble"));
    let before = until("the router uses it", served)?;
    host.kill_server()?;
    host.start_server(&[])?;
    assert_eq!(state(&host).expect("known").0, "issued", "{challenge}: it is kept");
    assert_eq!(host.certificate_of("www.shop.test")?.bytes, before.bytes, "and no other one was asked for");
    Ok(())
}
