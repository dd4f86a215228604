//! Sleep in memory and on disk: the clock is right after it, random numbers are new, and what is doubtful is refused.

use crate::rig::{Rig, done};
use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use teal_core::id::InstanceId;
use teal_runtime::{Outcome, Runtime, State};

/// How far the app's clock is from the host's, seen from both sides of its answer.
async fn assert_clock_is_right(rig: &Rig, address: SocketAddr) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let before = now();
    let time: f64 = rig.get(address, "/time").await.expect("an answer").parse().expect("a number");
    let after = now();
    assert!((before - 1.0..=after + 1.0).contains(&time), "the app says {time}, it was {before} to {after}");
}

/// Long enough that a clock that stood is seen to be wrong.
async fn while_the_clock_would_stand() {
    tokio::time::sleep(Duration::from_millis(2500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_in_memory_wakes_with_the_right_time() {
    let Some(rig) = Rig::new() else { return };
    let (id, address) = rig.serving("e-1-0").await;
    let random = rig.get(address, "/random").await.expect("an answer");
    done(rig.vm.sleep(&id).await);
    done(rig.vm.sleep(&id).await);
    assert_eq!(done(rig.vm.inspect(&id).await).state, State::Frozen);
    let used = |rig: &Rig| cpu_ticks(rig.emulator(&id));
    let before = used(&rig);
    while_the_clock_would_stand().await;
    assert!(used(&rig) <= before + 5, "a sleeper uses the processor");
    let started = Instant::now();
    let woken = done(rig.vm.wake(&id).await);
    eprintln!("figure: a wake from memory took {:?}", started.elapsed());
    assert_eq!(woken.address, Some(address));
    assert_clock_is_right(&rig, address).await;
    assert_ne!(rig.get(address, "/random").await.expect("an answer"), random);
    done(rig.vm.wake(&id).await);
    rig.close().await;
}

/// Puts it on disk and checks that nothing of it is left in memory.
async fn file(rig: &Rig, id: &InstanceId) {
    done(rig.vm.sleep(id).await);
    let started = Instant::now();
    done(rig.vm.save(id).await);
    let size = fs::metadata(rig.run_directory(id).join("memory.zst")).expect("there");
    eprintln!("figure: saving took {:?}, {} MiB", started.elapsed(), size.len() >> 20);
    assert_eq!(size.permissions().mode() & 0o777, 0o600);
    done(rig.vm.save(id).await);
    assert!(rig.processes(id).is_empty(), "{:?}", rig.processes(id));
    let look = done(rig.vm.inspect(id).await);
    assert_eq!((look.state, look.memory_bytes), (State::Frozen, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_on_disk_wakes_once_with_the_right_time_and_new_random_numbers() {
    let Some(rig) = Rig::new() else { return };
    let (id, address) = rig.serving("e-1-0").await;
    // The kernel takes new entropy by itself every few seconds: it has just done so, and is not about to when it wakes.
    rig.get(address, "/random").await.expect("an answer");
    file(&rig, &id).await;
    // The same memory twice, which no server would do: without fresh entropy both would say the same.
    let kept: Vec<_> = ["memory.zst", "memory.json", "record.json", "layer.img"]
        .map(|name| (name, fs::read(rig.run_directory(&id).join(name)).expect("there")))
        .into();
    let mut random = Vec::new();
    for _ in 0..2 {
        while_the_clock_would_stand().await;
        let later = rig.again();
        let started = Instant::now();
        assert_eq!(done(later.wake(&id).await).address, Some(address));
        eprintln!("figure: a wake from disk took {:?}", started.elapsed());
        random.push(rig.get(address, "/random").await.expect("an answer"));
        eprintln!("figure: first answer {:?} after the wake began", started.elapsed());
        assert_clock_is_right(&rig, address).await;
        assert!(!rig.run_directory(&id).join("memory.zst").exists(), "it was used, and is still there");
        rig.until_listening(&id).await;
        if random.len() == 1 {
            done(rig.vm.sleep(&id).await);
            done(rig.vm.save(&id).await);
            for (name, bytes) in &kept {
                let mut file = fs::File::create(rig.run_directory(&id).join(name)).expect("there");
                file.write_all(bytes).expect("written");
            }
        }
    }
    assert_ne!(random[0], random[1]);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_was_altered_by_one_bit_is_refused() {
    let Some(rig) = Rig::new() else { return };
    let (id, _) = rig.serving("e-1-0").await;
    file(&rig, &id).await;
    let path = rig.run_directory(&id).join("memory.zst");
    let bytes = fs::read(&path).expect("there");
    let mut memory = fs::OpenOptions::new().write(true).open(&path).expect("there");
    memory.seek(SeekFrom::Start(bytes.len() as u64 / 2)).expect("there");
    memory.write_all(&[bytes[bytes.len() / 2] ^ 1]).expect("written");
    let Outcome::Broke(failure) = rig.vm.wake(&id).await else { panic!("it went on") };
    assert!(failure.message.contains("start from its release"), "{failure}");
    assert!(
        rig.lines(&id).iter().any(|l| l.stage == "machine" && l.text == failure.message),
        "the log says so"
    );
    // Refused for good: nothing that could be tried again is left, and the release starts.
    assert!(!path.exists());
    done(rig.vm.remove(&id).await);
    let (_, address) = rig.serving("e-1-0").await;
    assert_eq!(rig.get(address, "/").await.expect("an answer"), "hello from e-1-0/");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_from_another_emulator_is_refused() {
    let Some(rig) = Rig::new() else { return };
    let (id, _) = rig.serving("e-1-0").await;
    file(&rig, &id).await;
    let path = rig.run_directory(&id).join("memory.json");
    let mut value: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    value["binding"] = "another".into();
    fs::write(&path, value.to_string()).expect("written");
    let Outcome::Broke(failure) = rig.vm.wake(&id).await else { panic!("it went on") };
    assert!(failure.message.contains("another emulator"), "{failure}");
    rig.close().await;
}

/// Processor time of a process, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}
