//! Behaviour 5: a crash at any step converges; and everything killed at once comes back by itself.

use crate::{app, at_rest, push, push_well, quick, served, until_status};
use anyhow::Result;
use std::{process::Child, time::Duration};
use teal_core::api::Action;
use teal_e2e::{Behaviour, Host, Options, Repository, Rig, slowness, until, within};

/// What is under way when the server crashes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Story {
    Push,
    Wake,
    Cancel,
    Failing,
    Restart,
}

#[test]
fn a_crash_at_any_step_of_a_push_converges() -> Result<()> {
    crash_everywhere(Story::Push)
}

#[test]
fn a_crash_at_any_step_of_a_wake_converges() -> Result<()> {
    crash_everywhere(Story::Wake)
}

#[test]
fn a_crash_at_any_step_of_a_cancel_converges() -> Result<()> {
    crash_everywhere(Story::Cancel)
}

#[test]
fn a_crash_at_any_step_of_a_failing_deployment_converges() -> Result<()> {
    crash_everywhere(Story::Failing)
}

#[test]
fn a_crash_at_any_step_of_a_restart_converges() -> Result<()> {
    crash_everywhere(Story::Restart)
}

fn crash_everywhere(story: Story) -> Result<()> {
    let mut host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "v0")?;
    push_well(&repository, "v1")?;
    // A restart keeps the version, so the rig's streams would not know that it is time to leave, and would meet the cap.
    let streams = if story == Story::Restart { "0" } else { "2" };
    let mut rig = Rig::start(&host, "shop", &["--rate", "50", "--websockets", "5", "--sse", streams])?;
    let mut crashes = 0;
    for side in ["before", "after"] {
        for nth in 1.. {
            until_status(&host, "shop", "at rest", at_rest)?;
            host.kill_server()?;
            rig.expect_back()?;
            let started = host.start_server(&[("TEAL_CRASH_AT", &format!("{side}:{nth}"))]);
            // What was still due at rest may have reached the crash point before the server even served.
            let early = started.is_err() && host.server_ended();
            if !early {
                started?;
            }
            let background =
                if early { Ok(None) } else { begin(&host, &repository, story, &format!("{side}-{nth}")) };
            let crashed = if early { Ok(true) } else { ended_or_at_rest(&mut host, story) };
            if let Ok(Some(mut child)) = background {
                let _ = child.kill();
                let _ = child.wait();
            }
            if !crashed? {
                break;
            }
            crashes += 1;
            host.start_server(&[])?;
            within(Duration::from_secs(30) * slowness(), "it converges within 30 s of the restart", || {
                let status = host.api().status("shop").ok()?;
                (at_rest(&status) && status.live.is_some()).then_some(())
            })?;
            let status = host.api().status("shop")?;
            assert_eq!(
                status.live.expect("live").commit.message,
                served(&host, "shop")?,
                "status tells the truth"
            );
        }
    }
    // The last server was told to crash, too: what is cleaned up now must not meet that.
    host.kill_server()?;
    rig.expect_back()?;
    host.start_server(&[])?;
    println!("{story:?}: {crashes} crashes, one before and one after each commit and effect");
    let report = rig.stop()?;
    assert_eq!(report.failed, 0, "{:#?}, {}", report.failures, report.posts);
    Ok(())
}

/// Begins the story; a push goes on in the background.
fn begin(host: &Host, repository: &Repository, story: Story, name: &str) -> Result<Option<Child>> {
    let behaviour = if story == Story::Failing { Behaviour::Exits(1, 0.0) } else { Behaviour::Good };
    match story {
        Story::Push | Story::Failing | Story::Cancel => {
            let files = teal_e2e::python_app(name, &behaviour);
            let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
            repository.commit(&files, name)?;
            let child = repository
                .push_command("HEAD:main", &["--force", "-q"])
                .stderr(std::process::Stdio::null())
                .spawn()?;
            if story == Story::Cancel {
                let under_way =
                    || host.api().status("shop").map_or(Some(false), |s| s.deploying.map(|_| true));
                if until("a deployment is under way, or the server crashed", under_way)? {
                    let _ = host.api().act("shop", &Action::Cancel { deployment: None });
                }
            }
            Ok(Some(child))
        }
        Story::Wake => host.api().act("shop", &Action::Wake).map(|_| None),
        Story::Restart => host.api().act("shop", &Action::Restart).map(|_| None),
    }
}

/// Waits until the server crashed (true) or the story is over (false).
fn ended_or_at_rest(host: &mut Host, story: Story) -> Result<bool> {
    // The story must have begun before "at rest" can mean that it is over.
    let known = host.api().activity("shop").map_or(0, |all| all.len());
    let mut quiet = 0;
    until(&format!("{story:?}: a crash, or the end"), || {
        if host.server_ended() {
            return Some(true);
        }
        let over = host.api().activity("shop").is_ok_and(|all| all.len() >= known && all[0].state != "WIP")
            && host.api().status("shop").is_ok_and(|status| at_rest(&status));
        quiet = if over { quiet + 1 } else { 0 };
        // Lowering goes on a little after the verdict: it has crash points, too.
        (quiet > 100).then_some(false)
    })
}

#[test]
fn everything_killed_at_once_comes_back_without_a_person() -> Result<()> {
    let mut host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    push_well(&repository, "two")?;
    until_status(&host, "shop", "at rest", at_rest)?;
    host.kill_everything()?;
    host.start_router()?;
    host.start_server(&[])?;
    until("production is back", || (served(&host, "shop").ok()? == "two").then_some(()))?;
    let pushed = push(&repository, "three", &Behaviour::Good)?;
    assert!(pushed.ok, "{}", pushed.output);
    Ok(())
}
