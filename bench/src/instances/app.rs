//! The app that is measured: Python's standard library, one process, which says when its first command runs.

use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use teal_runtime::{Command, Image, InstanceSpec, Limits, Tree};

/// What the first command writes.
pub(super) const FIRST: &str = "the first command runs";

const SERVER: &str = r#"
import os, socket
listener = socket.create_server(("0.0.0.0", int(os.environ["PORT"])))
while True:
    client, _ = listener.accept()
    with client:
        head = b""
        while b"\r\n\r\n" not in head:
            part = client.recv(65536)
            if not part: break
            head += part
        else:
            client.sendall(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")
"#;

/// Its release.
pub(super) fn seal(directory: &Path) -> Result<PathBuf> {
    let release = directory.join("release");
    fs::create_dir(&release).context("the release cannot be made")?;
    fs::write(release.join("server.py"), SERVER).context("the release cannot be written")?;
    Ok(release)
}

/// An instance of it.
pub(super) fn spec(id: &str, release: &Path, limit_mib: u64, image: Option<Image>) -> Result<InstanceSpec> {
    let script = format!("echo {FIRST}; exec python3 -S server.py");
    Ok(InstanceSpec {
        id: id.parse().map_err(|error| anyhow::anyhow!("{id}: {error}"))?,
        app: "bench".parse().map_err(|error| anyhow::anyhow!("bench: {error}"))?,
        image,
        tree: Tree::Sealed(release.to_owned()),
        commands: vec![Command { stage: "start".into(), script }],
        workers: Vec::new(),
        variables: BTreeMap::new(),
        port: Some(8080),
        tcp_port: None,
        limits: Limits { memory_mib: limit_mib, cpu_milli: 2000, pids: 64, disk_mib: 64 },
        mounts: Vec::new(),
        egress: false,
    })
}
