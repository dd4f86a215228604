//! Teal's router as the bench starts it, and a server's end of its control socket: the table, and a switch of one app as often as wanted.

use crate::{
    client::NAMES,
    peers::{Peer, Setting, domain, free},
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use teal_core::{
    certificate::{Certificate, PrivateKey},
    control::{self, Reply, Request},
    id::AppId,
    route::{AppRoute, Backend, Colour, Table, Target},
};

/// The server's end.
pub(crate) struct Control {
    stream: UnixStream,
    generation: u64,
}

/// Starts a router with so many apps.
pub(crate) fn teal(name: &str, program: &Path, setting: &Setting<'_>) -> Result<Peer> {
    let Setting { directory, trust, .. } = setting;
    let home = directory.join(name);
    fs::create_dir_all(&home)?;
    let (address, tls) = (free()?, free()?);
    let config = home.join("server.toml");
    fs::write(
        &config,
        format!("data = {home:?}\nrouter_http = [\"{address}\"]\nrouter_https = [\"{tls}\"]\n"),
    )?;
    let program = program.canonicalize().with_context(|| format!("{} is not there", program.display()))?;
    let mut command = Command::new(program);
    command.arg("router").arg("--config").arg(config).env("TEAL_LOG", "warn");
    let peer = Peer::start(name, command, (address, Some(tls)), trust, directory)?;
    let mut control = Control::connect(&socket(directory, name))?;
    let routes =
        (0..setting.apps).map(|number| Ok((id(number)?, route(number, setting, (0, setting.upstream))?)));
    let table = Table { generation: control.generation + 1, apps: routes.collect::<Result<_>>()? };
    control.acknowledged(&Request::Replace { table })?;
    let names = vec![NAMES.to_owned()];
    let certificate =
        Certificate { names, chain: trust.chain.clone(), key: PrivateKey::new(trust.key.clone()) };
    let request = Request::Certificates { certificates: vec![certificate], proofs: Vec::new() };
    control.acknowledged(&request)?;
    Ok(peer)
}

/// The control socket of the router with this name.
pub(crate) fn socket(directory: &Path, name: &str) -> PathBuf {
    directory.join(name).join("router.sock")
}

impl Control {
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        let begin = Instant::now();
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if begin.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut control = Self { stream, generation: 0 };
        match control.ask(&Request::Hello { version: control::VERSION, requires: Vec::new() })? {
            Reply::Hello { generation, .. } => control.generation = generation,
            other => bail!("the router answers {other:?}"),
        }
        Ok(control)
    }

    /// Sends the first app's traffic to its next version, which is there; how long it took until every worker used it, durably.
    pub(crate) fn switch_to(
        &mut self,
        setting: &Setting<'_>,
        version: u64,
        upstream: SocketAddr,
    ) -> Result<Duration> {
        let apps = BTreeMap::from([(id(0)?, Some(route(0, setting, (version, upstream))?))]);
        let begin = Instant::now();
        let (base_generation, generation) = (self.generation, self.generation + 1);
        self.acknowledged(&Request::Change { base_generation, generation, apps })?;
        Ok(begin.elapsed())
    }

    fn acknowledged(&mut self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Reply::Acknowledged { generation } => self.generation = generation,
            other => bail!("the router answers {other:?}"),
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        let mut frame = Vec::new();
        control::encode(request, &mut frame)?;
        self.stream.write_all(&frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; control::frame_length(length)?];
        self.stream.read_exact(&mut body)?;
        Ok(control::decode(&body)?)
    }
}

fn id(number: usize) -> Result<AppId> {
    format!("app-{number}").parse().map_err(|_| anyhow::anyhow!("app-{number} is no id"))
}

fn route(number: usize, setting: &Setting<'_>, (version, address): (u64, SocketAddr)) -> Result<AppRoute> {
    let text = |what: &str| anyhow::anyhow!("{what} is no id");
    let environment = format!("e-{number}v{version}").parse().map_err(|_| text("environment"))?;
    let instance = format!("e-{number}v{version}-0").parse().map_err(|_| text("instance"))?;
    let colour = if version % 2 == 0 { Colour::Blue } else { Colour::Green };
    Ok(AppRoute {
        name: format!("app{number}"),
        domains: (0..setting.domains).map(|turn| domain(number + turn * setting.apps)).collect(),
        live: Some(Target { environment, colour, instances: vec![Backend { instance, address, tcp: None }] }),
        ..AppRoute::default()
    })
}
