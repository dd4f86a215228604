//! Behaviour 15: the platform patches itself. Twenty apps move to another image under load, three break on it, the server is killed in the middle.

use crate::{app, push_files, quick};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use teal_core::api::{DeploymentView, MaintenanceView, RolloutView};
use teal_e2e::{Behaviour, Host, Mail, Options, Rig, image, python_app, until, within};

/// All apps; the first one is under the rig's load, the others are visited one after another.
const APPS: usize = 20;
/// Those that break on the second image.
const BROKEN: [&str; 3] = ["app-04", "app-09", "app-15"];
/// Pushes at a time.
const PUSHERS: usize = 4;
/// Far beyond what the whole rollout takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn name(n: usize) -> String {
    if n == 0 { "shop".into() } else { format!("app-{n:02}") }
}

/// Pushes one app. Those that are to break take their second build amiss, and that is the one on the new image: the cache key has the image in it.
fn deploy(host: &Host, name: &str) -> Result<()> {
    let repository = app(host, name, quick())?;
    if BROKEN.contains(&name) {
        let once = "test ! -e \"$TEAL_CACHE/built\" && touch \"$TEAL_CACHE/built\"";
        let variables = json!({"CC_BUILD_COMMAND": once, "CC_CACHE_DEPENDENCIES": "true"});
        host.api().send::<serde_json::Value>("PATCH", &format!("/apps/{name}/variables"), &variables)?;
    }
    let pushed = push_files(&repository, "v0", &python_app("v0", &Behaviour::Good))?;
    ensure!(pushed.ok, "{name} did not go live:\n{}", pushed.output);
    Ok(())
}

fn deploy_all(host: &Host) -> Result<()> {
    std::thread::scope(|scope| {
        let pusher = |first| {
            scope.spawn(move || (first..APPS).step_by(PUSHERS).try_for_each(|n| deploy(host, &name(n))))
        };
        let pushers: Vec<_> = (0..PUSHERS).map(pusher).collect();
        pushers
            .into_iter()
            .try_for_each(|pusher| pusher.join().map_err(|_| anyhow::anyhow!("a push panicked"))?)
    })
}

fn rollout(host: &Host) -> Option<RolloutView> {
    host.api().get::<MaintenanceView>("/maintenance").ok()?.rollout
}

fn live(host: &Host) -> Result<BTreeMap<String, String>> {
    let live = |n| {
        let live = host.api().status(&name(n))?.live.context("nothing is live")?;
        Ok((name(n), live.environment.to_string()))
    };
    (0..APPS).map(live).collect()
}

/// Visits every app again and again until told to end; how often, and what was not answered well.
fn visit(edge: SocketAddr, over: &AtomicBool) -> (u64, Vec<String>) {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    let (mut visits, mut failed) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        for n in 0..APPS {
            let host = format!("{}.localhost", name(n));
            match agent.get(format!("http://{edge}/")).header("host", &host).call() {
                Ok(answer) if answer.status() == 200 => {}
                other => failed.push(format!("{host}: {other:?}")),
            }
            visits += 1;
        }
    }
    (visits, failed)
}

/// Starts the rollout, kills the server once a few have moved, and waits for the end.
fn roll_out(host: &mut Host) -> Result<RolloutView> {
    host.api().send::<MaintenanceView>("POST", "/maintenance/actions", &json!({"action": "start"}))?;
    within(PATIENCE, "some apps have moved", || rollout(host).filter(|r| r.moved >= 4).map(drop))?;
    host.kill_server()?;
    host.start_server(&[])?;
    within(PATIENCE, "the rollout ends", || rollout(host).filter(|r| r.ended_at.is_some()))
}

#[test]
fn twenty_apps_move_to_another_image_and_three_stay() -> Result<()> {
    let Some(content) = std::env::var_os("TEAL_IMAGE").map(PathBuf::from) else {
        println!("SKIPPED: TEAL_IMAGE names no image; `cargo xtask image` builds one");
        return Ok(());
    };
    let config =
        "image = \"debian-12\"\nbuilds = 4\n[maintenance]\ncheck = \"off\"\nconcurrency = 4\nspread_s = 0"
            .to_owned();
    let mut host = Host::start(&Options { config, ..Options::default() })?;
    image::make(host.path(), &content, "debian-12-one", 1, "3.0.1")?;
    deploy_all(&host)?;
    let before = live(&host)?;
    let rig = Rig::start(&host, "shop", &["--rate", "100", "--websockets", "0", "--sse", "0"])?;
    image::make(host.path(), &content, "debian-12-two", 2, "3.0.2")?;
    let (over, edge) = (AtomicBool::new(false), host.http());
    let (done, (visits, failed)) = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| visit(edge, &over));
        let done = roll_out(&mut host);
        over.store(true, Ordering::SeqCst);
        (done, visitor.join().expect("the visitor ends"))
    });
    let done = done?;
    check(&host, &done, &before)?;
    let report = rig.stop()?;
    println!("{} apps moved, {visits} visits, {} requests of the rig", done.moved, report.requests);
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(report.failed, 0, "{:#?}, {}", report.failures, report.posts);
    assert!(report.requests > 300 && visits > 100, "too few to say anything");
    Ok(())
}

/// 17 are on the new image, by one deployment each; 3 stayed as they were, with a mail each.
fn check(host: &Host, done: &RolloutView, before: &BTreeMap<String, String>) -> Result<()> {
    assert_eq!((done.state.as_str(), done.moved, done.failed, done.left), ("done", 17, 3, 0), "{done:#?}");
    let now = live(host)?;
    for (app, environment) in before {
        let broken = BROKEN.contains(&app.as_str());
        assert_eq!(now[app] == *environment, broken, "{app}");
        let ours = |d: &&DeploymentView| d.cause == "Maintenance";
        let activity = host.api().activity(app)?;
        let ours: Vec<_> = activity.iter().filter(ours).collect();
        assert_eq!((ours.len(), ours[0].state == "OK"), (1, !broken), "{app}: {ours:#?}");
        assert!(
            ours[0].note.as_ref().is_some_and(|note| note.contains("openssl 3.0.1 → 3.0.2")),
            "{ours:#?}"
        );
        assert_eq!(activity.len(), 2, "{app}: a push and the maintenance");
    }
    // The server was killed meanwhile: a mail that had been taken, and not noted yet, comes again under the id by which readers know it.
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned))
    };
    let three = |mails: &Vec<Mail>| {
        let ids: BTreeSet<_> = mails.iter().filter_map(|mail| field(&mail.text, "Message-ID:")).collect();
        ids.len() >= 3
    };
    let mails = until("three mails", || Some(host.mail().mails()).filter(three))?;
    let told = |mail: &Mail| {
        let app = field(&mail.text, "Subject:")?.split(':').next().map(str::to_owned)?;
        Some((app, field(&mail.text, "Message-ID:")?))
    };
    let told: BTreeSet<(String, String)> = mails.iter().filter_map(told).collect();
    let about: Vec<&str> = told.iter().map(|(app, _)| app.as_str()).collect();
    assert_eq!(about, BROKEN, "{mails:#?}");
    // The image is everywhere that it can be: nothing more happens, however often the server looks.
    let view: MaintenanceView = host.api().get("/maintenance")?;
    assert_eq!((view.behind, view.rollout.map(|r| r.id)), (3, Some(done.id.clone())));
    Ok(())
}
