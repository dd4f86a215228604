//! Servers die, starts break off, agents are killed: what is there is found again, and what is half there is made whole or removed.

use crate::rig::{PATIENCE, Rig, done, removed};
use std::fs;
use teal_runtime::{Outcome, Runtime, State};

#[tokio::test(flavor = "multi_thread")]
async fn a_later_server_finds_what_an_earlier_one_started() {
    let Some(rig) = Rig::new() else { return };
    let (spec, sleeper) = (rig.python("e-1-0"), rig.python("e-2-0"));
    let address = done(rig.sandbox.ensure(&spec).await).address.expect("an address");
    done(rig.sandbox.ensure(&sleeper).await);
    rig.until_listening(&spec.id).await;
    done(rig.sandbox.sleep(&sleeper.id).await);
    let before = rig.pids(&spec.id);
    let later = rig.again();
    assert_eq!(done(later.list().await), [spec.id.clone(), sleeper.id.clone()]);
    assert_eq!(done(later.inspect(&spec.id).await).address, Some(address));
    assert_eq!(done(later.inspect(&sleeper.id).await).state, State::Frozen);
    assert_eq!(done(later.ensure(&spec).await).address, Some(address));
    assert_eq!(rig.pids(&spec.id), before, "nothing was started anew");
    done(later.wake(&sleeper.id).await);
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ensuring_twice_makes_one() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let (one, other) = tokio::join!(rig.sandbox.ensure(&spec), rig.sandbox.ensure(&spec));
    assert_eq!(done(one).address, done(other).address);
    assert_eq!(done(rig.sandbox.list().await), std::slice::from_ref(&spec.id));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_broke_off_is_done_again() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    done(rig.sandbox.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    let before = rig.pids(&spec.id);
    // As if the server had died just before it noted the agent: everything is there, and nobody knows it.
    let record = rig.config.data.join("run/instances/e-1-0/record.json");
    let mut value: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&record).expect("there")).expect("JSON");
    value["agent"] = serde_json::Value::Null;
    fs::write(&record, value.to_string()).expect("written");
    let later = rig.again();
    assert_eq!(done(later.inspect(&spec.id).await).state, State::Absent);
    let address = done(later.ensure(&spec).await).address.expect("an address");
    rig.until_listening(&spec.id).await;
    assert!(rig.pids(&spec.id).iter().all(|pid| !before.contains(pid)), "the old processes are gone");
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_broke_off_leaves_nothing_to_count_on() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    // Its server ends when it is told to, and the app as a whole lingers on.
    spec.commands[0].script =
        "trap 'echo told to stop' TERM; python3 server.py & while :; do sleep 1; done".into();
    done(rig.sandbox.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    let before = rig.pids(&spec.id);
    let (runtime, id) = (rig.sandbox.clone(), spec.id.clone());
    let stop = tokio::spawn(async move { runtime.stop(&id, PATIENCE * 10).await });
    rig.until_line(&spec.id, "told to stop").await;
    stop.abort();
    assert!(stop.await.is_err_and(|end| end.is_cancelled()), "the server dies before the app has ended");
    let later = rig.again();
    let state = done(later.inspect(&spec.id).await).state;
    assert!(matches!(state, State::Running { .. }), "what still runs is not denied: {state:?}");
    assert!(matches!(later.sleep(&spec.id).await, Outcome::Broke(_)), "it is nothing to come back to");
    let address = done(later.ensure(&spec).await).address.expect("an address");
    rig.until_listening(&spec.id).await;
    assert!(rig.pids(&spec.id).iter().all(|pid| !before.contains(pid)), "the old processes are gone");
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_an_exit_and_starts_again() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    done(rig.sandbox.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    rig.kill_all(&spec.id);
    let state = rig.until(&spec.id, |s| matches!(s, State::Exited(_))).await;
    let State::Exited(exit) = state else { unreachable!() };
    assert_eq!((exit.stage.as_str(), exit.code, exit.out_of_memory), ("start", 137, false));
    let address = done(rig.sandbox.ensure(&spec).await).address.expect("an address");
    rig.until_listening(&spec.id).await;
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_boot_left_is_absent_and_goes() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let run = rig.config.data.join("run/instances/e-1-0");
    fs::create_dir_all(&run).expect("made");
    let record = r#"{"boot":"another","block":1879113728,"port":8080,"stage":"start","address":"10.177.0.2","agent":{"pid":1,"started":0}}"#;
    fs::write(run.join("record.json"), record).expect("written");
    fs::write(run.join("layer.img"), "old").expect("written");
    assert_eq!(done(rig.sandbox.inspect(&spec.id).await).state, State::Absent);
    let later = rig.again();
    assert!(!run.exists());
    done(later.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_in_a_row_leave_nothing() {
    let Some(rig) = Rig::new() else { return };
    for _ in 0..20 {
        let spec = rig.script("e-1-0", "sleep 1000");
        done(rig.sandbox.ensure(&spec).await);
        removed(&rig.sandbox, &spec.id).await;
        assert_eq!(done(rig.sandbox.list().await), []);
        rig.nothing_left();
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_start_at_once() {
    let Some(rig) = Rig::new() else { return };
    let specs: Vec<_> = (0..6).map(|n| rig.python(&format!("e-{n}-0"))).collect();
    let all = futures_util::future::join_all(specs.iter().map(|spec| rig.sandbox.ensure(spec))).await;
    let mut addresses: Vec<_> = all.into_iter().map(|o| done(o).address.expect("an address")).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 6);
    for spec in &specs {
        rig.until_listening(&spec.id).await;
    }
    rig.close().await;
}
