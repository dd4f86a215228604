//! Apps that speak no HTTP, pushed like every other one: a public TCP port, and TLS that the app ends itself.

use crate::{app, push_files, quick, until_status};
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};
use teal_e2e::{Host, Options, sealed_app, stream_app, until};

/// A port that nobody has at present.
fn free() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A stream of the app's, and what it said first.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(port: u16) -> Result<(Self, String)> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut stream = Self(BufReader::new(stream));
        let version = stream.line()?;
        Ok((stream, version))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the stream ended");
        Ok(line.trim_end().to_owned())
    }

    fn say(&mut self, text: &str) -> Result<String> {
        writeln!(self.0.get_mut(), "{text}")?;
        self.line()
    }
}

#[test]
fn a_stream_lives_through_the_switch_of_its_tcp_port() -> Result<()> {
    let port = free()?;
    let host =
        Host::start(&Options { config: format!("tcp_ports = \"{port}-{port}\""), ..Options::default() })?;
    let mut config = quick();
    (config["tcp_port"], config["health"]) = (json!("auto"), json!("tcp"));
    let repository = app(&host, "broker", config)?;
    let deploy = |version: &str| {
        let pushed = push_files(&repository, version, &stream_app(version))?;
        ensure!(pushed.ok, "{version} did not go live:\n{}", pushed.output);
        Ok(pushed)
    };
    let pushed = deploy("one")?;
    assert!(!pushed.output.contains("Response from GET"), "nothing is asked by HTTP:\n{}", pushed.output);
    let status = host.api().status("broker")?;
    assert!(status.tcp.as_deref().is_some_and(|tcp| tcp.ends_with(&format!(":{port}"))), "{:?}", status.tcp);
    assert_eq!(status.warnings.iter().find(|warning| warning.contains("TCP port")), None);

    let (mut old, version) = Stream::open(port)?;
    assert_eq!((version.as_str(), old.say("a")?.as_str()), ("one", "one a"));
    deploy("two")?;
    let (mut new, version) = Stream::open(port)?;
    assert_eq!((version.as_str(), new.say("b")?.as_str()), ("two", "two b"));
    let draining = until_status(&host, "broker", "the old version waits for its stream", |s| {
        s.spare.as_ref().is_some_and(|spare| spare.state == "draining")
    })?;
    assert_eq!(draining.spare.context("a spare")?.commit.message, "one");
    assert_eq!(old.say("c")?, "one c", "the switch and the drain leave it alone");

    drop(old);
    until_status(&host, "broker", "the old version sleeps without it", |s| {
        s.spare.as_ref().is_some_and(|spare| spare.state == "asleep")
    })?;
    assert_eq!(new.say("d")?, "two d");
    Ok(())
}

#[test]
fn an_app_speaks_http_on_one_port_and_something_else_on_another() -> Result<()> {
    let port = free()?;
    let host =
        Host::start(&Options { config: format!("tcp_ports = \"{port}-{port}\""), ..Options::default() })?;
    let mut config = quick();
    (config["tcp_port"], config["tcp_instance_port"]) = (json!("auto"), json!(5432));
    let repository = app(&host, "broker", config)?;
    for version in ["one", "two"] {
        let pushed = push_files(&repository, version, &stream_app(version))?;
        ensure!(pushed.ok, "{version} did not go live:\n{}", pushed.output);
        for line in ["Response from GET / is 200", "0.0.0.0:5432 accepts connections"] {
            assert!(pushed.output.contains(line), "no `{line}` in:\n{}", pushed.output);
        }
        assert_eq!(host.ask("broker.localhost", "/", &[])?.version(), version);
        assert_eq!(Stream::open(port)?.1, version);
    }
    Ok(())
}

#[test]
fn tls_is_passed_on_by_the_name_in_the_handshake() -> Result<()> {
    let host = Host::start(&Options { secure: true, ..Options::default() })?;
    let mut config = quick();
    (config["tls_passthrough"], config["health"]) = (json!(true), json!("tcp"));
    let repository = app(&host, "vault", config)?;
    let name = "vault.localhost";
    for version in ["one", "two"] {
        let (files, chain) = sealed_app(version, name)?;
        let pushed = push_files(&repository, version, &files)?;
        ensure!(pushed.ok, "{version} did not go live:\n{}", pushed.output);
        until("the app's own certificate is shown", || {
            chain.starts_with(&host.certificate_of(name).ok()?.bytes).then_some(())
        })?;
        assert_eq!(sealed(&host, name)?, version);
    }
    let (address, own) = host.https().context("speaks TLS")?;
    let tls = host.api().status("vault")?.tls;
    assert_eq!(tls, Some(format!("tls://{name}:{}", address.port())));
    let own = std::fs::read_to_string(own)?;
    assert!(own.starts_with(&host.certificate_of("shop.localhost")?.bytes), "others are the router's");
    assert_eq!(host.ask(name, "/", &[])?.status, 308);
    Ok(())
}

/// What the app says over its own TLS.
fn sealed(host: &Host, name: &str) -> Result<String> {
    let (address, _) = host.https().context("speaks TLS")?;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &address.to_string(), "-servername", name]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut said = BufReader::new(child.stdout.take().context("its output")?);
    let mut line = String::new();
    let read = said.read_line(&mut line);
    // It ends with the connection, which the app keeps open.
    child.kill()?;
    child.wait()?;
    read?;
    Ok(line.trim_end().to_owned())
}
