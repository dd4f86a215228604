//! A whole Teal in a temporary directory: router with its supervisor, server, both real processes that can be killed.

use crate::{
    Api, MailServer,
    wait::{until, within},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// What differs from an ordinary start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further lines of the configuration.
    pub config: String,
    /// Mail goes here instead of to a server of the host's own.
    pub smtp: Option<SocketAddr>,
    /// A version of an image, built before: the server finds it as if it had built it.
    pub image: Option<PathBuf>,
    /// The router speaks TLS, too, with a certificate for `shop.localhost`.
    pub secure: bool,
}

/// All tests, on virtual machines: `TEAL_E2E_RUNTIME=vm`. Those that say themselves on what they run are as always.
struct Machines {
    image: PathBuf,
}

impl Machines {
    /// Emulated, so that it is the same on every host.
    const CONFIG: &str = "runtime = \"vm\"\nacceleration = \"tcg\"\nimage = \"debian-12\"\nmaintenance = { check = \"off\" }\n";

    fn wanted(options: &Options) -> Result<Option<Self>> {
        match env::var("TEAL_E2E_RUNTIME").as_deref() {
            Ok("vm") if options.image.is_none() && !options.config.contains("image =") => {
                let image = env::var_os("TEAL_IMAGE")
                    .context("TEAL_IMAGE names no image: `cargo xtask image` builds one")?;
                Ok(Some(Self { image: image.into() }))
            }
            Ok("vm" | "") | Err(_) => Ok(None),
            Ok(other) => bail!("TEAL_E2E_RUNTIME is `{other}`: vm, or nothing"),
        }
    }
}

/// A certificate as a client sees it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Who signed it.
    pub issuer: String,
    /// It, as PEM.
    pub bytes: String,
}

/// A running Teal.
pub struct Host {
    directory: TempDir,
    router: Child,
    server: Option<Child>,
    http: SocketAddr,
    https: Option<SocketAddr>,
    api: Option<Api>,
    mail: Option<MailServer>,
}

impl Host {
    /// Starts router and server and waits until both serve.
    ///
    /// # Errors
    /// If they do not; what they logged is shown.
    pub fn start(options: &Options) -> Result<Self> {
        let directory = TempDir::new()?;
        let mail = if options.smtp.is_none() { Some(MailServer::start()?) } else { None };
        let smtp = options.smtp.or(mail.as_ref().map(MailServer::address)).context("no mail server")?;
        let machines = Machines::wanted(options)?;
        let mut config = configuration(directory.path(), smtp, options);
        if options.secure {
            config += &certificate(directory.path())?;
        }
        if machines.is_some() {
            config.insert_str(0, Machines::CONFIG);
        }
        fs::write(directory.path().join("server.toml"), config)?;
        if let Some(image) = options.image.as_ref().or(machines.as_ref().map(|machines| &machines.image)) {
            let images = directory.path().join("data/images");
            fs::create_dir_all(&images)?;
            let name = image.file_name().context("an image is a directory with its version's name")?;
            std::os::unix::fs::symlink(image.canonicalize()?, images.join(name))?;
        }
        let ready = directory.path().join("router.ready");
        let arguments = ["router", "--supervise", "--ready", path_text(&ready)?];
        let router = teal(directory.path(), "router.log", &arguments).spawn()?;
        let mut host = Self {
            directory,
            router,
            server: None,
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            https: None,
            api: None,
            mail,
        };
        host.http =
            until("the router serves", || fs::read_to_string(&ready).ok()?.lines().next()?.parse().ok())
                .with_context(|| host.log("router.log"))?;
        let ready = fs::read_to_string(&ready)?;
        host.https = ready.lines().find_map(|line| line.strip_prefix("https ")?.parse().ok());
        host.start_server(&[])?;
        if options.secure {
            let given = host.path().join("data/router/certificates");
            until("the router has its certificate", || given.exists().then_some(()))?;
        }
        Ok(host)
    }

