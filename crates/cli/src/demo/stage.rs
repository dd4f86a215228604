//! The demo's Teal: a temporary directory, a configuration, the router and the server as processes of this very binary.

use super::{
    app,
    footprint::Footprint,
    interrupt::{surely, until},
    mailbox::Mailbox,
    net,
    show::Show,
};
use crate::{
    client::Client,
    credentials::Credentials,
    error::{Error, Kind, Result},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// The app's name.
pub(super) const APP: &str = "hello";
/// How long a process may take to serve.
const START: Duration = Duration::from_secs(30);
/// How long everything of a deleted app may take to go.
const GONE: Duration = Duration::from_secs(60);

/// Everything that the demo has made.
pub(super) struct Stage {
    directory: Option<TempDir>,
    path: PathBuf,
    kind: app::Kind,
    /// Where the router listens.
    pub(super) edge: SocketAddr,
    api: SocketAddr,
    router: Option<Child>,
    server: Option<Child>,
    client: Option<Client>,
    /// The mail server.
    pub(super) mailbox: Mailbox,
    /// By what its things are known.
    pub(super) footprint: Footprint,
}

impl Stage {
    /// Makes the directory and the configuration. Nothing runs yet but the mail server.
    pub(super) fn prepare(runtime: &str, app: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("teal-demo-").tempdir();
        let directory = directory.map_err(|e| Error::because("no temporary directory can be made", e))?;
        let path = directory.path().to_owned();
        let ports = net::free_ports(3)?;
        let (pool, mailbox) = (net::free_pool()?, Mailbox::start()?);
        let [api, edge, ssh] = ports[..] else { return Err(Error::new(Kind::Other, "no free ports")) };
        let data = path.join("data");
        let text = configuration(&data, [api, edge, ssh], &pool.cidr(), runtime, mailbox.address());
        fs::write(path.join("server.toml"), text)
            .map_err(|e| Error::because("the configuration cannot be written", e))?;
        let footprint = Footprint { data, pool, names: Vec::new() };
        let directory = Some(directory);
        Ok(Self {
            kind: app::Kind::of(app),
            directory,
            path,
            edge,
            api,
            router: None,
            server: None,
            client: None,
            mailbox,
            footprint,
        })
    }

    /// Starts the router and waits until it serves.
    pub(super) fn start_router(&mut self) -> Result<u32> {
        let ready = self.path.join("router.ready");
        let child = self.spawn("router", &["--supervise", "--ready", &ready.to_string_lossy()])?;
        let pid = child.id();
        self.router = Some(child);
        until("the router serves", START, || {
            ended("router", self.router.as_mut())?;
            Ok(ready.exists().then_some(()))
        })?;
        Ok(pid)
    }

    /// Starts the server and waits until it serves.
    pub(super) fn start_server(&mut self) -> Result<u32> {
        let child = self.spawn("server", &[])?;
        let pid = child.id();
        self.server = Some(child);
        let token = self.token();
        let url = self.console();
        let client = surely("the server serves", START, || {
            ended("server", self.server.as_mut())?;
            let Ok(secret) = fs::read_to_string(&token) else { return Ok(None) };
            let client = Client::new(Credentials { url: url.clone(), token: secret.trim().to_owned() });
            match client.apps() {
                Ok(_) => Ok(Some(client)),
                Err(error) if error.kind == Kind::Refused => Err(error),
                Err(_) => Ok(None),
            }
        })?;
        self.client = Some(client);
        Ok(pid)
    }

    /// Kills the server as a crash would: SIGKILL.
    pub(super) fn kill_server(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        server
            .kill()
            .and_then(|()| server.wait())
            .map(drop)
            .map_err(|e| Error::because("the server cannot be killed", e))
    }

    /// The API.
    pub(super) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| Error::new(Kind::Other, "the server was never started"))
    }

    /// The directory of everything.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The console's address.
    pub(super) fn console(&self) -> String {
        format!("http://{}", self.api)
    }

    /// The file with the administrator's token.
    pub(super) fn token(&self) -> PathBuf {
        self.footprint.data.join("admin.token")
    }

    /// How instances run, as the server says.
    pub(super) fn runtime(&self) -> String {
        let facts = fs::read(self.footprint.data.join("server.json")).unwrap_or_default();
        let facts: Option<teal_server::Facts> = serde_json::from_slice(&facts).ok();
        facts.map(|facts| facts.runtime).unwrap_or_default()
    }

    /// Processes of server and router.
    pub(super) fn pids(&self) -> (Option<u32>, Option<u32>) {
        (self.server.as_ref().map(Child::id), self.router.as_ref().map(Child::id))
    }

    /// Deletes the app and waits until nothing of it is left; what is, if it stays too long.
    pub(super) fn delete_app(&mut self) -> Result<Vec<String>> {
        let client = self.client()?.clone();
        client.delete_app(APP)?;
        surely("the app is deleted", GONE, || Ok(client.apps()?.is_empty().then_some(())))?;
        let nothing = surely("nothing is left", GONE, || Ok(self.footprint.find().is_empty().then_some(())));
        match nothing {
            Ok(()) => Ok(Vec::new()),
            Err(_) => Ok(self.footprint.find()),
        }
    }

    /// After a failure: deletes the app as well as it can, so that nothing stays on the host, then ends the processes.
    pub(super) fn clear(&mut self) {
        let away =
            self.server.as_mut().is_none_or(|server| server.try_wait().is_ok_and(|status| status.is_some()));
        if away && self.client.is_some() {
            let _ = self.start_server();
        }
        let _ = self.delete_app();
        self.end();
    }

    /// Ends server and router.
    pub(super) fn end(&mut self) {
        for child in [self.server.take(), self.router.take()].into_iter().flatten() {
            end(child);
        }
    }

    /// Leaves everything up, and says how to reach and how to end it.
    pub(super) fn keep(&mut self, show: &Show) -> Result<()> {
        if let Some(directory) = self.directory.take() {
            self.path = directory.keep();
        }
        let (server, router) = self.pids();
        let pids =
            [server, router].into_iter().flatten().map(|pid| pid.to_string()).collect::<Vec<_>>().join(" ");
        (self.server, self.router) = (None, None);
        let url = self.console();
        show.chapter("Everything stays up");
        show.step(format!("console    {url}"));
        show.step(format!("token      {} (mode 0600)", self.token().display()));
        show.step(format!(
            "the app    curl -H 'Host: {APP}.localhost' http://{}/   or http://{APP}.localhost:{}/",
            self.edge,
            self.edge.port()
        ));
        show.step(format!("commands   teal login {url} --token-file {}", self.token().display()));
        show.step(format!(
            "to end it  teal apps delete {APP} --yes; kill {pids}; rm -r {}",
            self.path.display()
        ));
        Ok(())
    }

    /// The last lines of both logs.
    pub(super) fn logs(&self) -> Vec<(&'static str, Vec<String>)> {
        let last = |name: &str| {
            let text = fs::read(self.path.join(format!("{name}.log"))).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(15)..].iter().map(|line| (*line).to_owned()).collect()
        };
        vec![("server", last("server")), ("router", last("router"))]
    }

    /// A checkout of the app in here.
    pub(super) fn checkout(&self) -> Result<app::App> {
        app::App::init(self.kind, self.path.join("checkout"))
    }

    /// `teal NAME --config …`, in a process group of its own: Ctrl-C is ours to handle.
    fn spawn(&self, name: &str, more: &[&str]) -> Result<Child> {
        let failed = |e| Error::because(format!("`teal {name}` cannot be started"), e);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path.join(format!("{name}.log")))
            .map_err(failed)?;
        let exe = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(exe);
        command.arg(name).arg("--config").arg(self.path.join("server.toml")).args(more);
        command.env_remove("TEAL_TOKEN").env_remove("TEAL_URL").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        command.current_dir(&self.path).process_group(0).spawn().map_err(failed)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end();
    }
}

