//! People see traffic by colour, and others are told: metrics and the report of a real switch, webhooks of real deployments.

use crate::{app, push, push_well, quick, served};
use anyhow::Result;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
};
use teal_core::api::MetricsView;
use teal_e2e::{Behaviour, Host, Options, until};

/// Takes every delivery, and hands on its event.
fn receiver() -> Result<(SocketAddr, mpsc::Receiver<Value>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (told, heard) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                request.extend_from_slice(&piece[..count]);
                let text = String::from_utf8_lossy(&request);
                let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                if let Some(body) = body {
                    let _ = told.send(body);
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                    break;
                }
            }
        }
    });
    Ok((address, heard))
}

/// The events of the deployments so far, in order, up to the end of the last.
fn events(heard: &mpsc::Receiver<Value>) -> Result<Vec<String>> {
    let mut events = Vec::new();
    while events.last().is_none_or(|event| event != "DEPLOYMENT_ACTION_END") {
        events.push(
            heard.recv_timeout(std::time::Duration::from_secs(120))?["event"].as_str().unwrap_or("?").into(),
        );
    }
    Ok(events)
}

#[test]
fn a_switch_is_counted_drawn_and_told() -> Result<()> {
    let config = "webhook_allow = [\"127.0.0.1/32\"]".to_owned();
    let host = Host::start(&Options { config, ..Options::default() })?;
    let (address, heard) = receiver()?;
    let hook = json!({ "name": "ci", "url": format!("http://{address}/") });
    let made: Value = host.api().send("POST", "/webhooks", &hook)?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    let good = ["GIT_PUSH", "DEPLOYMENT_ACTION_BEGIN", "DEPLOYMENT_SUCCESS", "DEPLOYMENT_ACTION_END"];
    assert_eq!(events(&heard)?, good);
    let sandboxed = host.api().status("shop")?.runtime != "process";
    let metrics = || host.api().get::<MetricsView>("/apps/shop/metrics?window=hour");
    until("the first version is seen", || {
        served(&host, "shop").ok()?;
        let points = metrics().ok()?.points;
        let seen = points.iter().filter_map(|p| p.blue.as_ref().or(p.green.as_ref()));
        let mut full = seen.filter(|s| s.requests_per_s > 0.0 && s.p99_ms.is_some());
        full.find(|s| !sandboxed || (s.memory_bytes > Some(1 << 20) && s.cpu_milli.is_some()))?;
        Some(())
    })?;
    push_well(&repository, "two")?;
    assert_eq!(events(&heard)?, good);
    let report = until("the report of the switch", || {
        assert_eq!(served(&host, "shop").ok()?, "two");
        host.api().activity("shop").ok()?.first()?.switch.clone()
    })?;
    assert!(report.requests_new > 0 && report.requests > report.requests_new, "{report:?}");
    assert_eq!((report.errors, report.failed), (0, 0), "{report:?}");
    assert!(report.p99_before_ms.is_some() && report.p99_after_ms.is_some(), "{report:?}");
    let view = metrics()?;
    assert!(
        view.points.iter().any(|p| p.blue.is_some()) && view.points.iter().any(|p| p.green.is_some()),
        "{view:?}"
    );
    assert_eq!(view.deployments.iter().map(|mark| mark.what.as_str()).collect::<Vec<_>>(), ["live", "live"]);
    let newest = host.api().activity("shop")?.remove(0).deployment;
    let log = host.api().log("shop", &newest)?;
    assert!(log.iter().any(|line| line.text == report.sentence()), "{log:?}");
    assert!(!push(&repository, "bad", &Behaviour::Exits(4, 0.0))?.ok);
    assert_eq!(
        events(&heard)?,
        ["GIT_PUSH", "DEPLOYMENT_ACTION_BEGIN", "DEPLOYMENT_FAIL", "DEPLOYMENT_ACTION_END"]
    );
    let id = made["hook"]["id"].as_str().unwrap_or_default();
    until("the log says so", || {
        let log = host.api().get::<Vec<Value>>(&format!("/webhooks/{id}/deliveries")).ok()?;
        (log.len() == 12 && log.iter().all(|row| row["state"] == "delivered")).then_some(())
    })
}
