//! The exit status of a push is the deployment's verdict, and the branch tells the same.

use crate::desk::{Desk, WAYS, Way};
use teal_server::platform;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_streams_the_log_and_succeeds() {
    let desk = Desk::new().await;
    let mut slowest = std::time::Duration::ZERO;
    for (count, (way, app)) in [(Way::Ssh, "shop"), (Way::Http, "blog")].into_iter().enumerate() {
        let checkout = desk.checkout(&format!("{way:?}")).await;
        let commit = desk.commit(&checkout, "fix cart").await;
        let mut push = desk.push(&checkout, &desk.url(way, app), &["main"]);
        let seen = desk.facts.nth(count + 1).await;
        assert_eq!((seen.who.user.as_str(), seen.who.way), ("alice", platform::Way::Git));
        assert_eq!((seen.push.commit.as_str(), seen.push.message.as_str()), (commit.as_str(), "fix cart"));
        assert_eq!((seen.push.author.as_str(), seen.app.as_str()), ("Ada", format!("a-{app}").as_str()));
        for line in ["Deploying commit ID", "npm ci", "Build succeeded in 2 seconds"] {
            let logged = std::time::Instant::now();
            desk.facts.log(&seen, line);
            push.hears(&format!("remote: {line}")).await;
            slowest = slowest.max(logged.elapsed());
        }
        desk.facts.log(&seen, "Successfully deployed in 0 minutes and 3 seconds");
        desk.facts.live(&seen);
        let (code, said) = push.end().await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("remote: Successfully deployed in 0 minutes and 3 seconds"), "{said}");
        assert!(said.contains(&format!("{app} is live with {}", &commit[..7])), "{said}");
        let clone = format!("clone-{app}");
        desk.git(desk.directory.path(), &["clone", "-q", &desk.url(way, app), &clone]).await;
        assert_eq!(desk.git(&desk.path(&clone), &["rev-parse", "HEAD"]).await.trim(), commit);
        let again = desk.try_git(&checkout, &["push", &desk.url(way, app), "main"]).await;
        assert!(again.code == Some(0) && again.said.contains("up-to-date"), "{again:?}");
    }
    println!("slowest line from log to client: {slowest:?}");
    assert_eq!(desk.facts.seen().len(), 2);
    desk.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_deployment_rejects_the_push_and_the_same_commit_tries_again() {
    for way in WAYS {
        let desk = Desk::new().await;
        let checkout = desk.checkout("work").await;
        let url = desk.url(way, "shop");
        let push = desk.push(&checkout, &url, &["main"]);
        let seen = desk.facts.nth(1).await;
        assert!(desk.remote(way, "shop").await.contains("refs/heads/main"), "the branch moves at once");
        desk.facts.log(&seen, "npm ERR! missing script");
        desk.facts.fail(&seen, "build", "npm ci exited with 1\nsee above");
        let (code, said) = push.end().await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("remote: npm ERR! missing script"), "{said}");
        assert!(said.contains("(deployment failed at build: npm ci exited with 1)"), "{said}");
        assert!(said.contains("[remote rejected] main -> main"), "{said}");
        assert_eq!(desk.remote(way, "shop").await, "", "rejected is rejected");

        let push = desk.push(&checkout, &url, &["main"]);
        let seen = desk.facts.nth(2).await;
        desk.facts.live(&seen);
        assert_eq!(push.end().await.0, Some(0));
        let good = desk.remote(way, "shop").await;

        // The next one fails as well; then its amendment needs no force.
        desk.commit(&checkout, "worse").await;
        let push = desk.push(&checkout, &url, &["main"]);
        desk.facts.fail(&desk.facts.nth(3).await, "check", "GET / returned 500");
        assert_eq!(push.end().await.0, Some(1));
        assert_eq!(desk.remote(way, "shop").await, good);
        desk.git(&checkout, &["commit", "-q", "--amend", "-m", "better"]).await;
        let push = desk.push(&checkout, &url, &["main"]);
        let seen = desk.facts.nth(4).await;
        assert_eq!(seen.push.message, "better");
        desk.facts.live(&seen);
        assert_eq!(push.end().await.0, Some(0));
        desk.is_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_changes_nothing() {
    for way in WAYS {
        let desk = Desk::new().await;
        let checkout = desk.checkout("work").await;
        let url = desk.url(way, "shop");
        let mut push = desk.push(&checkout, &url, &["main"]);
        let seen = desk.facts.nth(1).await;
        desk.facts.log(&seen, "half-way");
        push.hears("half-way").await;
        push.cut().await;
        desk.is_clean().await;
        assert!(desk.remote(way, "shop").await.contains(&seen.push.commit));
        desk.facts.live(&seen);
        assert!(desk.remote(way, "shop").await.contains(&seen.push.commit));

        // Lost, and then failed: the next visitor finds the branch where it belongs, and the same commit can be tried again.
        let bad = desk.commit(&checkout, "bad").await;
        let mut push = desk.push(&checkout, &url, &["main"]);
        let failing = desk.facts.nth(2).await;
        push.hears("A lost connection does not stop it").await;
        push.cut().await;
        desk.facts.fail(&failing, "build", "no");
        let left = desk.remote(way, "shop").await;
        assert!(left.contains(&seen.push.commit) && !left.contains(&bad), "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_push_supersedes() {
    let desk = Desk::new().await;
    let checkout = desk.checkout("work").await;
    let older = desk.push(&checkout, &desk.url(Way::Ssh, "shop"), &["main"]);
    let first = desk.facts.nth(1).await;
    let newest = desk.commit(&checkout, "second").await;
    let newer = desk.push(&checkout, &desk.url(Way::Http, "shop"), &["main"]);
    let second = desk.facts.nth(2).await;
    desk.facts.cancel(&first, "superseded by a newer push");
    let (code, said) = older.end().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("did not go live: superseded by a newer push"), "{said}");
    desk.facts.live(&second);
    let (code, said) = newer.end().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(desk.remote(Way::Ssh, "shop").await.contains(&newest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_the_platform_refuses_leaves_no_trace() {
    let desk = Desk::new().await;
    let checkout = desk.checkout("work").await;
    desk.facts.refuse(Some("shop is being deleted."));
    let done = desk.try_git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    assert_eq!(done.code, Some(1), "{}", done.said);
    assert!(done.said.contains("remote: shop is being deleted."), "{}", done.said);
    assert!(done.said.contains("remote: Do this instead."), "{}", done.said);
    desk.facts.refuse(None);
    desk.facts.live_at_once();
    assert_eq!(desk.remote(Way::Ssh, "shop").await, "");
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_loses_no_push_and_promises_nothing() {
    let mut desk = Desk::new().await;
    let checkout = desk.checkout("work").await;
    let push = desk.push(&checkout, &desk.url(Way::Http, "shop"), &["main"]);
    let seen = desk.facts.nth(1).await;
    desk.stop();
    assert_ne!(push.end().await.0, Some(0), "no verdict is no success");
    let repository = desk.path("repositories/a-shop.git");
    let head = desk.git(&repository, &["rev-parse", "main"]).await;
    assert_eq!(head.trim(), seen.push.commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_a_crash_cut_off_can_be_pushed_again() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    let url = desk.url(Way::Ssh, "shop");
    desk.git(&checkout, &["push", &url, "main"]).await;
    let good = desk.remote(Way::Ssh, "shop").await;
    let cut = desk.commit(&checkout, "cut off").await;
    // What is on disk when the server dies after it moved the branch and before it asked the platform.
    let repository = desk.path("repositories/a-shop.git");
    desk.git(&checkout, &["push", "-q", &repository.to_string_lossy(), "main:refs/heads/other"]).await;
    desk.git(&repository, &["update-ref", "-d", "refs/heads/other"]).await;
    for name in ["refs/heads/main", "refs/teal/intent/main"] {
        desk.git(&repository, &["update-ref", name, &cut]).await;
    }
    assert_eq!(desk.remote(Way::Ssh, "shop").await, good);
    desk.git(&checkout, &["push", &url, "main"]).await;
    assert_eq!(desk.facts.nth(2).await.push.commit, cut);
}
