//! What an app in a machine cannot reach, and what its emulator may not on the host.

use crate::rig::{Rig, done};
use std::{fs, net::TcpListener};
use teal_runtime::Runtime;

/// Tries to connect to each `address:port` of its arguments, and says which answered.
const KNOCK: &str = r#"
import socket, sys
for place in sys.argv[1:]:
    address, port = place.split(":")
    try:
        socket.create_connection((address, int(port)), timeout=3).close(); print("reached", place)
    except OSError: pass
print("knocked everywhere")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_host_no_neighbour_and_no_metadata_can_be_reached() {
    let Some(rig) = Rig::new() else { return };
    let (_, neighbour) = rig.serving("e-1-0").await;
    let host = TcpListener::bind("0.0.0.0:0").expect("port 0");
    let port = host.local_addr().expect("bound").port();
    let mut spec = rig.script("e-2-0", "");
    spec.egress = true;
    // The second machine's gateway is the first one's address and three.
    let gateway =
        rig.get(neighbour, "/").await.map(|_| neighbour.ip().to_string()).expect("the neighbour is well");
    let own: Vec<u8> = gateway.split('.').map(|part| part.parse().expect("a number")).collect();
    let gateway = format!("{}.{}.{}.{}", own[0], own[1], own[2], own[3] + 3);
    let first = format!("{}.{}.{}.{}", own[0], own[1], own[2], own[3] - 1);
    let places = format!("{gateway}:{port} {first}:{port} {neighbour} 169.254.169.254:80 192.168.0.1:80");
    spec.commands[0].script =
        format!("ip -4 -o addr show eth0 | grep -c inet; python3 -S -c '{KNOCK}' {places}");
    let (code, _, text) = rig.run(&spec).await;
    assert_eq!((code, text.as_str()), (0, "1\nknocked everywhere"));
    assert_eq!(
        rig.get(neighbour, "/").await.expect("an answer"),
        "hello from e-1-0/",
        "it was there all the time"
    );
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emulator_and_keeper_may_nothing_on_the_host() {
    let Some(rig) = Rig::new() else { return };
    let spec = rig.script("e-1-0", "exec sleep 1000");
    done(rig.vm.ensure(&spec).await);
    let emulator = rig.emulator(&spec.id);
    let all = rig.processes(&spec.id);
    assert_eq!(all.len(), 2, "{all:?}");
    let mut users = Vec::new();
    for pid in all.keys() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), ["0000000000000000"], "{set} of {}", all[pid]);
        }
        assert_eq!(field("NoNewPrivs:"), ["1"]);
        assert_eq!(field("Groups:"), Vec::<String>::new());
        let own = field("Uid:");
        assert!(own.iter().all(|id| *id == own[0]) && own[0] != "0", "{own:?}");
        users.push(own[0].clone());
        if *pid == emulator {
            assert_eq!(field("Seccomp:"), ["2"]);
        }
    }
    users.dedup();
    assert_eq!(users.len(), 2, "an emulator could end its keeper");
    // What it has open is what it was given: its disks, sockets, network and nothing of the server's.
    let opened = fs::read_dir(format!("/proc/{emulator}/fd")).expect("it runs").flatten();
    let names = opened.filter_map(|e| fs::read_link(e.path()).ok()).map(|p| p.to_string_lossy().into_owned());
    let data = rig.config.sandbox.data.to_string_lossy().into_owned();
    let foreign: Vec<_> = names
        .filter(|n| n.starts_with(&data) && !n.ends_with("/layer.img") && !n.contains("/cache/trees/"))
        .collect();
    assert_eq!(foreign, Vec::<String>::new());
    rig.close().await;
}
