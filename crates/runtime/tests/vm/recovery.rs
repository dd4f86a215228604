//! Servers die, starts break off, emulators are killed: what is there is found again, and what is half there is made whole or removed.

use crate::rig::{PATIENCE, Rig, done};
use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
};
use teal_runtime::{Outcome, Runtime, State};

#[tokio::test(flavor = "multi_thread")]
async fn a_later_server_finds_what_an_earlier_one_started() {
    let Some(rig) = Rig::new() else { return };
    let (id, address) = rig.serving("e-1-0").await;
    let before = rig.processes(&id);
    let later = rig.again();
    assert_eq!(done(later.list().await), std::slice::from_ref(&id));
    assert_eq!(done(later.inspect(&id).await).address, Some(address));
    assert_eq!(done(later.ensure(&rig.python("e-1-0")).await).address, Some(address));
    assert_eq!(rig.processes(&id), before, "nothing was started anew");
    // Asleep with the one, awake with the other.
    done(rig.vm.sleep(&id).await);
    assert_eq!(done(later.inspect(&id).await).state, State::Frozen);
    done(later.wake(&id).await);
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_broke_off_is_done_again() {
    let Some(rig) = Rig::new() else { return };
    let (id, _) = rig.serving("e-1-0").await;
    let before = rig.processes(&id);
    // As if the server had died just before it noted the keeper: everything is there, and nobody knows it.
    let record = rig.run_directory(&id).join("record.json");
    let mut value: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&record).expect("there")).expect("JSON");
    value["keeper"] = serde_json::Value::Null;
    fs::write(&record, value.to_string()).expect("written");
    let later = rig.again();
    assert_eq!(done(later.list().await), std::slice::from_ref(&id));
    assert_eq!(done(later.inspect(&id).await).state, State::Absent);
    let address = done(later.ensure(&rig.python("e-1-0")).await).address.expect("an address");
    rig.until_listening(&id).await;
    assert!(rig.processes(&id).keys().all(|pid| !before.contains_key(pid)), "the old processes are gone");
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_broke_off_leaves_nothing_to_count_on() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    // Its server ends when it is told to, and the app as a whole lingers on.
    spec.commands[0].script =
        "trap 'echo told to stop' TERM; python3 -S server.py & while :; do sleep 1; done".into();
    done(rig.vm.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    let before = rig.processes(&spec.id);
    let (runtime, id) = (rig.vm.clone(), spec.id.clone());
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
    assert!(
        rig.processes(&spec.id).keys().all(|pid| !before.contains_key(pid)),
        "the old processes are gone"
    );
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_emulator_or_keeper_is_an_exit_and_starts_again() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let kill = |pid: u32| {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    };
    let address = done(rig.vm.ensure(&spec).await).address.expect("an address");
    rig.until_listening(&spec.id).await;
    let mut open = TcpStream::connect_timeout(&address, PATIENCE).expect("connects");
    kill(rig.emulator(&spec.id));
    let State::Exited(exit) = rig.until(&spec.id, |s| matches!(s, State::Exited(_))).await else {
        unreachable!()
    };
    assert_eq!((exit.stage.as_str(), exit.code, exit.out_of_memory), ("start", 137, false));
    let told =
        rig.lines(&spec.id).into_iter().any(|l| l.stage == "machine" && l.text.contains("ended by SIGKILL"));
    assert!(told, "{:?}", rig.lines(&spec.id));
    // Its kernel cannot say that it is gone: the host does, and lets nothing that is for it out.
    let refused = TcpStream::connect_timeout(&address, PATIENCE).expect_err("nobody listens").kind();
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    open.set_read_timeout(Some(PATIENCE)).expect("set");
    open.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the kernel takes it");
    assert_eq!(open.read(&mut [0]).expect_err("nobody is there").kind(), ErrorKind::ConnectionReset);

    done(rig.vm.ensure(&spec).await);
    rig.until_listening(&spec.id).await;
    let emulator = rig.emulator(&spec.id);
    kill(*rig.processes(&spec.id).keys().find(|pid| **pid != emulator).expect("a keeper"));
    rig.until(&spec.id, |s| matches!(s, State::Exited(_))).await;
    done(rig.vm.remove(&spec.id).await);
    rig.nothing_left();
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_boot_left_is_absent_and_goes() {
    let Some(rig) = Rig::new() else { return };
    let id = "e-1-0".parse().expect("an id");
    let run = rig.run_directory(&id);
    fs::create_dir_all(&run).expect("made");
    let record = r#"{"boot":"another","user":1877999618,"port":8080,"tcp_port":null,"stage":"start","egress":false,
        "image":{"version":"v","directory":"/v"},"tree":"/t","further":[],"host_limits":[1,1],"shape":null,"keeper":{"pid":1,"started":0},"asleep":null}"#;
    fs::write(run.join("record.json"), record).expect("written");
    fs::write(run.join("layer.img"), "old").expect("written");
    assert_eq!(done(rig.vm.inspect(&id).await).state, State::Absent);
    let _later = rig.again();
    assert!(!run.exists());
    rig.close().await;
}
