//! Streams of an app that the router does not look into: its public TCP port, and TLS that it ends itself. What may be set, and what is seen of it.

use super::{Error, Platform, Result};
use crate::{
    appconfig::{AppConfig, Overrides},
    routerlink::RouterFacts,
};
use serde_json::Value;
use std::{collections::BTreeSet, net::SocketAddr};
use teal_core::{
    deploy::{App, Settings},
    domain,
    id::AppId,
};

/// Shown where an app ends TLS that nobody passes on.
const NO_TLS: &str =
    "nobody gets through to the app's own TLS: the router listens for none (`router_https` in server.toml)";

/// The settings.
const TCP_PORT: &str = "tcp_port";
const TCP_INSTANCE_PORT: &str = "tcp_instance_port";

impl Platform {
    /// Puts a port in the place of the words that may stand for one: `off`, and `auto`, which is the one that the app has, else the first that is free.
    pub(super) async fn choose_port(&self, overrides: &mut Overrides, present: Option<u16>) -> Result<()> {
        match overrides.get(TCP_PORT).and_then(Value::as_str) {
            Some("off") => drop(overrides.remove(TCP_PORT)),
            Some("auto") => {
                let port = match present {
                    Some(port) => port,
                    None => self.free_port().await?,
                };
                overrides.insert(TCP_PORT.into(), port.into());
            }
            Some(_) => {
                return Err(Error::invalid(
                    "that is no TCP port",
                    "give `auto`, `off`, or a number such as 5432",
                ));
            }
            None => (),
        }
        if overrides.get(TCP_INSTANCE_PORT).and_then(Value::as_str) == Some("off") {
            overrides.remove(TCP_INSTANCE_PORT);
        }
        Ok(())
    }

    async fn free_port(&self) -> Result<u16> {
        let range = self.config().tcp_ports.as_ref().ok_or_else(no_range)?;
        let mut taken: BTreeSet<u16> = self.store().tcp_ports().await?.into_keys().collect();
        taken.extend(self.own_ports());
        range.free(&taken).ok_or_else(|| {
            Error::invalid(
                format!("all TCP ports from {range} are taken"),
                "take one from another app, or have the operator widen `tcp_ports` in server.toml",
            )
        })
    }

    /// Ports of this server's own.
    fn own_ports(&self) -> impl Iterator<Item = u16> {
        let config = self.config();
        let listens = [Some(config.listen), config.ssh].into_iter().flatten();
        listens
            .chain(config.router_http.iter().chain(&config.router_https).copied())
            .map(|at: SocketAddr| at.port())
    }

    /// These settings may take the place of `present` (none for a new app): the port may be had, and nobody shares what is passed on whole.
    pub(super) async fn check_streams(
        &self,
        app: &AppId,
        config: &AppConfig,
        present: Option<&Settings>,
        domains: &[String],
    ) -> Result<()> {
        let before = present.and_then(|settings| settings.tcp_port);
        // One that it has it keeps, whatever the operator allows by now.
        if let Some(port) = config.tcp_port.filter(|port| Some(*port) != before) {
            self.check_port(app, port).await?;
        }
        self.check_sharing(app, config.tls_passthrough, domains).await
    }

    async fn check_port(&self, app: &AppId, port: u16) -> Result<()> {
        let range = self.config().tcp_ports.as_ref().ok_or_else(no_range)?;
        if !range.contains(port) || self.own_ports().any(|own| own == port) {
            let message = format!("{port} is not one of the TCP ports that apps may have");
            return Err(Error::invalid(message, format!("choose one from {range}, or `tcp_port=auto`")));
        }
        match self.store().tcp_ports().await?.remove(&port) {
            Some((other, name)) if other != *app => Err(Error::invalid(
                format!("the TCP port {port} is that of the app {name}"),
                "choose another one, or `tcp_port=auto`",
            )),
            _ => Ok(()),
        }
    }

    /// TLS that an app ends itself hides the path: nobody else can have a part of such a host.
    pub(super) async fn check_sharing(&self, app: &AppId, passes: bool, domains: &[String]) -> Result<()> {
        let hint = "give one of the two another host name";
        if let Some(part) = domains.iter().find(|domain| passes && !domain::path(domain).is_empty()) {
            let message = format!("{part} has a path, which the router cannot see with `tls_passthrough`");
            return Err(Error::invalid(message, "remove this domain, or let the router end TLS"));
        }
        match self.store().sharer(app, domains.to_vec(), passes).await? {
            None => Ok(()),
            Some((host, other)) => {
                let message = format!(
                    "{host} is shared with the app {other}, and with `tls_passthrough` a host is one app's as a whole"
                );
                Err(Error::invalid(message, hint))
            }
        }
    }

    /// Where the app's streams arrive, as the router says; nothing is said of a router that does not answer.
    pub(super) async fn streams(&self, app: &App, router: Option<&RouterFacts>) -> Streams {
        let host = domain::first(&app.domains).map_or("localhost", domain::host);
        let mut streams = Streams::default();
        if let Some(port) = app.settings.tcp_port {
            streams.tcp = Some(format!("tcp://{host}:{port}"));
            streams.warnings.extend(self.closed(port).await);
        }
        if let Some(router) = router.filter(|_| app.settings.tls_passthrough) {
            match router.https.first() {
                Some(at) => streams.tls = Some(format!("tls://{host}:{}", at.port())),
                None => streams.warnings.push(NO_TLS.into()),
            }
        }
        streams
    }

    /// Why this port is not open, if it is not.
    async fn closed(&self, port: u16) -> Option<String> {
        // What the router does not say is not known to be wrong.
        let troubles = self.inner.world.link.troubles().await.unwrap_or_default();
        let trouble = troubles.into_iter().find(|trouble| trouble.port == port)?;
        Some(format!("the TCP port {port} is not open: {}", crate::log::harmless(&trouble.why)))
    }
}

/// Where streams arrive, and what keeps them from it.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) tcp: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) warnings: Vec<String>,
}

fn no_range() -> Error {
    Error::invalid(
        "apps have no public TCP ports on this server",
        "the operator says which they may have: `tcp_ports = \"5000-5999\"` in server.toml",
    )
}
