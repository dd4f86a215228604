//! Behaviours 7 and 8: drain in the right order; streams are not cut by a switch, and closed in order at the cap.

use crate::{app, push_well, quick, served, until_status};
use anyhow::Result;
use serde_json::json;
use teal_e2e::{Host, Options, Rig, slowness, until};

#[test]
fn a_slow_request_ends_well_in_the_old_version() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let mut config = quick();
    config["drain_s"] = json!(30);
    let repository = app(&host, "shop", config)?;
    push_well(&repository, "one")?;
    std::thread::scope(|scope| {
        // Longer than a deployment takes, so that it is still under way when that ends.
        let slow = scope.spawn(|| host.visit("shop", if slowness() > 1 { "/slow=24" } else { "/slow=8" }));
        push_well(&repository, "two")?;
        assert_eq!(served(&host, "shop")?, "two");
        let (status, body) = slow.join().expect("no panic")?;
        assert!(status == 200 && body.contains("\"one\""), "{status} {body}");
        until_status(&host, "shop", "the old version sleeps then", |s| {
            s.spare.as_ref().is_some_and(|s| s.state == "asleep")
        })
        .map(drop)
    })
}

#[test]
fn streams_live_through_the_switch_and_are_closed_at_the_cap() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let mut config = quick();
    config["upgraded_s"] = json!(3);
    let repository = app(&host, "shop", config)?;
    push_well(&repository, "one")?;
    let mut rig = Rig::start(&host, "shop", &["--rate", "50", "--websockets", "20", "--sse", "5", "--hold"])?;
    until("the load runs", || rig.standing().ok().filter(|(requests, _)| *requests > 300))?;
    push_well(&repository, "two")?;
    until_status(&host, "shop", "the old version is rid of its streams", |s| {
        s.spare.as_ref().is_some_and(|s| s.state == "asleep")
    })?;
    until("more load", || rig.standing().ok().filter(|(requests, _)| *requests > 1_200))?;
    let report = rig.stop()?;
    println!("websockets {}, streams {}", report.websockets, report.streams);
    // The rig calls it a cut when a stream of events ends; at the cap that is what is to happen, cleanly and to nothing else.
    assert_eq!(report.websockets["cut"], 0, "each got its close frame");
    assert_eq!(report.websockets["ended_with_notice"], 20);
    assert_eq!(report.failed, report.streams["cut"].as_u64().unwrap_or(0), "{:#?}", report.failures);
    assert_eq!(report.streams["cut"], 5);
    Ok(())
}
