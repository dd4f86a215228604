//! Behaviour 13: the live pointer survives restarts, scaling, configuration and the server's own restart.

use crate::{app, at_rest, push_well, quick, served, until_status};
use anyhow::{Context, Result};
use serde_json::json;
use teal_core::api::Action;
use teal_e2e::{Host, Options, until};

#[test]
fn after_a_revert_everything_runs_what_is_live() -> Result<()> {
    let mut host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    push_well(&repository, "two")?;
    host.api().act("shop", &Action::Wake)?;
    until("one is live again", || (served(&host, "shop").ok()? == "one").then_some(()))?;
    let status = |what| until_status(&host, "shop", what, |s| s.deploying.is_none() && s.live.is_some());
    let woken = status("the wake is over")?.live.expect("live");
    assert_eq!(woken.deployment, host.api().activity("shop")?[0].deployment, "it is live by the wake");
    let rested = until_status(&host, "shop", "at rest", at_rest)?.live.expect("live");
    assert_eq!(
        (rested.since, rested.deployment),
        (woken.since, woken.deployment),
        "the end of a bake changes neither"
    );

    for action in [Action::Restart, Action::Scale { instances: 2 }, Action::Restart] {
        let before = host.api().status("shop")?.live.expect("live").environment;
        host.api().act("shop", &action)?;
        let status = until_status(&host, "shop", "a fresh environment is live", |s| {
            at_rest(s) && s.live.as_ref().is_some_and(|live| live.environment != before)
        })?;
        assert_eq!(status.live.expect("live").commit.message, "one", "{action:?}");
        assert_eq!(served(&host, "shop")?, "one", "{action:?}");
        assert_eq!(
            status.button.expect("button").commit.message,
            "two",
            "{action:?} must not cost the way back"
        );
    }
    assert_eq!(host.api().status("shop")?.live.expect("live").instances, 2);

    host.api().send::<serde_json::Value>("PATCH", "/apps/shop/variables", &json!({"GREETING": "hello"}))?;
    host.kill_server()?;
    host.start_server(&[])?;
    assert_eq!(served(&host, "shop")?, "one");
    let status = host.api().status("shop")?;
    assert_eq!(status.head.expect("head").message, "two");
    push_well(&repository, "three")?;
    let (_, body) = host.visit("shop", "/")?;
    assert!(body.contains("\"three\"") && body.contains("\"GREETING\": \"hello\""), "{body}");
    Ok(())
}

#[test]
fn a_restart_obeys_variables_that_say_how_the_app_runs() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    let changed =
        json!({"CC_RUN_COMMAND": "ROLE=other exec python3 app.py", "CC_PRE_RUN_HOOK": "echo the hook ran"});
    host.api().send::<serde_json::Value>("PATCH", "/apps/shop/variables", &changed)?;
    let restart = host.api().act("shop", &Action::Restart)?.deployment.expect("a deployment");
    until("it runs by the new command", || {
        let (_, body) = host.visit("shop", "/").ok()?;
        body.contains("\"ROLE\": \"other\"").then_some(())
    })?;
    let log = host.api().log("shop", &restart)?;
    assert!(log.iter().any(|line| line.text == "the hook ran"), "{log:#?}");
    Ok(())
}

#[test]
fn a_stopped_app_stays_stopped_and_starts_as_it_was() -> Result<()> {
    let mut host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    host.api().act("shop", &Action::Stop)?;
    until("the edge says that it is stopped", || (host.visit("shop", "/").ok()?.0 == 503).then_some(()))?;
    host.kill_server()?;
    host.start_server(&[])?;
    let stopped = until_status(&host, "shop", "it stays stopped", |s| s.deploying.is_none())?;
    assert_eq!(stopped.status, "stopped");
    let start = host.api().act("shop", &Action::Start)?.deployment.context("a deployment")?;
    until("it is back", || (served(&host, "shop").ok()? == "one").then_some(()))
        .with_context(|| format!("{:#?}", host.api().log("shop", &start)))
}
