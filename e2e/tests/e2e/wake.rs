//! Behaviour 4: one click wakes Blue, and the same click goes forward again.

use crate::{app, at_rest, push_well, quick, served, until_status};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use teal_core::api::Action;
use teal_e2e::{Host, Options, Rig, until};

#[test]
fn the_button_wakes_blue_and_goes_forward_again() -> Result<()> {
    let host = Host::start(&Options { secure: true, ..Options::default() })?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    push_well(&repository, "two")?;
    let mut rig = Rig::start(&host, "shop", &["--rate", "100", "--websockets", "10", "--sse", "3"])?;
    let mut times = Vec::new();
    for round in 0..6 {
        let (to, from) = if round % 2 == 0 { ("one", "two") } else { ("two", "one") };
        let status = until_status(&host, "shop", "the spare sleeps", |s| {
            at_rest(s) && s.spare.as_ref().is_some_and(|s| s.state == "asleep")
        })?;
        assert_eq!(status.button.expect("button").commit.message, to, "the button names what it starts");
        assert_eq!(served(&host, "shop")?, from);
        let before = random(&host)?;
        rig.expect_back()?;
        let begin = Instant::now();
        host.api().act("shop", &Action::Wake)?;
        until("the other version answers", || (served(&host, "shop").ok()? == to).then_some(()))?;
        times.push(begin.elapsed());
        let (after, clock) = (random(&host)?, clock_error(&host)?);
        assert_ne!(before, after);
        assert!(clock < Duration::from_secs(1), "the clock is wrong by {clock:?}");
    }
    times.sort();
    println!("wake from memory: p50 {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
    rig.stop()?.expect_nothing_lost();
    Ok(())
}

#[test]
fn a_spare_that_is_off_is_started_from_its_release() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let mut config = quick();
    config["off_after_s"] = json!(1);
    let repository = app(&host, "shop", config)?;
    push_well(&repository, "one")?;
    push_well(&repository, "two")?;
    until_status(&host, "shop", "the spare is off", |s| {
        at_rest(s) && s.spare.as_ref().is_some_and(|s| s.state == "off")
    })?;
    let begin = Instant::now();
    host.api().act("shop", &Action::Wake)?;
    until("the old version answers", || (served(&host, "shop").ok()? == "one").then_some(()))?;
    println!("wake from off: {:?}", begin.elapsed());
    Ok(())
}

fn random(host: &Host) -> Result<String> {
    let answer: Value = serde_json::from_str(&host.visit("shop", "/")?.1)?;
    Ok(answer["random"].to_string())
}

fn clock_error(host: &Host) -> Result<Duration> {
    let answer: Value = serde_json::from_str(&host.visit("shop", "/")?.1)?;
    let inside = Duration::from_secs_f64(answer["time"].as_f64().unwrap_or(0.0));
    let here = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(here.abs_diff(inside))
}
