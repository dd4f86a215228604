//! The network of instances: a /30 of its own for each, a way out where it is allowed, and no way to the host, to each other or to private ranges.
//!
//! ```text
//!  instance eth0 10.177.0.2/30 ══ veth ══ 10.177.0.1/30 tl0ab10001  host ── NAT ── outside
//!                                         └ DNS relay on port 53
//! ```
//!
//! Only the nftables table `inet <table>` and interfaces that begin with `tl` and our own address are ever touched. The table of who has which
//! address is durable before anything is made from it, and the rules name an interface before it exists: there is no moment without them.
//! The DNS relay lives as long as the [`Network`], that is, as long as the server: instances have no name service while the server is down.

mod netlink;
mod pool;
mod rules;
mod sysctl;
mod tap;
pub(crate) mod trial;

use crate::dns::Relay;
use nix::sys::stat::fstat;
pub(crate) use pool::Range;
use pool::{Lease, Slots};
use rules::Guest;
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use teal_core::id::InstanceId;

/// The name of the table of slots in the state directory.
const TABLE_FILE: &str = "network.json";

/// Why the network of instances cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `nft` is not installed.
    #[error(
        "nftables is missing, so instances cannot be kept apart; install it with: apt-get install -y nftables"
    )]
    NoNft,
    /// `nft` refused our rules.
    #[error("nft refused the rules (does this kernel have nf_tables and conntrack?): {0}")]
    Nft(String),
    /// The pool cannot be used.
    #[error("the address pool cannot be used: {0}; set another `network.pool`")]
    Pool(String),
    /// The name of the table is not a plain word.
    #[error("`{0}` cannot name an nftables table: use a lower-case letter, then letters and digits")]
    Table(String),
    /// All addresses are taken or in quarantine.
    #[error(
        "all {slots} networks of the pool {pool} are in use or were a moment ago; stop instances or set a larger `network.pool`"
    )]
    Exhausted {
        /// The pool.
        pool: String,
        /// How many instances fit.
        slots: u32,
    },
    /// The process whose namespace was to be attached is gone, or is in our own.
    #[error("the network namespace of process {pid} cannot be attached: {why}")]
    Namespace {
        /// The process.
        pid: u32,
        /// What is wrong.
        why: String,
    },
    /// The durable table could not be read or written.
    #[error("the table of addresses {path} could not be read or written")]
    State {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change.
    #[error("{what}")]
    Netlink {
        /// What was tried.
        what: String,
        /// What the kernel said.
        #[source]
        source: Box<rtnetlink::Error>,
    },
    /// Anything else of the operating system.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// How the network of instances is laid out.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// All instances' addresses come from here: base and prefix length, /8 to /28, in a private range that the host does not use.
    pub pool: (Ipv4Addr, u8),
    /// The directory of the durable table of addresses.
    pub state: PathBuf,
    /// The nftables table (family `inet`) that is ours alone.
    pub table: String,
    /// Private ranges that *builds* may reach, e.g. the mirror of a package registry; never the host itself, never other instances.
    pub egress_allow: Vec<(Ipv4Addr, u8)>,
    /// Who answers the DNS relay's questions; empty: the name servers of the host's `/etc/resolv.conf`, read again whenever it changes.
    pub resolvers: Vec<SocketAddr>,
}

impl NetworkConfig {
    /// The defaults: 10.177.0.0/16, table `teal`, nothing private is open, the host's own name servers.
    #[must_use]
    pub fn new(state: PathBuf) -> Self {
        let pool = (Ipv4Addr::new(10, 177, 0, 0), 16);
        Self { pool, state, table: "teal".to_owned(), egress_allow: Vec::new(), resolvers: Vec::new() }
    }
}

/// An instance's connection to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The host's end of the pair.
    pub host_interface: String,
    /// The instance's address.
    pub address: Ipv4Addr,
    /// The host's address on this link: the instance's default route and name server.
    pub gateway: Ipv4Addr,
}

/// The network of all instances of this host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: NetworkConfig,
    allowed: Vec<Range>,
    path: PathBuf,
    slots: Mutex<Slots>,
    relay: Relay,
}

