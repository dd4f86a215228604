//! Behaviours 2 and 9: a bad Green never touches Blue, and the verdict says what is wrong.

use crate::{app, at_rest, push, push_well, quick, served, until_status};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;
use teal_core::api::StatusView;
use teal_e2e::{Behaviour, Host, Options, Repository, Rig, within};

/// Every way to be bad, and words that the verdict must hold.
fn bad() -> Vec<(&'static str, Behaviour, &'static [&'static str])> {
    vec![
        ("exits at once", Behaviour::Exits(3, 0.0), &["exited with code 3", "this app cannot go on"]),
        ("exits with 0", Behaviour::Exits(0, 0.0), &["exited with code 0"]),
        ("exits later", Behaviour::Exits(7, 5.0), &["exited with code 7"]),
        ("127.0.0.1 only", Behaviour::LoopbackOnly, &["127.0.0.1:8080", "0.0.0.0:8080"]),
        ("wrong port", Behaviour::WrongPort(3000), &["0.0.0.0:8080", ":3000"]),
        ("500", Behaviour::Status(500), &["GET / returned 500"]),
        ("404", Behaviour::Status(404), &["GET / returned 404"]),
        ("301", Behaviour::Status(301), &["301", "/login"]),
        ("empty reply", Behaviour::Empty, &["gave no answer"]),
        ("slow body", Behaviour::SlowBody, &["did not answer completely"]),
        ("out of memory", Behaviour::OutOfMemory, &["memory"]),
        ("disk full", Behaviour::DiskFull, &["No space left on device"]),
    ]
}

fn config() -> Value {
    let mut config = quick();
    config["start_deadline_s"] = json!(20);
    config["memory_mib"] = json!(128);
    config["disk_mib"] = json!(64);
    config
}

#[test]
fn a_bad_green_never_touches_blue() -> Result<()> {
    let host = Host::start(&Options::default())?;
    if until_status(&host, &prepared(&host)?.1, "live", at_rest)?.runtime == "process" {
        println!(
            "SKIPPED: this host has no sandbox, nor machines, so nothing limits memory, disk or addresses"
        );
        return Ok(());
    }
    let repository = Repository::new(&host, "shop")?;
    push(&repository, "good", &Behaviour::Good)?;
    push_to_shop(&repository)?;
    let rig = Rig::start(&host, "shop", &["--rate", "50", "--websockets", "5", "--sse", "2"])?;
    let before = host.api().status("shop")?.live.expect("live");
    for (name, behaviour, words) in bad() {
        fails(&host, &repository, name, &behaviour, words)?;
        let live = host.api().status("shop")?.live.expect("live");
        assert_eq!((&live.environment, live.instances), (&before.environment, before.instances), "{name}");
    }
    rig.stop()?.expect_nothing_lost();
    Ok(())
}

/// The app under test, with a version in production.
fn prepared(host: &Host) -> Result<(Repository, String)> {
    let repository = app(host, "shop", config())?;
    push_well(&repository, "blue")?;
    Ok((repository, "shop".into()))
}

/// Histories differ between checkouts: this one's must be forced.
fn push_to_shop(repository: &Repository) -> Result<()> {
    let pushed = repository.push_to("HEAD:main", &["--force"])?;
    assert!(pushed.ok, "{}", pushed.output);
    Ok(())
}

/// Pushes a bad version: the push fails, the verdict says why, Green is gone soon.
fn fails(
    host: &Host,
    repository: &Repository,
    name: &str,
    behaviour: &Behaviour,
    words: &[&str],
) -> Result<()> {
    let serves = served(host, "shop")?;
    let pushed = push(repository, name, behaviour)?;
    assert!(!pushed.ok, "{name}: git push said that all is well:\n{}", pushed.output);
    let deployment = host.api().activity("shop")?.remove(0);
    assert_eq!(deployment.state, "FAIL", "{name}");
    let failure = deployment.failure.expect("a failure has a cause");
    let text = format!("{} {}", failure.message, failure.details.join("\n"));
    for word in words {
        assert!(text.contains(word), "{name}: no `{word}` in the verdict:\n{text}");
    }
    println!("{name}: {}", failure.message);
    assert_eq!(served(host, "shop")?, serves, "{name}");
    let gone = || (host.run_directories().len() <= 2).then_some(());
    within(Duration::from_secs(30), &format!("{name}: Green is gone"), gone)
}

#[test]
fn a_version_that_breaks_in_its_bake_is_rolled_back_by_itself() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let mut config = quick();
    config["bake_s"] = json!(30);
    let repository = app(&host, "shop", config)?;
    push_well(&repository, "good")?;
    let pushed = push(&repository, "dies", &Behaviour::ExitsWhileServing(9, 5.0))?;
    assert!(pushed.ok, "it is healthy at first: {}", pushed.output);
    let back = |status: &StatusView| status.live.as_ref().is_some_and(|live| live.commit.message == "good");
    until_status(&host, "shop", "production is back", back)?;
    assert_eq!(served(&host, "shop")?, "good");
    let activity = host.api().activity("shop")?;
    assert_eq!(activity[0].cause, "Rollback/Unhealthy", "{activity:#?}");
    assert_eq!(activity[1].state, "FAIL");
    assert!(activity[1].failure.as_ref().is_some_and(|f| f.message.contains("code 9")), "{activity:#?}");
    let mails = teal_e2e::until("the mail", || Some(host.mail().mails()).filter(|mails| !mails.is_empty()))?;
    assert_eq!(mails.len(), 1);
    Ok(())
}
