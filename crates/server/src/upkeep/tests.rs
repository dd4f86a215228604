//! Rollouts over a real store, a real driver, real builds of real commits; instances and the router are made up.

mod patch;
mod rig;
mod router;

use rig::Rig;
use std::collections::BTreeSet;
use teal_core::{
    api::{Action, MaintenanceAction, MaintenanceView},
    deploy::Cause,
    upkeep::State,
};

const BROKEN: [&str; 3] = ["app-03", "app-07", "app-12"];

/// 17 moved, 3 stayed: each with a mail, each once.
async fn check_twenty(rig: &Rig, apps: &[String], before: &[(String, String)]) {
    let newest = rig.newest().await;
    let tally = newest.tally();
    assert_eq!((&newest.state, tally.moved, tally.failed, tally.left), (&State::Done, 17, 3, 0));
    for (app, (environment, _)) in apps.iter().zip(before) {
        let (now, image) = rig.live(app).await;
        let broken = BROKEN.contains(&app.as_str());
        assert_eq!(
            (now == *environment, image.as_str()),
            (broken, if broken { "one" } else { "two" }),
            "{app}"
        );
        let activity = rig.activity(app).await;
        let ours: Vec<_> = activity.iter().filter(|d| d.cause == Cause::Maintenance.word()).collect();
        assert_eq!(ours.len(), 1, "{app}: {ours:?}");
        assert_eq!(
            (ours[0].author.as_deref(), ours[0].state.as_str()),
            (None, if broken { "FAIL" } else { "OK" })
        );
        let note = ours[0].note.as_deref().unwrap_or_default();
        assert_eq!(note, "image one → two: openssl 3.0.1 → 3.0.2");
        let log = rig.platform.logs().read(&ours[0].deployment, 0, 1000).expect("a log");
        assert!(
            log.iter().any(|line| line.text.contains("image one → two: openssl 3.0.1 → 3.0.2")),
            "{log:?}"
        );
        assert_eq!(ours[0].commit, activity.last().and_then(|first| first.commit.clone()), "the live commit");
    }
    let mails = rig.mails().await;
    let about: BTreeSet<&str> = mails.iter().filter_map(|mail| mail.subject.split(':').next()).collect();
    assert_eq!((mails.len(), about), (3, BROKEN.into()), "{mails:#?}");
    for mail in &mails {
        assert!(mail.subject.contains(": maintenance failed at "), "{}", mail.subject);
        assert!(
            mail.text.contains("openssl 3.0.1 → 3.0.2") && mail.text.contains("still serves"),
            "{}",
            mail.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_apps_move_but_for_three_though_the_keeper_dies_at_every_point() {
    let rig = Rig::new(|config| {
        config.maintenance.concurrency = 4;
        config.builds = 4;
    });
    rig.image("one", 1, &[("openssl", "3.0.1")]);
    let apps: Vec<String> = (0..20).map(|n| format!("app-{n:02}")).collect();
    rig.deploy_all(&apps).await;
    let mut before = Vec::new();
    for app in &apps {
        before.push(rig.live(app).await);
    }
    rig.pass().await;
    assert_eq!(rig.store.newest_rollout().await.expect("read"), None, "everything is on the image already");
    for app in BROKEN {
        rig.breaks(app).await;
    }
    rig.image("two", 2, &[("openssl", "3.0.2")]);
    // Each look ends somewhere else, as if the server had been killed there, until one gets through.
    let mut deaths = 0;
    for points in (1..40).cycle() {
        let through = rig.pass_until(points).await;
        deaths += u32::from(!through);
        if through && rig.newest_is_over().await {
            break;
        }
    }
    assert!(deaths > 15, "{deaths}: it was killed too seldom to say anything");
    check_twenty(&rig, &apps, &before).await;
    // The same image again is no reason for anything, and neither is a look.
    rig.image("two", 2, &[("openssl", "3.0.2")]);
    rig.pass().await;
    check_twenty(&rig, &apps, &before).await;
    let view = rig.platform.maintenance().await.expect("a view");
    assert_eq!((view.image.as_str(), view.behind), ("two", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_halts_with_one_mail_goes_on_when_told_and_ends_when_told() {
    let rig = Rig::new(|config| {
        config.maintenance.concurrency = 1;
        config.maintenance.halt_after = 2;
    });
    rig.image("one", 1, &[]);
    let apps: Vec<String> = (0..6).map(|n| format!("app-{n:02}")).collect();
    rig.deploy_all(&apps).await;
    for app in &apps {
        rig.breaks(app).await;
    }
    rig.image("two", 2, &[]);
    let keeper = tokio::spawn(rig.platform.upkeep().clone().keep());
    let halted = |view: &MaintenanceView| {
        view.rollout.as_ref().is_some_and(|r| r.state == "halted" && r.under_way == 0)
    };
    let view = rig.until(halted).await;
    assert_eq!(view.rollout.as_ref().map(|r| (r.failed, r.waiting)), Some((2, 4)));
    let halts = |mails: &[crate::store::QueuedMail]| {
        mails.iter().filter(|mail| mail.subject.contains("Maintenance halted: 2 apps failed on two")).count()
    };
    let mails = rig.mails().await;
    assert_eq!((halts(&mails), mails.len()), (1, 3), "{mails:#?}");
    let halt = mails.iter().find(|mail| mail.subject.contains("halted")).expect("there");
    for words in ["maintenance resume", "maintenance abort", "2 of its deployments failed", "waiting 4"] {
        assert!(halt.text.contains(words), "{words}: {}", halt.text);
    }
    let who = Rig::who();
    let start = rig.platform.maintain(&who, MaintenanceAction::Start).await;
    assert!(start.is_err_and(|error| error.to_string().contains("halted")));
    rig.platform.maintain(&who, MaintenanceAction::Resume).await.expect("halted");
    rig.until(|view| halted(view) && view.rollout.as_ref().is_some_and(|r| r.failed == 4)).await;
    rig.platform.maintain(&who, MaintenanceAction::Abort).await.expect("open");
    let view = rig.until(|view| view.rollout.as_ref().is_some_and(|r| r.ended_at.is_some())).await;
    let rollout = view.rollout.expect("there");
    assert_eq!((rollout.state.as_str(), rollout.left, rollout.failed), ("aborted", 2, 4));
    assert_eq!(rollout.why.as_deref(), Some("ended by admin"));
    assert_eq!(rig.mails().await.len(), 6, "four failures, two halts");
    keeper.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_and_stopped_apps_are_left_and_move_once_they_may() {
    let rig = Rig::new(|_| ());
    rig.image("one", 1, &[]);
    let apps: Vec<String> = ["free", "pinned", "stopped", "empty"].map(str::to_owned).to_vec();
    rig.deploy_all(&apps[..3]).await;
    rig.create("empty").await;
    let who = Rig::who();
    let id = |name: &'static str| rig.platform.find_app(name);
    let (pinned, stopped) = (id("pinned").await.expect("there"), id("stopped").await.expect("there"));
    rig.platform.pin(&who, &pinned, &rig.tomorrow()).await.expect("a date");
    rig.platform.act(&who, &stopped, Action::Stop).await.expect("stops");
    rig.image("two", 2, &[]);
    let keeper = tokio::spawn(rig.platform.upkeep().clone().keep());
    let done = |view: &MaintenanceView| view.rollout.as_ref().is_some_and(|r| r.ended_at.is_some());
    let view = rig.until(done).await;
    let first = view.rollout.expect("there");
    assert_eq!((first.state.as_str(), first.moved, first.left, first.apps.len()), ("done", 1, 2, 3));
    let why = |name: &str| first.apps.iter().find(|app| app.app == name).and_then(|app| app.why.clone());
    assert!(why("pinned").is_some_and(|why| why.starts_with("it is pinned until ")), "{first:?}");
    assert_eq!(why("stopped").as_deref(), Some("it is stopped"));
    assert_eq!(view.pins.len(), 1);
    rig.platform.unpin(&who, &pinned).await.expect("let go");
    let view = rig.until(|view| done(view) && view.rollout.as_ref().is_some_and(|r| r.id != first.id)).await;
    let second = view.rollout.expect("there");
    assert_eq!((second.moved, second.apps.len()), (1, 1), "{second:?}");
    assert_eq!(rig.live("pinned").await.1, "two");
    keeper.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_builds_anew_and_a_push_is_built_on_it() {
    let rig = Rig::new(|_| ());
    rig.image("one", 1, &[]);
    let apps = vec!["shop".to_owned()];
    rig.deploy_all(&apps).await;
    assert_eq!(rig.live("shop").await.1, "one");
    rig.image("two", 2, &[]);
    rig.deploy_all(&apps).await;
    assert_eq!(rig.live("shop").await.1, "two");
    rig.pass().await;
    assert_eq!(rig.store.newest_rollout().await.expect("read"), None, "a push brought it there");
    let found = rig.platform.find_app("shop").await.expect("there");
    let pushed = rig.store.deployments(&found, 1).await.expect("read");
    assert!(!pushed[0].cached, "the same commit on another image is another build");
}
