//! How sandboxes are made on this host, and the names that follow from it.

use super::Error;
use crate::network::NetworkConfig;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// The pool of a host's one server; its things are called simply `teal`.
const POOL: &str = "10.177.0.0/16";

/// How sandboxes are made on this host.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's data directory; everything of the runtime is in `run`, `network` and `logs` below it.
    pub data: PathBuf,
    /// A root directory whose `/usr` and public `/etc` instances get; the host's own without one.
    pub image: Option<PathBuf>,
    /// All instances' addresses come from here, as `10.177.0.0/16`.
    pub pool: String,
    /// The control group below which instances live; empty: named after the pool, so that two servers on one host never meet.
    pub subtree: String,
    /// The nftables table that is ours alone; empty: named after the pool.
    pub table: String,
    /// Private ranges that builds may reach, e.g. a mirror of a package registry, as `10.0.0.0/24`.
    pub egress_allow: Vec<String>,
    /// Who answers instances' questions for names; empty: the host's own name servers.
    pub resolvers: Vec<SocketAddr>,
}

impl Config {
    /// The defaults for one server per host.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            data,
            image: None,
            pool: POOL.to_owned(),
            subtree: String::new(),
            table: String::new(),
            egress_allow: Vec::new(),
            resolvers: Vec::new(),
        }
    }

    /// The subtree's name.
    pub(super) fn subtree(&self) -> Result<String, Error> {
        if self.subtree.is_empty() { self.name('-') } else { Ok(self.subtree.clone()) }
    }

    /// What the network is told.
    pub(super) fn network(&self, state: PathBuf) -> Result<NetworkConfig, Error> {
        let mut network = NetworkConfig::new(state);
        network.pool = range(&self.pool)?;
        network.table = if self.table.is_empty() { self.name('_')? } else { self.table.clone() };
        network.egress_allow = self.egress_allow.iter().map(|text| range(text)).collect::<Result<_, _>>()?;
        network.resolvers.clone_from(&self.resolvers);
        Ok(network)
    }

    /// Two servers cannot share a pool, so it tells them apart: each keeps its own rules, and neither takes the other's instances for garbage.
    fn name(&self, between: char) -> Result<String, Error> {
        let (base, prefix) = range(&self.pool)?;
        let default = self.pool == POOL;
        Ok(if default {
            "teal".to_owned()
        } else {
            format!("teal{between}{:08x}{between}{prefix}", base.to_bits())
        })
    }
}

fn range(text: &str) -> Result<(Ipv4Addr, u8), Error> {
    let parse = || {
        let (base, prefix) = text.split_once('/')?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        Some((base.parse().ok()?, prefix))
    };
    parse().ok_or_else(|| Error::Range(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pool() {
        let mut config = Config::new(PathBuf::from("/var/lib/teal"));
        let table = |config: &Config| config.network(PathBuf::new()).expect("a pool").table;
        assert_eq!((config.subtree().expect("a pool").as_str(), table(&config).as_str()), ("teal", "teal"));
        config.pool = "10.200.1.0/24".to_owned();
        assert_eq!(config.subtree().expect("a pool"), "teal-0ac80100-24");
        assert_eq!(table(&config), "teal_0ac80100_24");
        config.pool = "10.200.1.0".to_owned();
        assert!(matches!(config.subtree(), Err(Error::Range(_))));
    }
}