fn end(mut child: Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let _ = kill(pid, Signal::SIGTERM);
    let waited = surely("the process ends", Duration::from_secs(20), || Ok(child.try_wait().ok().flatten()));
    if waited.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// An error if the process has ended.
fn ended(name: &str, child: Option<&mut Child>) -> Result<()> {
    let status = child.and_then(|child| child.try_wait().ok().flatten());
    match status {
        Some(status) => Err(Error::new(Kind::Other, format!("the {name} ended before it served: {status}"))),
        None => Ok(()),
    }
}

fn configuration(data: &Path, ports: [SocketAddr; 3], pool: &str, runtime: &str, smtp: SocketAddr) -> String {
    let [api, edge, ssh] = ports;
    let data = toml::Value::from(data.to_string_lossy().into_owned());
    let port = smtp.port();
    format!(
        "data = {data}\nlisten = \"{api}\"\nssh = \"{ssh}\"\nrouter_http = [\"{edge}\"]\nruntime = \"{runtime}\"\npool = \"{pool}\"\n\
         base_domain = \"localhost\"\nmail_to = [\"team@example.org\"]\n\n\
         [smtp]\nhost = \"127.0.0.1\"\nport = {port}\nencryption = \"none\"\nfrom = \"teal@example.org\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_one_that_the_server_takes() {
        let ports = net::free_ports(4).expect("free");
        let text = configuration(
            Path::new("/tmp/a \"b\""),
            [ports[0], ports[1], ports[2]],
            "10.200.0.0/16",
            "process",
            ports[3],
        );
        let config: teal_server::config::Config = toml::from_str(&text).expect("parses");
        assert_eq!(config.data, Path::new("/tmp/a \"b\""));
        assert_eq!((config.listen, config.runtime.as_str()), (ports[0], "process"));
        assert_eq!(config.smtp.expect("set").port, ports[3].port());
    }
}
