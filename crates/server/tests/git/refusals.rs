//! What is refused, and in which words.

use crate::desk::{Desk, Done, WAYS, Way};
use crate::facts::PATIENCE;
use std::os::unix::fs::PermissionsExt;
use teal_server::git::{Error, Git, MAX_PUSH, Options};

async fn refused(desk: &Desk, what: &[&str], words: &[&str]) {
    let checkout = desk.path("work");
    for way in WAYS {
        let url = desk.url(way, "shop");
        let arguments: Vec<&str> = ["push", url.as_str()].into_iter().chain(what.iter().copied()).collect();
        let done = desk.try_git(&checkout, &arguments).await;
        assert_eq!(done.code, Some(1), "{way:?} {what:?}: {}", done.said);
        for words in words {
            assert!(done.said.contains(words), "{way:?} {what:?}: {words:?} is not in {}", done.said);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_branches_are_refused_with_what_to_push() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    desk.checkout("work").await;
    refused(
        &desk,
        &["main:fix-cart"],
        &["remote: shop deploys main or master, not fix-cart.", "git push REMOTE fix-cart:main"],
    )
    .await;
    refused(&desk, &["main", "main:fix-cart"], &["shop deploys main or master"]).await;
    refused(&desk, &["main:refs/notes/x"], &["branches and tags only"]).await;
    assert!(desk.facts.seen().is_empty());
    assert_eq!(desk.remote(Way::Ssh, "shop").await, "", "nothing of a refused push is kept");
    desk.git(&desk.path("work"), &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    refused(&desk, &[":main"], &["cannot be deleted", "teal stop shop"]).await;
    refused(&desk, &["main:refs/teal/good/main"], &["hidden ref"]).await;
    desk.is_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_history_is_refused_unless_the_rest_is_there() {
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("elsewhere").await;
    desk.commit(&checkout, "second").await;
    let origin = format!("file://{}", checkout.display());
    desk.git(desk.directory.path(), &["clone", "-q", "--depth=1", &origin, "work"]).await;
    refused(&desk, &["main"], &["This clone is shallow", "git fetch --unshallow"]).await;
    assert!(desk.facts.seen().is_empty());
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    let clone = desk.path("work");
    desk.commit(&clone, "third").await;
    desk.git(&clone, &["push", &desk.url(Way::Http, "shop"), "main"]).await;
    desk.git(&clone, &["fetch", "-q", "--unshallow"]).await;
    assert_eq!(desk.facts.seen().len(), 2);
    let whole = desk.git(&desk.path("repositories/a-shop.git"), &["rev-list", "--count", "main"]).await;
    assert_eq!(whole.trim(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let desk = Desk::new().await;
    let checkout = desk.checkout("work").await;
    let mut push = desk.client_as("mallory", &checkout);
    push.args(["push", &desk.url(Way::Ssh, "shop"), "main"]);
    let done = Done::of(push.output().await.expect("runs"));
    assert!(done.code == Some(128) && done.said.contains("Permission denied (publickey)"), "{done:?}");
    for user in ["", "t-alice:teal_wrong@", "t-bob:teal_right@", "nobody:@"] {
        let url = format!("http://{user}{}/shop.git", desk.http);
        let done = desk.try_git(&checkout, &["push", &url, "main"]).await;
        assert_eq!(done.code, Some(128), "{}", done.said);
        let refused = ["could not read Username", "Authentication failed", "could not read Password"];
        assert!(refused.iter().any(|words| done.said.contains(words)), "{}", done.said);
    }
    assert!(desk.facts.seen().is_empty());
    assert!(!desk.path("repositories/a-shop.git").exists(), "strangers make nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_app_is_named_with_the_remedy() {
    let desk = Desk::new().await;
    let checkout = desk.checkout("work").await;
    for way in WAYS {
        let done = desk.try_git(&checkout, &["push", &desk.url(way, "shoop"), "main"]).await;
        assert_eq!(done.code, Some(128), "{}", done.said);
        assert!(done.said.contains("There is no app named shoop here"), "{}", done.said);
        assert!(done.said.contains("teal apps create shoop"), "{}", done.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_speaks_git_only() {
    let desk = Desk::new().await;
    let ssh = desk.ssh_command("alice");
    let mut words = ssh.split(' ');
    let program = words.next().expect("a program");
    let words: Vec<&str> = words.collect();
    let port = desk.ssh.port().to_string();
    for (command, said) in [
        (None, "Hello alice, your key works."),
        (Some("ls /"), "Teal's SSH speaks git only"),
        (Some("git-upload-archive 'shop'"), "Teal's SSH speaks git only"),
        (Some("git-upload-pack '/../etc'"), "That is not a repository of Teal"),
    ] {
        let mut client = tokio::process::Command::new(program);
        client.args(&words).args(["-T", "-p", &port, "git@127.0.0.1"]).args(command);
        client.stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, client.output()).await.expect("ends").expect("runs");
        let done = Done::of(output);
        assert_eq!(done.code, Some(128), "{command:?}: {done:?}");
        assert!(done.said.contains(said), "{command:?}: {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_too_large_is_refused() {
    let desk = Desk::limited(1_000_000).await;
    let checkout = desk.checkout("work").await;
    let mut noise = vec![0; 3_000_000];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").expect("opens"), &mut noise)
        .expect("reads");
    std::fs::write(checkout.join("noise"), &noise).expect("writes");
    desk.commit(&checkout, "too much").await;
    for way in WAYS {
        let done = desk.try_git(&checkout, &["push", &desk.url(way, "shop"), "main"]).await;
        assert_eq!(done.code, Some(1), "{way:?}: {}", done.said);
        assert!(done.said.contains("pack exceeds maximum allowed size"), "{way:?}: {}", done.said);
    }
    assert!(desk.facts.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_key_stays_and_is_private() {
    let desk = Desk::new().await;
    let key = desk.path("git/ssh_host_ed25519_key");
    assert_eq!(std::fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
    let options = Options { directory: desk.path("git"), program: desk.path("teal"), max_push: MAX_PUSH };
    let git = Git::open(desk.facts.clone(), options).expect("opens");
    let loopback = "127.0.0.1:0".parse().expect("address");
    let before = desk.git.ssh(loopback).await.expect("listens");
    let after = git.ssh(loopback).await.expect("listens");
    assert_eq!(before.fingerprint(), after.fingerprint());
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("sets the mode");
    assert!(matches!(git.ssh(loopback).await, Err(Error::HostKey { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_says_who_may_look_and_who_may_push() {
    use teal_core::role::Role;
    let desk = Desk::new().await;
    desk.facts.live_at_once();
    let checkout = desk.checkout("work").await;
    desk.git(&checkout, &["push", &desk.url(Way::Ssh, "shop"), "main"]).await;
    desk.commit(&checkout, "second").await;
    for way in WAYS {
        let url = desk.url(way, "shop");
        for (role, looks, words) in [
            (Role::None, false, "There is no app named shop here"),
            (Role::Viewer, true, "You may look at shop, and not push to it"),
        ] {
            desk.facts.everybody_is(role);
            let looked = desk.try_git(&checkout, &["ls-remote", &url]).await;
            assert_eq!(looked.code == Some(0), looks, "{way:?} {role}: {}", looked.said);
            let pushed = desk.try_git(&checkout, &["push", &url, "main"]).await;
            assert_ne!(pushed.code, Some(0), "{way:?} {role}");
            // Over HTTP git hides the body of a refusal, and shows its status.
            let told = pushed.said.contains(words) || pushed.said.contains("40");
            assert!(told, "{way:?} {role}: {}", pushed.said);
        }
    }
    assert_eq!(desk.facts.seen().len(), 1, "nothing of it arrived");
    desk.facts.everybody_is(Role::Developer);
    desk.git(&checkout, &["push", &desk.url(Way::Http, "shop"), "main"]).await;
}
