//! The programs that are measured, configured as their own documentation advises for a proxy: kept connections to the upstream, no access
//! log, one worker. Their configurations are in `bench/peers`.

use crate::{Run, cpu};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A program that is up.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) pids: Vec<u32>,
    child: Child,
}

/// The domain of the app with this number.
pub(crate) fn domain(number: usize) -> String {
    format!("app{number}.bench.test")
}

impl Peer {
    /// Starts a program on the proxies' core and waits until it listens.
    pub(crate) fn start(name: &str, mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let environment: Vec<_> =
            command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        cpu::pin(&mut command, cpu::PROXIES)?;
        for (key, value) in environment {
            command.env(key, value.unwrap_or_default());
        }
        let output = fs::File::create(log.join(format!("{name}.log")))?;
        let errors = output.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = child.with_context(|| format!("{name} does not start"))?;
        let mut peer = Self { name: name.to_owned(), address, pids: Vec::new(), child };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begin.elapsed() > Duration::from_secs(30) || peer.child.try_wait()?.is_some() {
                bail!("{name} does not listen: {}", fs::read_to_string(log.join(format!("{name}.log")))?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        peer.pids = cpu::group(peer.child.id());
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for pid in cpu::group(self.child.id()) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid.cast_signed()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _ = self.child.wait();
    }
}

/// A port that nobody has at present.
pub(crate) fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// All programs but those that are left out.
pub(crate) fn all(run: &Run, upstream: SocketAddr, directory: &Path) -> Result<Vec<Peer>> {
    let mut peers = vec![crate::switching::teal("teal", &run.teal, run.apps, upstream, directory)?];
    if let Some(program) = &run.against {
        peers.push(crate::switching::teal("teal-before", program, run.apps, upstream, directory)?);
    }
    type Make = fn(usize, SocketAddr, SocketAddr, &Path) -> Result<Command>;
    let others: [(&str, Make); 4] =
        [("nginx", nginx), ("haproxy", haproxy), ("caddy", caddy), ("bare", bare)];
    for (name, make) in
        others.into_iter().filter(|(name, _)| !run.without.iter().any(|without| without == name))
    {
        let address = free()?;
        peers.push(Peer::start(name, make(run.apps, address, upstream, directory)?, address, directory)?);
    }
    Ok(peers)
}

/// Fills a configuration's template and writes it.
fn write(
    directory: &Path,
    name: &str,
    template: &str,
    values: &[(&str, &str)],
) -> Result<std::path::PathBuf> {
    let text = values
        .iter()
        .fold(template.to_owned(), |text, (key, value)| text.replace(&format!("@{key}@"), value));
    let path = directory.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

fn each(apps: usize, line: impl Fn(usize) -> String) -> String {
    (0..apps).map(|number| line(number) + "\n").collect()
}

fn nginx(apps: usize, listen: SocketAddr, upstream: SocketAddr, directory: &Path) -> Result<Command> {
    let map = each(apps, |n| format!("        {} u{n};", domain(n)));
    let upstreams = each(apps, |n| format!("    upstream u{n} {{ server {upstream}; keepalive 64; }}"));
    let home = directory.join("nginx");
    fs::create_dir_all(&home)?;
    let values = [
        ("listen", listen.to_string()),
        ("home", home.display().to_string()),
        ("map", map),
        ("upstreams", upstreams),
    ];
    let values = values.each_ref().map(|(key, value)| (*key, value.as_str()));
    let path = write(directory, "nginx.conf", include_str!("../peers/nginx.conf"), &values)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(path);
    Ok(command)
}

fn haproxy(apps: usize, listen: SocketAddr, upstream: SocketAddr, directory: &Path) -> Result<Command> {
    let map = each(apps, |n| format!("{} b{n}", domain(n)));
    fs::write(directory.join("haproxy.map"), map)?;
    let backends = each(apps, |n| {
        format!(
            "backend b{n}
    server s {upstream}"
        )
    });
    let (listen, map) = (listen.to_string(), directory.join("haproxy.map").display().to_string());
    let values = [("listen", listen.as_str()), ("map", &map), ("backends", &backends)];
    let path = write(directory, "haproxy.cfg", include_str!("../peers/haproxy.cfg"), &values)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

fn caddy(apps: usize, listen: SocketAddr, upstream: SocketAddr, directory: &Path) -> Result<Command> {
    // One matcher for all hosts: a site block each would be searched one after another.
    let hosts: Vec<String> = (0..apps).map(|number| format!("\"{}\"", domain(number))).collect();
    let (listen, upstream, hosts) = (listen.to_string(), upstream.to_string(), hosts.join(","));
    let values = [("listen", listen.as_str()), ("upstream", &upstream), ("hosts", &hosts)];
    let path = write(directory, "caddy.json", include_str!("../peers/caddy.json"), &values)?;
    let mut command = Command::new("/usr/bin/caddy");
    command.arg("run").arg("--config").arg(path).env("GOMAXPROCS", "1").env("HOME", directory);
    Ok(command)
}

fn bare(_: usize, listen: SocketAddr, upstream: SocketAddr, _: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", &listen.to_string(), &upstream.to_string()]);
    Ok(command)
}
