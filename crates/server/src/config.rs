//! The operator's configuration, `/etc/teal/server.toml`: every field documented here, defaults here and nowhere else, unknown fields refused.
//! Everything is parsed before anything is opened.

use crate::{
    images::{HOST_IMAGE, recipe},
    notify::hook::Ranges,
    portrange::PortRange,
};
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};
use teal_core::{
    access::LogForm,
    upkeep::{Limits, Window, patch::Every},
};

/// The whole file. An empty one is legal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where everything durable lives: store, repositories, releases, logs, sockets.
    pub data: PathBuf,
    /// Where the API, the console and git over HTTP listen. Anything but loopback needs `insecure_http = true` (or a proxy with TLS in front).
    pub listen: SocketAddr,
    /// Serve API, console and git in clear text on an address that is not loopback.
    pub insecure_http: bool,
    /// Where git over SSH listens; empty turns it off.
    pub ssh: Option<SocketAddr>,
    /// How users reach the console from outside, for links in mails and logs; default: from `listen`.
    pub public_url: Option<String>,
    /// Apps are reached at `<app>.<base_domain>`.
    pub base_domain: String,
    /// Where the router listens for plain HTTP.
    pub router_http: Vec<SocketAddr>,
    /// Where the router listens for TLS (HTTP/1.1 and HTTP/2); empty: nowhere.
    pub router_https: Vec<SocketAddr>,
    /// Proxies in front of the router: only their `X-Forwarded-*` and `Forwarded` headers are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The trusted proxies speak the PROXY protocol (version 1 or 2): every connection from them must begin with its header, on all of the router's
    /// addresses. From others none is read.
    pub proxy_protocol: bool,
    /// Connections that one client's address may have to the router at a time (IPv6: 64 bits of it), trusted proxies excepted; 0 is no limit.
    pub connections_per_client: u32,
    /// Bytes a second that a client must take of an answer, on average over five minutes in which something waits for it; 0 is no minimum.
    pub answer_rate: u64,
    /// How the router logs requests: `off`, `json` or `combined`.
    pub access_log: LogForm,
    /// Where it logs them; without it to its standard output.
    pub access_log_file: Option<PathBuf>,
    /// TCP ports that apps may have (`tcp_port`), such as `"5000-5999"`; the router opens them on the addresses of `router_http`. Without it: none.
    pub tcp_ports: Option<PortRange>,
    /// The router's control socket; default: `router.sock` in `data`.
    pub router_control: Option<PathBuf>,
    /// `auto` (virtual machines where KVM is proven and there is an image, else sandboxes where they work, else processes), `vm`, `sandbox` or
    /// `process`.
    pub runtime: String,
    /// What new deployments are built and run on: `host` (this host's own `/usr`) or an image of that name, such as `debian-12`, in its newest
    /// version. While none was built it is the host's own system, too.
    pub image: String,
    /// What executes virtual machines: `auto` (KVM where a real boot proves it, else emulation), `kvm` (or refuse to start) or `tcg` (emulation).
    pub acceleration: String,
    /// The address pool of instances.
    pub pool: String,
    /// Private address ranges that builds may reach nevertheless (a package mirror), as CIDR.
    pub egress_allow: Vec<String>,
    /// Variables of the server's own environment that builds get too (a proxy, a package index).
    pub build_environment: Vec<String>,
    /// How many builds run at once.
    pub builds: usize,
    /// Mail.
    pub smtp: Option<Smtp>,
    /// Who gets the mails besides the users who have an address.
    pub mail_to: Vec<String>,
    /// Address ranges that webhooks may be posted to although they are not the public internet, as CIDR: a chat server of one's own.
    pub webhook_allow: Vec<String>,
    /// Certificates from an authority. Without it domains are served with certificates by file, else with self-signed ones.
    pub acme: Option<Acme>,
    /// Certificates by file.
    pub certificates: Vec<CertificateFile>,
    /// How apps are moved to a newer image.
    pub maintenance: Maintenance,
}

/// How apps are moved to a newer image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maintenance {
    /// When the platform begins to move apps by itself, in UTC: `"Sun 02:00-05:00"`, `"Mon-Fri 22:00-04:00"`, `"daily 02:00-04:00"`, several parted
    /// by `;`. Empty: always. What has begun goes on to its verdict.
    pub window: Window,
    /// How often the platform asks apt, within the window, whether a rebuilt image would differ, and builds it if so: `daily`, `weekly` or `off`. Only
    /// an image that was built once is asked about.
    pub check: Every,
    /// How many apps are moved at a time, 1 to 64; deployments of users that are under way count.
    pub concurrency: u32,
    /// A rollout halts after so many failures, until a user says that it is to go on; 0: never.
    pub halt_after: u32,
    /// From one beginning to the next passes less than this, by chance, in seconds; 0: nothing.
    pub spread_s: u64,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            window: Window::default(),
            check: Every::default(),
            concurrency: 2,
            halt_after: 5,
            spread_s: 10,
        }
    }
}

impl Maintenance {
    /// What a rollout may do.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let spread_ms = self.spread_s.saturating_mul(1_000);
        Limits { concurrency: self.concurrency, halt_after: self.halt_after, spread_ms }
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.concurrency) {
            return Err(format!(
                "`maintenance.concurrency` is {}, but must be from 1 to 64",
                self.concurrency
            ));
        }
        if self.spread_s > 86_400 {
            return Err(format!("`maintenance.spread_s` is {}, but must be at most 86400", self.spread_s));
        }
        Ok(())
    }
}

