//! Behaviour 10: the newest push wins, nothing stale goes live.

use crate::{at_rest, quick, served, until_status};
use anyhow::Result;
use serde_json::json;
use std::{thread, time::Duration};
use teal_e2e::{Behaviour, Host, Options, python_app, until};

/// Pushes in a row: 12 here, 30 in the soak.
fn pushes() -> usize {
    if std::env::var_os("TEAL_SOAK").is_some() { 30 } else { 12 }
}

#[test]
fn the_last_of_many_quick_pushes_ends_live() -> Result<()> {
    let host = Host::start(&Options::default())?;
    host.api().create("shop", quick(), json!({"CC_PRE_BUILD_HOOK": "sleep 0.$((RANDOM % 9))"}))?;
    let repository = teal_e2e::Repository::new(&host, "shop")?;
    let mut children = Vec::new();
    let mut seen: Vec<usize> = Vec::new();
    for number in 0..pushes() {
        let files = python_app(&format!("{number}"), &Behaviour::Good);
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        repository.commit(&files, &format!("{number}"))?;
        children.push(repository.push_command("HEAD:main", &["-q"]).spawn()?);
        // The gaps are the test's input, not a wait for something.
        thread::sleep(Duration::from_millis((number as u64 * 397) % 1100));
        // Before the first one is live the edge answers with a status, which is no version.
        seen.extend(served(&host, "shop")?.parse::<usize>().ok().filter(|version| *version < pushes()));
    }
    let last = (pushes() - 1).to_string();
    until("the last push is live", || (served(&host, "shop").ok()? == last).then_some(()))?;
    for mut child in children {
        child.wait()?;
    }
    assert!(seen.is_sorted(), "live went back: {seen:?}");
    let status = until_status(&host, "shop", "at rest", at_rest)?;
    assert_eq!(status.live.expect("live").commit.message, last);
    let activity = host.api().activity("shop")?;
    println!(
        "{} pushes: {} live, {} superseded",
        pushes(),
        activity.iter().filter(|d| d.state == "OK").count(),
        activity.iter().filter(|d| d.state == "CANCELLED").count()
    );
    assert!(activity.iter().all(|d| ["OK", "CANCELLED"].contains(&d.state.as_str())), "{activity:#?}");
    Ok(())
}
