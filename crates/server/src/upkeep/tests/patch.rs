//! The platform patches itself: apt is made up, so that what it has and how builds end is known; the store, the shelf and the driver are real.

use super::rig::Rig;
use crate::images::fake::Way;
use teal_core::{
    api::{Action, MaintenanceView},
    upkeep::patch::Every,
};

fn daily() -> Rig {
    Rig::new(|config| config.maintenance.check = Every::Daily)
}

fn state(view: &MaintenanceView) -> &str {
    view.check.state.as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apt_has_reaches_every_app_without_anybody_asking() {
    let rig = daily();
    rig.image("debian-12-one", 1, &[("curl", "7"), ("openssl", "3.0.1")]);
    let apps = vec!["shop".to_owned(), "blog".to_owned()];
    rig.deploy_all(&apps).await;
    rig.maker.offer(&[("curl", "8", false), ("openssl", "3.0.2", true)]);
    let never = rig.platform.maintenance().await.expect("a view");
    assert_eq!(
        (state(&never), never.check.last_at.as_deref(), never.check.every.as_str()),
        ("never", None, "daily")
    );
    let keepers = [
        tokio::spawn(rig.platform.upkeep().clone().keep_patched()),
        tokio::spawn(rig.platform.upkeep().clone().keep()),
    ];
    let done = |view: &MaintenanceView| view.rollout.as_ref().is_some_and(|rollout| rollout.state == "done");
    let view = rig.until(|view| done(view) && state(view) == "built").await;
    let rollout = view.rollout.as_ref().expect("there");
    assert_eq!((rollout.moved, rollout.security, rollout.changes.len()), (2, 1, 2), "{rollout:?}");
    assert_eq!((rollout.changes[0].package.as_str(), rollout.changes[0].security), ("openssl", true));
    assert_eq!(view.check.detail, format!("{} was built", view.image));
    assert!(view.check.next_at.is_some_and(|next| Some(next) > view.check.last_at));
    for app in &apps {
        let activity = rig.activity(app).await;
        let note = activity[0].note.clone().unwrap_or_default();
        assert!(note.contains("(1 security update): openssl 3.0.1 → 3.0.2 (security), curl 7 → 8"), "{note}");
        assert_eq!(rig.live(app).await.1, view.image);
    }
    assert_eq!(rig.maker.counts(), (1, 1), "asked once and built once");
    keepers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_built_once_though_the_keeper_dies_at_every_point() {
    let rig = daily();
    rig.image("debian-12-one", 1, &[("openssl", "3.0.1")]);
    rig.maker.offer(&[("openssl", "3.0.2", true)]);
    let mut deaths = 0;
    for points in 0.. {
        let through = rig.patch_until(points).await;
        deaths += u32::from(!through);
        let view = rig.platform.maintenance().await.expect("a view");
        if through && state(&view) == "built" {
            break;
        }
    }
    let (asked, begun) = rig.maker.counts();
    // A question whose answer was lost is asked again; a build is begun once for what was found.
    assert!(deaths >= 2 && asked >= 1, "{deaths} deaths, asked {asked} times");
    assert_eq!(begun, 1);
    let looks = rig.maker.counts();
    rig.platform.upkeep().patch().await.expect("the store works");
    assert_eq!(rig.maker.counts(), looks, "nothing is due for a day");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_built_where_nothing_differs_and_nothing_asked_where_it_is_off() {
    for (every, asked) in [(Every::Daily, 1), (Every::Off, 0)] {
        let rig = Rig::new(|config| config.maintenance.check = every);
        rig.image("debian-12-one", 1, &[("openssl", "3.0.1")]);
        rig.maker.offer(&[("openssl", "3.0.1", true)]);
        for _ in 0..3 {
            rig.platform.upkeep().patch().await.expect("the store works");
        }
        assert_eq!(rig.maker.counts(), (asked, 0), "{every:?}");
        let view = rig.platform.maintenance().await.expect("a view");
        assert_eq!(view.check.next_at.is_some(), every == Every::Daily);
        assert_eq!(state(&view), if asked == 0 { "never" } else { "current" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_never_built_is_left_to_its_operator() {
    let rig = daily();
    rig.platform.upkeep().patch().await.expect("the store works");
    assert_eq!(rig.maker.counts(), (0, 0));
    let view = rig.platform.maintenance().await.expect("a view");
    assert!(
        view.check.detail.contains("teal image build debian-12") && view.check.next_at.is_none(),
        "{view:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_said_and_a_users_word_is_kept() {
    let rig = daily();
    rig.image("debian-12-one", 1, &[("openssl", "3.0.1")]);
    rig.maker.offer(&[("openssl", "3.0.2", true)]);
    rig.maker.behave(Way::NoMirror);
    let upkeep = rig.platform.upkeep();
    upkeep.patch().await.expect("the store works");
    upkeep.patch().await.expect("the store works");
    let view = rig.platform.maintenance().await.expect("a view");
    assert_eq!((state(&view), rig.maker.counts()), ("failed", (1, 0)), "not again at once");
    assert!(view.check.detail.contains("no mirror"), "{view:?}");
    let finding = rig.platform.patch_finding().await.expect("read").expect("an image is configured");
    assert!(!finding.ok && finding.detail.contains("no mirror"), "{finding:?}");

    let rig = daily();
    rig.image("debian-12-one", 1, &[("openssl", "3.0.1")]);
    rig.maker.offer(&[("openssl", "3.0.2", true)]);
    rig.maker.behave(Way::Hangs);
    let upkeep = rig.platform.upkeep();
    upkeep.patch().await.expect("the store works");
    assert_eq!(state(&rig.platform.maintenance().await.expect("a view")), "building");
    rig.platform.cancel_image_build(&Rig::who()).expect("goes on");
    let view = rig.until(|view| state(view) != "building").await;
    assert_eq!(state(&view), "differs", "its end is not noted yet: {view:?}");
    upkeep.patch().await.expect("the store works");
    let view = rig.platform.maintenance().await.expect("a view");
    assert_eq!((state(&view), view.check.detail.as_str()), ("cancelled", "admin ended the build"));
    upkeep.patch().await.expect("the store works");
    assert_eq!(rig.maker.counts(), (1, 1), "until the next day");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_that_nobody_uses_go_once_a_newer_one_is_built() {
    let rig = daily();
    rig.image("debian-12-b", 2, &[("openssl", "3.0.1")]);
    let app = vec!["shop".to_owned()];
    rig.deploy_all(&app).await;
    let id = rig.platform.find_app("shop").await.expect("there");
    rig.platform.act(&Rig::who(), &id, Action::Stop).await.expect("stops");
    rig.image("debian-12-a", 1, &[("openssl", "3.0.0")]);
    rig.image("debian-12-c", 3, &[("openssl", "3.0.1")]);
    rig.maker.offer(&[("openssl", "3.0.2", true)]);
    let keeper = tokio::spawn(rig.platform.upkeep().clone().keep_patched());
    rig.until(|view| state(view) == "built").await;
    keeper.abort();
    let gone = |version: &'static str| async { rig.platform.image(version).await.is_err() };
    rig.wait("the oldest is gone", || async { gone("debian-12-a").await.then_some(()) }).await;
    assert!(!gone("debian-12-b").await, "something runs on it, or may again");
    assert!(!gone("debian-12-c").await && rig.platform.image_list().await.expect("listed").len() == 3);
}