/// Where certificates come from (RFC 8555).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The authority's directory, an `https://` address.
    pub directory: String,
    /// Whom the authority may write to, such as `mailto:ops@example.org`.
    #[serde(default)]
    pub contact: Vec<String>,
    /// How domains are proved to be ours.
    #[serde(default)]
    pub challenge: Challenge,
    /// The authority's own TLS certificate is signed by this one (PEM); without it: by one that this host trusts.
    pub ca_file: Option<PathBuf>,
    /// The operator has read the authority's terms and agrees. Nothing is asked of it otherwise.
    #[serde(default)]
    pub terms_agreed: bool,
}

/// How a domain is proved to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Challenge {
    /// By an answer on port 80.
    #[default]
    #[serde(rename = "http-01")]
    Http,
    /// By a handshake on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn,
}

/// A certificate that somebody else obtains and renews. Both files are read again when they change.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFile {
    /// The names that it is used for: host names in lower case, or `*.example.org` for one label more.
    pub names: Vec<String>,
    /// The chain as PEM, the certificate itself first.
    pub chain_file: PathBuf,
    /// Its private key as PEM (mode 0600).
    pub key_file: PathBuf,
}

/// How mail leaves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// The mail server's host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `none` (clear text; refused with a user unless the host is loopback), `starttls` or `tls`.
    #[serde(default = "starttls")]
    pub encryption: String,
    /// The login, if it wants one.
    pub user: Option<String>,
    /// A file that holds the password (mode 0600): a secret belongs neither into this file nor into the environment.
    pub password_file: Option<PathBuf>,
    /// The sender.
    pub from: String,
}

fn starttls() -> String {
    "starttls".into()
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            data: "/var/lib/teal".into(),
            listen: loopback(8600),
            insecure_http: false,
            ssh: Some(SocketAddr::from(([0, 0, 0, 0], 2222))),
            public_url: None,
            base_domain: "localhost".into(),
            router_http: vec![SocketAddr::from(([0, 0, 0, 0], 80))],
            router_https: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connections_per_client: 0,
            answer_rate: 240,
            access_log: LogForm::Off,
            access_log_file: None,
            tcp_ports: None,
            router_control: None,
            runtime: "auto".into(),
            image: HOST_IMAGE.into(),
            acceleration: "auto".into(),
            pool: "10.177.0.0/16".into(),
            egress_allow: Vec::new(),
            build_environment: Vec::new(),
            builds: 2,
            smtp: None,
            mail_to: Vec::new(),
            webhook_allow: Vec::new(),
            acme: None,
            certificates: Vec::new(),
            maintenance: Maintenance::default(),
        }
    }
}

impl Config {
    /// Says what in the file contradicts itself.
    ///
    /// # Errors
    /// A sentence that names the field, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(
                "`proxy_protocol = true` needs `trusted_proxies`: name the addresses that speak it".into()
            );
        }
        if self.image != HOST_IMAGE && recipe::named(&self.image).is_none() {
            return Err(format!(
                "`image = \"{}\"` is not one of {HOST_IMAGE}, {}",
                self.image,
                recipe::names()
            ));
        }
        Ranges::new(&self.pool, &self.webhook_allow)?;
        self.maintenance.check()
    }

    /// The router's control socket.
    #[must_use]
    pub fn router_control(&self) -> PathBuf {
        self.router_control.clone().unwrap_or_else(|| self.data.join("router.sock"))
    }

    /// The console's address as users reach it, without a trailing slash.
    #[must_use]
    pub fn public_url(&self) -> String {
        let url = self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen));
        url.trim_end_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_recipe() {
        let parse = |text: &str| toml::from_str::<Config>(text).expect("parses").check();
        assert_eq!(parse("image = 'debian-12'"), Ok(()));
        assert!(parse("image = 'debian-1'").is_err_and(|why| why.contains("host, debian-12")));
    }

    #[test]
    fn where_webhooks_may_go_is_read_before_anything_is_opened() {
        let parse = |text: &str| toml::from_str::<Config>(text).expect("parses").check();
        assert_eq!(parse("webhook_allow = ['10.0.0.5/32', 'fd00::/64']"), Ok(()));
        assert!(
            parse("webhook_allow = ['chat.example.org']").is_err_and(|why| why.contains("webhook_allow"))
        );
    }

    #[test]
    fn maintenance_is_read_with_its_window_and_nonsense_is_refused() {
        let parse = |text: &str| toml::from_str::<Config>(&format!("[maintenance]\n{text}"));
        let config = parse("window = 'Sun 02:00-05:00'\nhalt_after = 0\ncheck = 'weekly'").expect("parses");
        assert_eq!((config.maintenance.check, Maintenance::default().check), (Every::Weekly, Every::Daily));
        assert_eq!(config.maintenance.window.to_string(), "Sun 02:00-05:00");
        assert_eq!(config.maintenance.limits().halt_after, 0);
        assert_eq!(config.check(), Ok(()));
        assert!(parse("window = 'Sunday'").is_err_and(|why| why.to_string().contains("Sun 02:00-05:00")));
        assert!(
            parse("check = 'hourly'").is_err_and(|why| why.to_string().contains("`off`, `daily`, `weekly`"))
        );
        assert!(parse("speed = 1").is_err());
        for bad in ["concurrency = 0", "concurrency = 65", "spread_s = 100000"] {
            assert!(
                parse(bad).expect("parses").check().is_err_and(|why| why.contains("maintenance.")),
                "{bad}"
            );
        }
    }

    #[test]
    fn who_speaks_for_clients_must_be_named() {
        let parse = |text: &str| toml::from_str::<Config>(text).expect("parses").check();
        assert_eq!(parse(""), Ok(()));
        assert!(parse("proxy_protocol = true").is_err_and(|why| why.contains("trusted_proxies")));
        assert_eq!(parse("proxy_protocol = true\ntrusted_proxies = ['10.0.0.2']"), Ok(()));
    }
}