impl Network {
    /// Checks the pool against the host's routes, installs the rules, and answers DNS again for everything that is attached. Blocks for a moment.
    ///
    /// # Errors
    /// [`Error::Pool`] if the pool overlaps a route of the host or was changed under running instances; [`Error::NoNft`] and [`Error::Nft`] if the
    /// rules cannot be installed: then no instance may be attached.
    pub fn open(config: NetworkConfig) -> Result<Self, Error> {
        check_table(&config.table)?;
        let range = |(base, prefix)| {
            Range::new(base, prefix).ok_or_else(|| Error::Pool(format!("{base}/{prefix} is not a range")))
        };
        let pool = range(config.pool)?;
        let allowed = config.egress_allow.iter().copied().map(range).collect::<Result<Vec<_>, _>>()?;
        let path = config.state.join(TABLE_FILE);
        let slots = load(&path, pool)?;
        refuse_overlap(pool)?;
        let relay = Relay::start(config.resolvers.clone(), pool)
            .map_err(io_error("the DNS relay could not be started"))?;
        let network =
            Self { inner: Arc::new(Inner { config, allowed, path, slots: Mutex::new(slots), relay }) };
        network.inner.resume()?;
        Ok(network)
    }

    /// Connects the network namespace of `netns_pid` and answers how. Idempotent: an id keeps its address while it is attached, also in a new namespace.
    ///
    /// # Errors
    /// [`Error::Exhausted`], [`Error::Namespace`], or what the kernel refused; whatever was made is used or replaced by the next attempt.
    pub async fn attach(&self, id: &InstanceId, netns_pid: u32, egress: bool) -> Result<Link, Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.attach(&id, netns_pid, egress)).await
    }

    /// Removes the interface, the rules and the address of `id`. Idempotent.
    ///
    /// # Errors
    /// What the kernel refused; call it again.
    pub async fn detach(&self, id: &InstanceId) -> Result<(), Error> {
        let id = id.clone();
        self.blocking(move |inner| inner.detach(&id)).await
    }

    /// How `id` is connected, if it is.
    #[must_use]
    pub fn find(&self, id: &InstanceId) -> Option<Link> {
        let slots = self.inner.slots();
        slots.get(id).map(|lease| link(&slots, lease))
    }

    /// Everything that is attached.
    #[must_use]
    pub fn list(&self) -> Vec<(InstanceId, Link)> {
        let slots = self.inner.slots();
        slots.attached().map(|(id, lease)| (id.clone(), link(&slots, lease))).collect()
    }

    /// Installs the rules again, e.g. after the operator has flushed all of nftables.
    ///
    /// # Errors
    /// As [`Network::open`].
    pub async fn refresh(&self) -> Result<(), Error> {
        self.blocking(|inner| inner.install(&inner.slots())).await
    }

    /// Removes the rules, once nothing is attached any more; for uninstalling and for tests.
    ///
    /// # Errors
    /// If `nft` refuses.
    pub async fn uninstall(&self) -> Result<(), Error> {
        self.blocking(|inner| {
            hold(inner.slots().pool(), BTreeSet::new())?;
            rules::uninstall(&inner.config.table)
        })
        .await
    }

    // Private

    /// Runs on a thread that may block, and to its end even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| {
            Err(io_error("a change of the network broke off")(io::Error::other(error)))
        })
    }
}

impl Inner {
    /// One change at a time. The table is replaced only as a whole, so a panic elsewhere leaves it whole.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server that starts again owes to the instances that outlived the last one.
    fn resume(&self) -> Result<(), Error> {
        let slots = self.slots();
        slots.save(&self.path)?;
        self.install(&slots)?;
        hold(slots.pool(), slots.attached().map(|(_, lease)| link(&slots, lease).gateway).collect())?;
        for (_, lease) in slots.attached() {
            let link = link(&slots, lease);
            // After a reboot the interface is not there: it comes back when the instance does.
            if netlink::with(None, async |handle| netlink::index(handle, &link.host_interface).await)?
                .is_some()
            {
                self.serve_names(&link, lease.egress);
            }
        }
        Ok(())
    }

    /// Address and rules, before anything that they are about.
    fn lease(&self, slots: &mut Slots, id: &InstanceId, egress: bool) -> Result<Link, Error> {
        let mut changed = slots.clone();
        let lease = changed.attach(id, egress)?;
        if changed != *slots {
            changed.save(&self.path)?;
            *slots = changed;
        }
        self.install(slots)?;
        let link = link(slots, lease);
        netlink::with(None, async |handle| netlink::hold(handle, link.gateway).await)?;
        Ok(link)
    }

    fn attach(&self, id: &InstanceId, pid: u32, egress: bool) -> Result<Link, Error> {
        let namespace = namespace(pid)?;
        let mut slots = self.slots();
        let link = self.lease(&mut slots, id, egress)?;
        let mtu = self.open_uplinks(slots.pool(), egress)?;
        self.connect(&link, mtu, &namespace)?;
        self.serve_names(&link, egress);
        Ok(link)
    }

    fn detach(&self, id: &InstanceId) -> Result<(), Error> {
        let mut slots = self.slots();
        let Some(lease) = slots.get(id) else { return Ok(()) };
        let link = link(&slots, lease);
        self.relay.close(link.gateway);
        netlink::with(None, async |handle| {
            netlink::delete(handle, &link.host_interface).await?;
            netlink::release(handle, link.gateway).await
        })?;
        let mut changed = slots.clone();
        changed.detach(id);
        changed.save(&self.path)?;
        *slots = changed;
        self.install(&slots)
    }

