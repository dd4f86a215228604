//! From start to end: what an instance does is seen, and each call does what it says.

use crate::rig::{PATIENCE, Rig, done};
use std::time::{Duration, Instant};
use teal_runtime::{Command, Outcome, Runtime, State};

#[tokio::test(flavor = "multi_thread")]
async fn a_python_app_serves_and_says_where_it_listens() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let started = Instant::now();
    let address = done(rig.sandbox.ensure(&spec).await).address.expect("an app has an address");
    eprintln!("figure: ensure of a sandbox took {:?}", started.elapsed());
    let state =
        rig.until(&spec.id, |s| matches!(s, State::Running { listening } if !listening.is_empty())).await;
    eprintln!("figure: python listened after {:?}", started.elapsed());
    assert_eq!(state, State::Running { listening: vec!["0.0.0.0:8080".parse().expect("address")] });
    assert_eq!(rig.get(address, "/x").await.expect("an answer"), "hello from e-1-0/x");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_listens_on_loopback_only_is_told_and_not_reached() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    spec.variables.insert("BIND".into(), "127.0.0.1".into());
    let address = done(rig.sandbox.ensure(&spec).await).address.expect("an app has an address");
    let state =
        rig.until(&spec.id, |s| matches!(s, State::Running { listening } if !listening.is_empty())).await;
    assert_eq!(state, State::Running { listening: vec!["127.0.0.1:8080".parse().expect("address")] });
    assert!(rig.get(address, "/").await.is_err());
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_have_a_second_port() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    spec.tcp_port = Some(5432);
    spec.commands[0].script = "export PORT=$TCP_PORT; exec python3 server.py".into();
    let inspection = done(rig.sandbox.ensure(&spec).await);
    let (http, tcp) = (inspection.address.expect("one"), inspection.tcp_address.expect("two"));
    assert_eq!((http.ip(), http.port(), tcp.port()), (tcp.ip(), 8080, 5432));
    rig.until_listening(&spec.id).await;
    assert_eq!(rig.get(tcp, "/x").await.expect("an answer"), "hello from e-1-0/x");
    done(rig.sandbox.sleep(&spec.id).await);
    assert_eq!(done(rig.sandbox.wake(&spec.id).await).tcp_address, Some(tcp));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_order_until_one_fails() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.script("b-1", "echo never");
    spec.port = None;
    let command = |stage: &str, script: &str| Command { stage: stage.into(), script: script.into() };
    spec.commands.insert(0, command("build", "echo out; echo err >&2; printf unfinished; exit 7"));
    spec.commands.insert(0, command("dependencies", "while [ ! -e go ]; do sleep 0.01; done; echo first"));
    done(rig.sandbox.ensure(&spec).await);
    let preparing = State::Preparing { stage: "dependencies".into() };
    rig.until(&spec.id, |s| *s == preparing).await;
    rig.inside(&spec.id, "touch /app/go");
    let State::Exited(exit) = rig.until(&spec.id, |s| matches!(s, State::Exited(_))).await else {
        unreachable!()
    };
    assert_eq!((exit.stage.as_str(), exit.code, exit.out_of_memory), ("build", 7, false));
    let mut lines: Vec<_> = rig.lines(&spec.id).into_iter().map(|l| (l.stage, l.error, l.text)).collect();
    lines.sort();
    let line = |stage: &str, error, text: &str| (stage.to_owned(), error, text.to_owned());
    let expected = [
        line("build", false, "out"),
        line("build", false, "unfinished"),
        line("build", true, "err"),
        line("dependencies", false, "first"),
    ];
    assert_eq!(lines, expected);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_wakes_with_its_memory() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let address = done(rig.sandbox.ensure(&spec).await).address.expect("an app has an address");
    rig.until_listening(&spec.id).await;
    done(rig.sandbox.sleep(&spec.id).await);
    let asleep = done(rig.sandbox.inspect(&spec.id).await);
    assert_eq!(asleep.state, State::Frozen);
    assert_eq!(asleep.address, Some(address));
    assert!(asleep.memory_bytes.expect("known") > 1024 * 1024);
    done(rig.sandbox.sleep(&spec.id).await);
    let woken = Instant::now();
    let awake = done(rig.sandbox.wake(&spec.id).await);
    eprintln!("figure: wake from memory took {:?}", woken.elapsed());
    assert!(matches!(awake.state, State::Running { .. }), "{awake:?}");
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_asks_first() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    done(rig.sandbox.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    done(rig.sandbox.sleep(&spec.id).await);
    done(rig.sandbox.stop(&spec.id, PATIENCE).await);
    assert_eq!(done(rig.sandbox.inspect(&spec.id).await).state, State::Absent);
    assert!(rig.lines(&spec.id).iter().any(|l| l.text == "asked to stop"), "{:?}", rig.lines(&spec.id));
    done(rig.sandbox.forget(&spec.id).await);
    assert!(!rig.sandbox.log(&spec.id).exists());
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_is_killed_at_the_deadline() {
    let Some(rig) = Rig::new() else { return };
    let spec =
        rig.script("e-1-0", "trap '' TERM; echo deaf; (setsid sleep 1000 &) ; while :; do sleep 0.1; done");
    done(rig.sandbox.ensure(&spec).await);
    rig.until_line(&spec.id, "deaf").await;
    let begun = Instant::now();
    done(rig.sandbox.stop(&spec.id, Duration::from_millis(300)).await);
    assert!(begun.elapsed() >= Duration::from_millis(300), "it was given its time");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_app_leaves_behind_ends_with_it() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.script("e-1-0", "(setsid sleep 1000 &); (setsid setsid sleep 1000 &); exit 3");
    let (code, _) = rig.run(&spec).await;
    assert_eq!(code, 3);
    let end = Instant::now() + PATIENCE;
    while rig.pids(&spec.id).len() > 1 {
        assert!(Instant::now() < end, "only the agent is left: {:?}", rig.pids(&spec.id));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_removed_already_and_cannot_sleep() {
    let Some(rig) = Rig::new() else { return };
    let id = "e-none-0".parse().expect("an id");
    assert_eq!(done(rig.sandbox.inspect(&id).await).state, State::Absent);
    done(rig.sandbox.remove(&id).await);
    done(rig.sandbox.stop(&id, PATIENCE).await);
    done(rig.sandbox.forget(&id).await);
    done(rig.sandbox.singletons(&id, false).await);
    assert!(matches!(rig.sandbox.sleep(&id).await, Outcome::Broke(_)));
    assert!(matches!(rig.sandbox.wake(&id).await, Outcome::Broke(_)));
    assert!(matches!(rig.sandbox.singletons(&id, true).await, Outcome::Broke(_)));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_run_is_refused() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    spec.tree = teal_runtime::Tree::Sealed("/nowhere/at/all".into());
    assert!(matches!(rig.sandbox.ensure(&spec).await, Outcome::Broke(_)));
    let mut spec = rig.python("e-1-0");
    spec.commands.clear();
    assert!(matches!(rig.sandbox.ensure(&spec).await, Outcome::Broke(_)));
    rig.close().await;
}
