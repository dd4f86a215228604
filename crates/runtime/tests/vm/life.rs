//! From start to end: what an instance does is seen, and each call does what it says.

use crate::rig::{PATIENCE, Rig, done};
use std::{fs, time::Instant};
use teal_runtime::{Command, Mount, Outcome, Runtime, State, Tree};

#[tokio::test(flavor = "multi_thread")]
async fn a_python_app_serves_and_is_stopped_gently() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.python("e-1-0");
    let started = Instant::now();
    let address = done(rig.vm.ensure(&spec).await).address.expect("an app has an address");
    eprintln!("figure: ensure of an emulated machine took {:?}", started.elapsed());
    let state =
        rig.until(&spec.id, |s| matches!(s, State::Running { listening } if !listening.is_empty())).await;
    eprintln!("figure: python listened after {:?}", started.elapsed());
    assert_eq!(state, State::Running { listening: vec!["0.0.0.0:8080".parse().expect("address")] });
    assert_eq!(rig.get(address, "/x").await.expect("an answer"), "hello from e-1-0/x");
    eprintln!("figure: first answer after {:?}", started.elapsed());
    let memory = done(rig.vm.inspect(&spec.id).await).memory_bytes;
    eprintln!("figure: an idle machine holds {} MiB", memory.unwrap_or(0) >> 20);
    assert_eq!(rig.get(address, "/log").await.expect("an answer"), "logged");
    rig.until_line(&spec.id, "logged").await;
    done(rig.vm.stop(&spec.id, PATIENCE).await);
    assert!(rig.lines(&spec.id).iter().any(|l| l.text == "asked to stop"), "{:?}", rig.lines(&spec.id));
    assert_eq!(done(rig.vm.inspect(&spec.id).await).state, State::Absent);
    rig.nothing_left();
    done(rig.vm.forget(&spec.id).await);
    assert!(!rig.vm.log(&spec.id).exists());
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_sees_is_what_a_sandbox_shows() {
    let Some(rig) = Rig::new() else { return };
    let script = r#"
id -u; pwd; cat hello.txt; echo; cat /etc/hostname; echo "$SECRET"
grep -E '^(NoNewPrivs|CapEff|CapPrm)' /proc/self/status
echo more >> hello.txt && tail -c 5 hello.txt
touch /usr/x /etc/x / 2>/dev/null && echo "the system can be written to"
touch /tmp/x /dev/shm/x /var/tmp/x && echo "places to write"
ls -A /sys; ls -d /base /layer 2>/dev/null; ls /dev | grep -E '^v(d|port)'
cat /proc/cmdline 2>/dev/null | grep -c "$SECRET"
dd if=/dev/zero of=/app/full bs=1M count=100 2>&1 | grep -o 'No space left on device'
echo gone >&2; exit 7"#;
    let mut spec = rig.script("e-1-0", script);
    spec.commands.insert(0, Command { stage: "prepare".into(), script: "echo prepared".into() });
    spec.variables.insert("SECRET".into(), "swordfish".into());
    let (code, out_of_memory, text) = rig.run(&spec).await;
    let expected = "prepared\n1000\n/app\nsealed\ne-1-0\nswordfish\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n\
                    more\nplaces to write\n0\nNo space left on device\ngone";
    assert_eq!(text, expected);
    assert_eq!((code, out_of_memory), (7, false));
    let error = rig.lines(&spec.id).into_iter().find(|l| l.text == "gone").expect("there");
    assert_eq!((error.stage.as_str(), error.error), ("start", true));
    for pid in rig.processes(&spec.id).keys() {
        let shown = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("there");
        assert!(!shown.contains("swordfish"), "a secret shows in a list of processes");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_uses_too_much_memory_is_ended_and_told_so() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig
        .script("e-1-0", "exec python3 -S -c 'x = [bytearray(8 << 20) for _ in range(64)]; print(len(x))'");
    let (code, out_of_memory, text) = rig.run(&spec).await;
    assert_eq!((code, out_of_memory, text.as_str()), (137, true, ""));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_run_when_told_and_builds_run_in_a_sandbox() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.script("e-1-0", "echo up; exec sleep 1000");
    spec.workers = vec!["echo working; exec sleep 1000".into()];
    done(rig.vm.ensure(&spec).await);
    rig.until_line(&spec.id, "up").await;
    assert!(!rig.lines(&spec.id).iter().any(|l| l.text == "working"));
    done(rig.vm.singletons(&spec.id, true).await);
    rig.until_line(&spec.id, "working").await;
    done(rig.vm.singletons(&spec.id, false).await);

    let mut build = rig.script("b-1", "echo built > result");
    let tree = rig.release(&[]);
    build.tree = Tree::Working(tree.clone());
    build.port = None;
    let (code, _, _) = rig.run(&build).await;
    assert_eq!((code, fs::read_to_string(tree.join("result")).expect("built").as_str()), (0, "built\n"));
    assert_eq!(done(rig.vm.list().await), [build.id.clone(), spec.id.clone()]);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_machine_can_run_is_refused_in_words() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.python("e-1-0");
    let mut elsewhere = rig.config.image.clone().expect("an image");
    elsewhere.directory = "/nowhere/at/all".into();
    spec.image = Some(elsewhere);
    let Outcome::Broke(failure) = rig.vm.ensure(&spec).await else { panic!("it started from nothing") };
    assert!(failure.message.contains("build it again"), "{failure}");
    rig.nothing_left();
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn further_directories_can_be_read_and_not_written_to() {
    let Some(rig) = Rig::new() else { return };
    let mut spec =
        rig.script("e-1-0", "cat /opt/tools/tool; touch /opt/tools/x 2>/dev/null || echo read-only");
    let source = rig.release(&[("tool", "a tool\n")]);
    spec.mounts = vec![Mount { source, target: "/opt/tools".into(), writable: false }];
    let (code, _, text) = rig.run(&spec).await;
    assert_eq!((code, text.as_str()), (0, "a tool\nread-only"));
    spec.id = "e-2-0".parse().expect("an id");
    spec.mounts[0].writable = true;
    let Outcome::Broke(failure) = rig.vm.ensure(&spec).await else { panic!("it was shared") };
    assert!(failure.message.contains("/opt/tools"), "{failure}");
    rig.close().await;
}