    fn install(&self, slots: &Slots) -> Result<(), Error> {
        let guest = |(id, lease): (&InstanceId, Lease)| {
            let link = link(slots, lease);
            let build = id.environment().is_none();
            Guest {
                interface: link.host_interface,
                gateway: link.gateway,
                address: link.address,
                egress: lease.egress,
                build,
            }
        };
        let guests: Vec<Guest> = slots.attached().map(guest).collect();
        rules::install(&rules::render(&self.config.table, slots.pool(), &guests, &self.allowed))
    }

    /// Makes the pair unless the very same is there, and sets everything on both ends.
    fn connect(&self, link: &Link, mtu: u32, namespace: &File) -> Result<(), Error> {
        let name = link.host_interface.as_str();
        let there = netlink::with(None, async |handle| netlink::index(handle, name).await)?;
        let whole = match there {
            Some(host) => netlink::with(Some(namespace.as_fd()), async |handle| {
                netlink::guest_is(handle, host, link.address).await
            })?,
            None => false,
        };
        netlink::with(None, async |handle| {
            if !whole {
                netlink::delete(handle, name).await?;
                netlink::create(handle, name, mtu, namespace).await?;
            }
            sysctl::host_end(name)?;
            netlink::configure(handle, name, link.gateway).await
        })?;
        netlink::with(Some(namespace.as_fd()), async |handle| {
            sysctl::guest_end(netlink::GUEST_INTERFACE)?;
            netlink::configure_guest(handle, link.address, link.gateway).await?;
            netlink::settle(handle, netlink::GUEST_INTERFACE).await
        })?;
        netlink::with(None, async |handle| netlink::settle(handle, name).await)
    }

    /// Lets the host forward what comes back from the interfaces that lead outside, and answers the smallest MTU among them.
    fn open_uplinks(&self, pool: Range, egress: bool) -> Result<u32, Error> {
        let uplinks = netlink::with(None, async |handle| {
            let (routes, all) = (netlink::routes(handle).await?, netlink::interfaces(handle).await?);
            let leads = |route: &&netlink::Route| {
                route.range.prefix == 0 || self.allowed.iter().any(|range| range.overlaps(&route.range))
            };
            let found: Vec<u32> =
                routes.iter().filter(leads).flat_map(|route| route.interfaces.clone()).collect();
            let wanted =
                |known: &netlink::Interface| found.contains(&known.index) && !is_ours(&known.name, pool);
            Ok(all.into_iter().filter(wanted).collect::<Vec<_>>())
        })?;
        if egress {
            uplinks.iter().try_for_each(|uplink| sysctl::forward(&uplink.name))?;
        }
        Ok(uplinks.iter().map(|uplink| uplink.mtu).min().unwrap_or(1500).clamp(1280, 1500))
    }

    /// A resolver of the host that holds port 53 everywhere answers instead of ours: that is no reason to fail.
    fn serve_names(&self, link: &Link, egress: bool) {
        if !egress {
            return self.relay.close(link.gateway);
        }
        if let Err(error) = self.relay.serve(link.gateway) {
            tracing::warn!(gateway = %link.gateway, %error, "no DNS relay on this gateway");
        }
    }
}

/// These gateways are the host's own without their interfaces, too, and no others.
fn hold(pool: Range, gateways: BTreeSet<Ipv4Addr>) -> Result<(), Error> {
    netlink::with(None, async |handle| {
        for gone in netlink::held(handle, pool).await?.into_iter().filter(|held| !gateways.contains(held)) {
            netlink::release(handle, gone).await?;
        }
        for gateway in &gateways {
            netlink::hold(handle, *gateway).await?;
        }
        Ok(())
    })
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what.to_owned(), source }
}

fn check_table(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let fits =
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 32 && name.chars().all(legal);
    if fits { Ok(()) } else { Err(Error::Table(name.chars().take(32).collect())) }
}

/// Short (IFNAMSIZ is 16) and the same for the same address, whoever asks.
pub(crate) fn interface_name(gateway: Ipv4Addr) -> String {
    format!("tl{:08x}", gateway.to_bits())
}

/// Is this an interface that we made for this pool?
fn is_ours(name: &str, pool: Range) -> bool {
    let bits = name.strip_prefix("tl").filter(|digits| digits.len() == 8);
    bits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|bits| pool.contains(Ipv4Addr::from_bits(bits)))
}

fn link(slots: &Slots, lease: Lease) -> Link {
    let (gateway, address) = slots.addresses(lease.slot);
    Link { host_interface: interface_name(gateway), address, gateway }
}

