//! Whether the processor executes machines is found out by a boot, once, and not by the look of a device file.

use crate::rig::{Rig, image};
use std::{fs, time::Instant};
use teal_runtime::vm::{Acceleration, Vm, prove};

#[tokio::test(flavor = "multi_thread")]
async fn kvm_is_tried_once_and_believed_only_then() {
    let Some(rig) = Rig::new() else { return };
    let data = rig.config.sandbox.data.clone();
    let started = Instant::now();
    let found = prove(&data, &image()).expect("it can be tried");
    eprintln!("figure: KVM works: {}, after {:?}: {}", found.works, started.elapsed(), found.detail);
    let mut config = rig.config.clone();
    config.acceleration = Acceleration::Kvm;
    match Vm::open(config.clone()) {
        Ok(vm) => assert!(found.works && vm.acceleration() == Acceleration::Kvm),
        Err(error) => assert!(!found.works && error.to_string().contains(&found.detail), "{error}"),
    }
    config.acceleration = Acceleration::Auto;
    let chosen = Vm::open(config).expect("emulated at least").acceleration();
    assert_eq!(chosen == Acceleration::Kvm, found.works);

    // Kept for the same boot, emulator and kernel, and for no other.
    let path = data.join("run/kvm/proof.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("kept")).expect("JSON");
    kept["detail"] = "remembered".into();
    fs::write(&path, kept.to_string()).expect("written");
    assert_eq!(prove(&data, &image()).expect("known").detail, "remembered");
    kept["key"] = "another kernel".into();
    fs::write(&path, kept.to_string()).expect("written");
    assert_ne!(prove(&data, &image()).expect("tried again").detail, "remembered");
    for process in fs::read_dir("/proc").expect("readable").flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        assert!(!line.contains("\0-name\0proof\0"), "the machine that tried it is left");
    }
    rig.close().await;
}