    /// Starts the server, with these variables, and waits until it serves.
    ///
    /// # Errors
    /// If it does not.
    pub fn start_server(&mut self, variables: &[(&str, &str)]) -> Result<()> {
        let facts = self.path().join("data/server.json");
        let _ = fs::remove_file(&facts);
        let mut command = teal(self.path(), "server.log", &["server"]);
        let child = command.envs(variables.iter().copied()).spawn()?;
        let pid = child.id();
        self.server = Some(child);
        let ready = || {
            let facts: Value = serde_json::from_slice(&fs::read(&facts).ok()?).ok()?;
            if facts["pid"].as_u64() != Some(u64::from(pid)) {
                return None;
            }
            Some(format!("http://{}", facts["http"].as_str()?))
        };
        let waited =
            until("the server serves", || ready().map(Some).or_else(|| self.server_ended().then_some(None)));
        let Some(url) = waited.with_context(|| self.log("server.log"))? else {
            bail!("the server ended before it served: {}", self.log("server.log"));
        };
        let token = fs::read_to_string(self.path().join("data/admin.token"))?.trim().to_owned();
        // The next start takes the same address: remotes of repositories name it.
        let file = self.path().join("server.toml");
        let text = fs::read_to_string(&file)?;
        let address = url.trim_start_matches("http://");
        fs::write(&file, text.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\"")))?;
        self.api = Some(Api::new(url, token));
        Ok(())
    }

    /// Kills the server at once (SIGKILL).
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill_server(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill()?;
            server.wait()?;
        }
        Ok(())
    }

    /// Whether the server's process ended (also: was killed by itself, as a crash point does).
    pub fn server_ended(&mut self) -> bool {
        match &mut self.server {
            Some(server) => server.try_wait().is_ok_and(|status| status.is_some()),
            None => true,
        }
    }

    /// Kills the router's supervisor and worker, the server and every instance: as if the machine lost power, but for the kernel.
    ///
    /// # Errors
    /// If a process cannot be signalled.
    pub fn kill_everything(&mut self) -> Result<()> {
        self.kill_server()?;
        let instances = self.instances().into_iter().map(|instance| instance.pid);
        let named = self.processes_naming(self.path());
        self.router.kill()?;
        self.router.wait()?;
        for pid in instances.chain(named).chain(self.processes_naming(self.path())) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let dead = || self.processes_naming(self.path()).is_empty() && self.instances().is_empty();
        within(Duration::from_secs(30), "everything is dead", || dead().then_some(()))
    }

    /// Starts the router again on the same address, after [`Self::kill_everything`].
    ///
    /// # Errors
    /// If it does not serve.
    pub fn start_router(&mut self) -> Result<()> {
        let ready = self.path().join("router.ready");
        let _ = fs::remove_file(&ready);
        let file = self.path().join("server.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(
            &file,
            text.replace("router_http = [\"127.0.0.1:0\"]", &format!("router_http = [\"{}\"]", self.http)),
        )?;
        let arguments = ["router", "--supervise", "--ready", path_text(&ready)?];
        self.router = teal(self.path(), "router.log", &arguments).spawn()?;
        until("the router serves again", || ready.exists().then_some(()))
    }

    /// Puts another worker in the place of the router's, as an operator does it.
    ///
    /// # Errors
    /// If the command fails.
    pub fn upgrade_router(&self) -> Result<()> {
        let status = teal(self.path(), "upgrade.log", &["router", "upgrade"]).status()?;
        ensure!(status.success(), "the upgrade failed: {}", self.log("upgrade.log"));
        Ok(())
    }

    /// Processes of this user whose command line or environment of Teal names this directory.
    #[must_use]
    pub fn processes_naming(&self, directory: &Path) -> Vec<i32> {
        processes_with(directory.as_os_str().as_encoded_bytes())
    }

    /// Processes whose command line holds this text (arguments are parted by NUL).
    #[must_use]
    pub fn processes_saying(&self, text: &str) -> Vec<i32> {
        processes_with(text.as_bytes())
    }

    /// The API's client.
    ///
    /// # Panics
    /// Never: the server was started.
    #[must_use]
    pub fn api(&self) -> &Api {
        self.api.as_ref().expect("the server was started")
    }

    /// Where the router listens.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the router speaks TLS, if it does, and the file with the certificate that it is verified by.
    #[must_use]
    pub fn https(&self) -> Option<(SocketAddr, PathBuf)> {
        Some((self.https?, self.path().join("edge.pem")))
    }

    /// Adds lines to the end of the configuration; they count from the server's next start on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let file = self.path().join("server.toml");
        let text = fs::read_to_string(&file)? + lines;
        Ok(fs::write(file, text)?)
    }

    /// The mail server.
    ///
    /// # Panics
    /// If mail goes elsewhere.
    #[must_use]
    pub fn mail(&self) -> &MailServer {
        self.mail.as_ref().expect("mail goes to a server of the host's own")
    }

    /// The directory that everything is in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Processes of server and router worker.
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// The router's supervisor.
    #[must_use]
    pub fn router_pid(&self) -> u32 {
        self.router.id()
    }

    /// The router: its supervisor and its worker.
    #[must_use]
    pub fn router_pids(&self) -> Vec<u32> {
        let supervisor = self.router_pid();
        let children =
            fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap_or_default();
        std::iter::once(supervisor)
            .chain(children.split_whitespace().filter_map(|pid| pid.parse().ok()))
            .collect()
    }

    /// What these processes hold of the host's memory, in KiB.
    #[must_use]
    pub fn memory_kib(&self, pids: impl IntoIterator<Item = u32>) -> u64 {
        let resident = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        };
        pids.into_iter().filter_map(resident).sum()
    }

    /// GET through the router, as this app's users do: status and body.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn visit(&self, app: &str, path: &str) -> Result<(u16, String)> {
        self.visit_domain(&format!("{app}.localhost"), path)
    }

    /// GET through the router, for this domain.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn visit_domain(&self, domain: &str, path: &str) -> Result<(u16, String)> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(format!("http://{}{path}", self.http)).header("host", domain).call()?;
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    }

    /// The certificate that the router shows for this name, whoever signed it.
    ///
    /// # Errors
    /// If there is none.
    pub fn certificate_of(&self, name: &str) -> Result<Shown> {
        let (address, _) = self.https().context("this host speaks no TLS")?;
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string(), "-servername", name]);
        let shown = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let begin = text.find("-----BEGIN CERTIFICATE-----").context("no certificate is shown")?;
        let end = text.find("-----END CERTIFICATE-----").context("no whole certificate is shown")?;
        let issuer = text.lines().find_map(|line| line.trim().strip_prefix("issuer=")).unwrap_or_default();
        Ok(Shown { issuer: issuer.to_owned(), bytes: text[begin..end].to_owned() })
    }

    /// Deletes an app and waits until nothing of it is left.
    ///
    /// # Errors
    /// If something stays.
    pub fn delete(&self, app: &str) -> Result<()> {
        self.api().send::<Value>("DELETE", &format!("/apps/{app}"), &Value::Null)?;
        until(&format!("{app} is gone"), || self.api().status(app).is_err().then_some(()))
    }

    /// The last lines of a log of this host, for failures.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path().join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn clean(&mut self) -> Result<()> {
        if self.server_ended() {
            self.start_server(&[])?;
        }
        let apps: Vec<Value> = self.api().get("/apps")?;
        for app in apps {
            self.delete(app["name"].as_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- server\n{}\n--- router\n{}", self.log("server.log"), self.log("router.log"));
        }
        if let Err(error) = self.clean() {
            eprintln!("could not clean up: {error:#}");
        }
        let _ = self.kill_server();
        // A killed server leaves its images mounted for the next one.
        for place in fs::read_dir(self.path().join("data/run/images")).into_iter().flatten().flatten() {
            let _ = nix::mount::umount2(&place.path(), nix::mount::MntFlags::empty());
        }
        let _ = kill(Pid::from_raw(self.router.id().cast_signed()), Signal::SIGTERM);
        if within(Duration::from_secs(40), "the router ends", || self.router.try_wait().ok().flatten())
            .is_err()
        {
            let _ = self.router.kill();
            let _ = self.router.wait();
        }
    }
}