/// The namespace of a process, held open: the process may end meanwhile. Never our own, which would be reconfigured.
fn namespace(pid: u32) -> Result<File, Error> {
    let failed = |why: String| Error::Namespace { pid, why };
    let theirs = File::open(format!("/proc/{pid}/ns/net")).map_err(|error| failed(error.to_string()))?;
    let ours = File::open("/proc/self/ns/net").map_err(|error| failed(error.to_string()))?;
    let identity = |file: &File| {
        fstat(file).map(|known| (known.st_dev, known.st_ino)).map_err(|errno| failed(errno.to_string()))
    };
    if identity(&theirs)? == identity(&ours)? {
        return Err(failed("it is the host's own".to_owned()));
    }
    Ok(theirs)
}

/// The table on disk. After a change of the pool, entries are given up whose interfaces have gone; the others forbid the change.
fn load(path: &std::path::Path, pool: Range) -> Result<Slots, Error> {
    let empty = Slots::new(pool)?;
    let Some(known) = Slots::load(path)?.filter(|known| known.pool() != pool) else {
        return Ok(Slots::load(path)?.unwrap_or(empty));
    };
    let interfaces = netlink::with(None, async |handle| netlink::interfaces(handle).await)?;
    let alive = interfaces.iter().filter(|interface| is_ours(&interface.name, known.pool())).count();
    if alive == 0 {
        return Ok(empty);
    }
    Err(Error::Pool(format!(
        "{alive} instances still have addresses of the former pool {}: stop them first, or keep it",
        known.pool()
    )))
}

/// A pool that the host itself routes somewhere would cut the host off from there.
fn refuse_overlap(pool: Range) -> Result<(), Error> {
    let (routes, interfaces) = netlink::with(None, async |handle| {
        Ok((netlink::routes(handle).await?, netlink::interfaces(handle).await?))
    })?;
    match foreign(&routes, &interfaces, pool) {
        Some(range) => Err(Error::Pool(format!("{pool} overlaps the host's route to {range}"))),
        None => Ok(()),
    }
}

/// A range of the pool that the host routes to somewhere else than to an instance. An interface that is not there any more is an instance's that has
/// just ended: the kernel takes its route away a moment later.
fn foreign(routes: &[netlink::Route], interfaces: &[netlink::Interface], pool: Range) -> Option<Range> {
    let elsewhere =
        |index: &u32| interfaces.iter().any(|known| known.index == *index && !is_ours(&known.name, pool));
    let mut foreign =
        routes.iter().filter(|route| route.range.prefix > 0 && route.interfaces.iter().any(elsewhere));
    foreign.find(|route| route.range.overlaps(&pool)).map(|route| route.range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_short_and_told_from_others() {
        let pool = Range::new(Ipv4Addr::new(10, 177, 0, 0), 16).expect("a range");
        let name = interface_name(Ipv4Addr::new(10, 177, 0, 1));
        assert_eq!(name, "tl0ab10001");
        assert!(is_ours(&name, pool));
        for other in ["tl0ab20001", "tlx", "eth0", "tl00ab10001"] {
            assert!(!is_ours(other, pool), "{other}");
        }
    }

    #[test]
    fn only_a_route_to_something_else_is_in_the_way() {
        let range = |text: [u8; 4], prefix| Range::new(text.into(), prefix).expect("a range");
        let pool = range([10, 177, 0, 0], 16);
        let interface = |index, name: &str| netlink::Interface { index, name: name.into(), mtu: 1500 };
        let interfaces = [interface(2, "eth0"), interface(3, "tl0ab10001")];
        let found = |interfaces_of: Vec<u32>, to| {
            let route = netlink::Route { range: to, interfaces: interfaces_of };
            foreign(&[route], &interfaces, pool)
        };
        let slot = range([10, 177, 0, 0], 30);
        assert_eq!(found(vec![3], slot), None, "an instance's");
        assert_eq!(found(vec![99], slot), None, "an instance's that has just ended");
        assert_eq!(found(vec![2], slot), Some(slot), "the host's own network");
        assert_eq!(found(vec![2], range([10, 0, 0, 0], 8)), Some(range([10, 0, 0, 0], 8)));
        assert_eq!(found(vec![2], range([0, 0, 0, 0], 0)), None, "the default route");
        assert_eq!(found(vec![2], range([10, 178, 0, 0], 16)), None);
    }

    #[test]
    fn table_names_cannot_carry_rules() {
        for bad in ["", "a b", "x { }", "1a", "a;b", "A"] {
            assert!(check_table(bad).is_err(), "{bad:?}");
        }
        assert!(check_table("teal_1").is_ok());
    }
}
