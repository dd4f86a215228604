//! The programs that are measured, configured as their own documentation advises for a proxy: kept connections to the upstream, no access
//! log, one worker. Their configurations are in `bench/peers`.

use crate::{Run, client::Trust, cpu};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The name under which the upstream itself is measured.
const DIRECT: &str = "direct";

/// A program that is up.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Where it serves TLS, if it does.
    pub(crate) tls: Option<SocketAddr>,
    pub(crate) trust: Trust,
    child: Child,
}

/// The domain of the app with this number.
pub(crate) fn domain(number: usize) -> String {
    format!("app{number}.bench.test")
}

impl Peer {
    /// Starts a program on the proxies' core and waits until it listens.
    pub(crate) fn start(
        name: &str,
        mut command: Command,
        (address, tls): (SocketAddr, Option<SocketAddr>),
        trust: &Trust,
        log: &Path,
    ) -> Result<Self> {
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
        let mut peer = Self { name: name.to_owned(), address, tls, trust: trust.clone(), child };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begin.elapsed() > Duration::from_secs(30) || peer.child.try_wait()?.is_some() {
                bail!("{name} does not listen: {}", fs::read_to_string(log.join(format!("{name}.log")))?);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// It is no proxy but the upstream itself: what the way through any proxy is compared with.
    pub(crate) fn is_direct(&self) -> bool {
        self.name == DIRECT
    }

    /// Its processes at present: some start more of them once they listen already.
    pub(crate) fn pids(&self) -> Vec<u32> {
        cpu::group(self.child.id())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for pid in self.pids() {
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

/// What every program is configured with.
pub(crate) struct Setting<'a> {
    pub(crate) apps: usize,
    /// Domains of each app.
    pub(crate) domains: usize,
    pub(crate) upstream: SocketAddr,
    pub(crate) trust: Trust,
    pub(crate) directory: &'a Path,
}

impl Setting<'_> {
    /// Every domain with the number of its app.
    fn each_domain(&self, line: impl Fn(&str, usize) -> String) -> String {
        let lines = (0..self.apps * self.domains).map(|n| line(&domain(n), n % self.apps) + "\n");
        lines.collect()
    }
}

/// All programs but those that are left out.
pub(crate) fn all(run: &Run, setting: &Setting<'_>) -> Result<Vec<Peer>> {
    let mut peers = vec![crate::switching::teal("teal", &run.teal, setting)?];
    if let Some(program) = &run.against {
        peers.push(crate::switching::teal("teal-before", program, setting)?);
    }
    type Make = fn(&Setting<'_>, SocketAddr, SocketAddr) -> Result<Command>;
    let others: [(&str, Make); 3] = [("nginx", nginx), ("haproxy", haproxy), ("caddy", caddy)];
    let wanted = |name: &str| !run.without.iter().any(|without| without == name);
    for (name, make) in others.into_iter().filter(|(name, _)| wanted(name)) {
        let (address, tls) = (free()?, free()?);
        let command = make(setting, address, tls)?;
        peers.push(Peer::start(name, command, (address, Some(tls)), &setting.trust, setting.directory)?);
    }
    if wanted("bare") {
        let address = free()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", &address.to_string(), &setting.upstream.to_string()]);
        peers.push(Peer::start("bare", command, (address, None), &setting.trust, setting.directory)?);
    }
    if wanted(DIRECT) {
        let address = free()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["upstream", &address.to_string()]);
        peers.push(Peer::start(DIRECT, command, (address, None), &setting.trust, setting.directory)?);
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

fn nginx(setting: &Setting<'_>, listen: SocketAddr, tls: SocketAddr) -> Result<Command> {
    let home = setting.directory.join("nginx");
    fs::create_dir_all(&home)?;
    let values = [
        ("listen", listen.to_string()),
        ("tls", tls.to_string()),
        ("home", home.display().to_string()),
        ("chain", setting.trust.files.chain.display().to_string()),
        ("key", setting.trust.files.key.display().to_string()),
        ("map", setting.each_domain(|domain, app| format!("        {domain} u{app};"))),
        (
            "upstreams",
            each(setting.apps, |n| {
                format!("    upstream u{n} {{ server {}; keepalive 64; }}", setting.upstream)
            }),
        ),
    ];
    let values = values.each_ref().map(|(key, value)| (*key, value.as_str()));
    let path = write(setting.directory, "nginx.conf", include_str!("../peers/nginx.conf"), &values)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(path);
    Ok(command)
}

fn haproxy(setting: &Setting<'_>, listen: SocketAddr, tls: SocketAddr) -> Result<Command> {
    let map = setting.directory.join("haproxy.map");
    fs::write(&map, setting.each_domain(|domain, app| format!("{domain} b{app}")))?;
    let backend = |n| format!("backend b{n}\n    server s {}", setting.upstream);
    let values = [
        ("listen", listen.to_string()),
        ("tls", tls.to_string()),
        ("pem", setting.trust.files.both.display().to_string()),
        ("map", map.display().to_string()),
        ("backends", each(setting.apps, backend)),
    ];
    let values = values.each_ref().map(|(key, value)| (*key, value.as_str()));
    let path = write(setting.directory, "haproxy.cfg", include_str!("../peers/haproxy.cfg"), &values)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

fn caddy(setting: &Setting<'_>, listen: SocketAddr, tls: SocketAddr) -> Result<Command> {
    // One matcher for all hosts: a site block each would be searched one after another.
    let all = setting.apps * setting.domains;
    let hosts: Vec<String> = (0..all).map(|number| format!("\"{}\"", domain(number))).collect();
    let values = [
        ("listen", listen.to_string()),
        ("tls", tls.to_string()),
        ("chain", setting.trust.files.chain.display().to_string()),
        ("key", setting.trust.files.key.display().to_string()),
        ("upstream", setting.upstream.to_string()),
        ("hosts", hosts.join(",")),
    ];
    let values = values.each_ref().map(|(key, value)| (*key, value.as_str()));
    let path = write(setting.directory, "caddy.json", include_str!("../peers/caddy.json"), &values)?;
    let mut command = Command::new("/usr/bin/caddy");
    command.arg("run").arg("--config").arg(path).env("GOMAXPROCS", "1").env("HOME", setting.directory);
    Ok(command)
}