fn processes_with(needle: &[u8]) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.windows(needle.len()).any(|window| window == needle)
            && pid.unsigned_abs() != std::process::id()
        {
            found.push(pid);
        }
    }
    found
}

/// The `teal` binary that was built beside the tests.
///
/// # Errors
/// If it was not built.
pub(crate) fn binary() -> Result<PathBuf> {
    let tests = std::env::current_exe()?;
    let directory = tests.parent().and_then(Path::parent).context("the tests are in no target directory")?;
    let binary = directory.join("teal");
    if !binary.exists() {
        bail!("{} is not there: run `cargo build -p teal-cli` first", binary.display());
    }
    Ok(binary)
}

fn teal(directory: &Path, log: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap_or_else(|_| "teal".into()));
    let (name, rest) = arguments.split_first().unwrap_or((&"server", &[]));
    command.arg(name).arg("--config").arg(directory.join("server.toml")).args(rest);
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join(log));
    if let Ok(log) = log {
        let again = log.try_clone();
        command.stdout(log).stderr(again.map_or_else(|_| Stdio::null(), Stdio::from));
    }
    command.stdin(Stdio::null()).env("TEAL_LOG", "info");
    command
}

fn configuration(directory: &Path, smtp: SocketAddr, options: &Options) -> String {
    let (data, more) = (directory.join("data"), &options.config);
    // Servers that share a pool take each other's instances for garbage: whoever runs tests twice at a time names another one.
    let pool = env::var("TEAL_E2E_POOL").map(|pool| format!("pool = {pool:?}\n")).unwrap_or_default();
    let https = if options.secure { "router_https = [\"127.0.0.1:0\"]\n" } else { "" };
    format!(
        "data = {data:?}\nlisten = \"127.0.0.1:0\"\nssh = \"127.0.0.1:0\"\nrouter_http = [\"127.0.0.1:0\"]\n{https}{pool}mail_to = [\"team@example.org\"]\n{more}\n\n\
         [smtp]\nhost = \"127.0.0.1\"\nport = {}\nencryption = \"none\"\nfrom = \"teal@example.org\"\n",
        smtp.port()
    )
}

/// Makes a certificate for the domain of the app `shop`, and the configuration that names it.
fn certificate(directory: &Path) -> Result<String> {
    let made = rcgen::generate_simple_self_signed(["shop.localhost".to_owned()])?;
    let (chain, key) = (directory.join("edge.pem"), directory.join("edge.key"));
    fs::write(&chain, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    Ok(format!(
        "\n[[certificates]]\nnames = [\"shop.localhost\"]\nchain_file = {chain:?}\nkey_file = {key:?}\n"
    ))
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}
