//! What may be pushed, and how much of it.

use crate::desk::{Desk, WAYS, Way};
use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use std::{
    io::{Read, Write},
    path::PathBuf,
};
use tower::ServiceExt;

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_kept_and_deploy_nothing() {
    for way in WAYS {
        let desk = Desk::new().await;
        desk.facts.live_at_once();
        let checkout = desk.checkout("work").await;
        let url = desk.url(way, "shop");
        desk.git(&checkout, &["tag", "-a", "v1", "-m", "one"]).await;
        desk.git(&checkout, &["push", &url, "v1"]).await;
        assert!(desk.facts.seen().is_empty());
        desk.git(&checkout, &["tag", "v2"]).await;
        desk.git(&checkout, &["push", &url, "main", "v2"]).await;
        assert_eq!(desk.facts.seen().len(), 1);
        let remote = desk.remote(way, "shop").await;
        assert!(["refs/tags/v1", "refs/tags/v2", "refs/heads/main"].iter().all(|name| remote.contains(name)));
        assert!(!remote.contains("refs/teal"), "{remote}");
        desk.git(&checkout, &["push", &url, ":refs/tags/v1"]).await;
        assert!(!desk.remote(way, "shop").await.contains("refs/tags/v1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn master_deploys_like_main_and_clones_find_it() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main:master"]).await;
    assert_eq!(desk.facts.seen().len(), 1);
    desk.git(desk.directory.path(), &["clone", "-q", &desk.url(Way::Http, "shop"), "clone"]).await;
    assert_eq!(desk.git(&desk.path("clone"), &["branch", "--show-current"]).await.trim(), "master");
    // Both at once, of one commit, are one deployment.
    desk.commit(&checkout, "both").await;
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main:main", "main:master"]).await;
    assert_eq!(desk.facts.seen().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_rewritten_only_by_force() {
    for way in WAYS {
        let desk = Desk::new().await;
        desk.facts.live_at_once();
        let checkout = desk.checkout("work").await;
        let url = desk.url(way, "shop");
        desk.git(&checkout, &["push", &url, "main"]).await;
        desk.git(&checkout, &["commit", "-q", "--amend", "-m", "rewritten"]).await;
        let done = desk.try_git(&checkout, &["push", &url, "main"]).await;
        assert!(done.code == Some(1) && done.said.contains("non-fast-forward"), "{done:?}");
        desk.git(&checkout, &["push", "--force", &url, "main"]).await;
        assert_eq!(desk.facts.nth(2).await.push.message, "rewritten");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_megabytes_go_both_ways() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    for (way, app) in [(Way::Ssh, "shop"), (Way::Http, "blog")] {
        let checkout = desk.checkout(app).await;
        let mut noise = vec![0; 20_000_000];
        std::fs::File::open("/dev/urandom").expect("opens").read_exact(&mut noise).expect("reads");
        std::fs::write(checkout.join("noise"), &noise).expect("writes");
        let commit = desk.commit(&checkout, "noise").await;
        desk.git(&checkout, &["push", &desk.url(way, app), "main"]).await;
        let clone = format!("clone-{app}");
        desk.git(desk.directory.path(), &["clone", "-q", &desk.url(way, app), &clone]).await;
        assert_eq!(desk.git(&desk.path(&clone), &["rev-parse", "HEAD"]).await.trim(), commit);
        assert!(std::fs::read(desk.path(&clone).join("noise")).expect("reads") == noise);
    }
    desk.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_at_once() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    let mut clones = Vec::new();
    for number in 0..4 {
        let (name, url) = (format!("clone-{number}"), desk.url(WAYS[number % 2], "shop"));
        desk.git(desk.directory.path(), &["clone", "-q", &url, &name]).await;
        let clone = desk.path(&name);
        clones.push((desk.commit(&clone, &format!("by {number}")).await, clone, url));
    }
    let push =
        |(commit, clone, url): &(String, PathBuf, String)| (commit.clone(), desk.push(clone, url, &["main"]));
    let pushes: Vec<_> = clones.iter().map(push).collect();
    let blog = desk.checkout("blog").await;
    let apart = desk.push(&blog, &desk.url(Way::Http, "blog"), &["main"]);
    assert_eq!(apart.end().await.0, Some(0), "other apps have nothing to do with it");
    let mut accepted = Vec::new();
    for (commit, push) in pushes {
        match push.end().await {
            (Some(0), _) => accepted.push(commit),
            (Some(1), said) => assert!(said.contains("rejected"), "{said}"),
            other => panic!("{other:?}"),
        }
    }
    // They all began at the same commit: exactly one can come first, and nothing is lost silently.
    assert_eq!(accepted.len(), 1);
    assert!(desk.remote(Way::Ssh, "shop").await.contains(&accepted[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_first_push_many_times_at_once() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    let push = |number: usize| {
        desk.push(&checkout, &desk.url(WAYS[number % 2], "shop"), &[&format!("main:refs/tags/t{number}")])
    };
    // All send the same pack, so each would leave git's lock of the same name.
    let pushes: Vec<_> = (0..8).map(push).collect();
    for push in pushes {
        let (code, said) = push.end().await;
        assert_eq!(code, Some(0), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_request_is_understood() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(b"0014command=ls-refs\n00010000").expect("deflates");
    let (id, secret) = crate::facts::TOKEN;
    let request = |body: Vec<u8>| {
        Request::post("/shop.git/git-upload-pack")
            .header("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
            .header("content-type", "application/x-git-upload-pack-request")
            .header("content-encoding", "gzip")
            .header("git-protocol", "version=2")
            .body(Body::from(body))
            .expect("legal")
    };
    let response = desk.git.http().oneshot(request(gzip.finish().expect("deflates"))).await.expect("answers");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("reads").to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("refs/heads/main"), "{body:?}");
    // What is not gzip ends the request and nothing else.
    let response = desk.git.http().oneshot(request(b"not gzip".to_vec())).await.expect("answers");
    let _ = response.into_body().collect().await;
    desk.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_fetch_negotiation_is_understood() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    for way in WAYS {
        desk.git(&checkout, &["push", &desk.url(way, "shop"), "main"]).await;
    }
    desk.git(desk.directory.path(), &["clone", "-q", &desk.url(Way::Http, "shop"), "clone"]).await;
    let clone = desk.path("clone");
    // Many commits that the server lacks: git offers them all, in gzip bodies.
    let tree = desk.git(&clone, &["rev-parse", "HEAD^{tree}"]).await;
    for number in 0..60 {
        let commit = desk.git(&clone, &["commit-tree", tree.trim(), "-m", &number.to_string()]).await;
        desk.git(&clone, &["update-ref", &format!("refs/heads/b{number}"), commit.trim()]).await;
    }
    let newest = desk.commit(&checkout, "newer").await;
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    for way in WAYS {
        desk.git(&clone, &["fetch", "-q", &desk.url(way, "shop"), "main"]).await;
        assert_eq!(desk.git(&clone, &["rev-parse", "FETCH_HEAD"]).await.trim(), newest);
    }
}
