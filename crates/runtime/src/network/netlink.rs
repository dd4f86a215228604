//! Interfaces, addresses and routes by netlink, in the host's network namespace or in an instance's.
//!
//! Everything runs on a thread of its own that ends with the call: a thread that entered another namespace must never serve anything else.

use super::{Error, pool::Range};
use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns};
use rtnetlink::{
    AddressAddRequest, AddressMessageBuilder, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth,
    RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressMessage, AddressScope},
        link::{InfoData, InfoVeth, LinkAttribute, LinkMessage, State},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};
use std::{
    collections::BTreeSet,
    fs::File,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
    thread,
    time::{Duration, Instant},
};

/// The name of an instance's interface as it sees it.
pub(crate) const GUEST_INTERFACE: &str = "eth0";
/// Every namespace has one.
const LOOPBACK: &str = "lo";
/// Every instance's network is of this size.
const PREFIX: u8 = 30;
/// The longest wait for an interface to work.
const SETTLE_WAIT: Duration = Duration::from_secs(3);
/// Between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) range: Range,
    /// Interfaces that it leads to, by number.
    pub(crate) interfaces: Vec<u32>,
}

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
}

/// Runs `work` with a netlink connection, inside `namespace` if one is given.
pub(crate) fn with<T, W>(namespace: Option<BorrowedFd<'_>>, work: W) -> Result<T, Error>
where
    T: Send,
    W: AsyncFnOnce(&Handle) -> Result<T, Error> + Send,
{
    let failed = |source| Error::Io { what: "a netlink connection could not be opened".to_owned(), source };
    thread::scope(|scope| {
        let worker = thread::Builder::new().name("teal-netlink".to_owned()).spawn_scoped(scope, move || {
            if let Some(namespace) = namespace {
                setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
            }
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            runtime.block_on(async {
                let (connection, handle, _messages) = rtnetlink::new_connection().map_err(failed)?;
                tokio::spawn(connection);
                work(&handle).await
            })
        });
        let panicked = |_| Error::Io {
            what: "the netlink thread ended by itself".to_owned(),
            source: std::io::ErrorKind::Other.into(),
        };
        worker.map_err(failed)?.join().map_err(panicked)?
    })
}

fn netlink(what: &str) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |source| Error::Netlink { what: what.to_owned(), source: Box::new(source) }
}

fn is(error: &rtnetlink::Error, code: i32) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -code)
}

/// The message about the interface of that name, if there is one.
async fn message(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, Error> {
    match handle.link().get().match_name(name).execute().try_next().await {
        Ok(found) => Ok(found),
        Err(error) if is(&error, libc::ENODEV) => Ok(None),
        Err(error) => Err(netlink("an interface could not be looked up")(error)),
    }
}

/// The number of the interface of that name, if there is one.
pub(crate) async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    Ok(message(handle, name).await?.map(|found| found.header.index))
}

/// Removes an interface (and its other end). Idempotent.
pub(crate) async fn delete(handle: &Handle, name: &str) -> Result<(), Error> {
    let Some(index) = index(handle, name).await? else { return Ok(()) };
    match handle.link().del(index).execute().await {
        Err(error) if is(&error, libc::ENODEV) => Ok(()),
        result => result.map_err(netlink("an instance's interface could not be removed")),
    }
}

/// Makes a pair of interfaces: `name` here, [`GUEST_INTERFACE`] in `namespace`. Both are down.
pub(crate) async fn create(handle: &Handle, name: &str, mtu: u32, namespace: &File) -> Result<(), Error> {
    let peer = LinkMessageBuilder::<LinkUnspec>::default()
        .name(GUEST_INTERFACE)
        .mtu(mtu)
        .setns_by_fd(namespace.as_raw_fd())
        .build();
    let pair =
        LinkVeth::new(name, GUEST_INTERFACE).mtu(mtu).set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
    handle
        .link()
        .add(pair.build())
        .execute()
        .await
        .map_err(netlink("the pair of interfaces could not be made"))
}

/// Gives an interface its address and takes it up. Idempotent.
pub(crate) async fn configure(handle: &Handle, name: &str, address: Ipv4Addr) -> Result<(), Error> {
    let missing = || Error::Io {
        what: format!("the interface {name} has gone"),
        source: std::io::ErrorKind::NotFound.into(),
    };
    let index = index(handle, name).await?.ok_or_else(missing)?;
    let wanted = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, PREFIX).build();
    let mut request = handle.address().add(index, address.into(), PREFIX).replace();
    *request.message_mut() = wanted;
    request.execute().await.map_err(netlink("an address could not be set"))?;
    up(handle, index).await
}

/// The host's own whether or not any interface has it: its sockets can still be told something after an instance's interface went. Idempotent.
pub(crate) async fn hold(handle: &Handle, address: Ipv4Addr) -> Result<(), Error> {
    let (mut request, wanted) = loopback(handle, address).await?;
    *request.message_mut() = wanted;
    request.execute().await.map_err(netlink("an address could not be held"))
}

/// Gives up what was held. Idempotent.
pub(crate) async fn release(handle: &Handle, address: Ipv4Addr) -> Result<(), Error> {
    let (_, held) = loopback(handle, address).await?;
    match handle.address().del(held).execute().await {
        Err(error) if is(&error, libc::EADDRNOTAVAIL) => Ok(()),
        result => result.map_err(netlink("an address could not be given up")),
    }
}

/// What is held of these addresses.
pub(crate) async fn held(handle: &Handle, pool: Range) -> Result<Vec<Ipv4Addr>, Error> {
    let Some(index) = index(handle, LOOPBACK).await? else { return Ok(Vec::new()) };
    let all: Vec<AddressMessage> = handle
        .address()
        .get()
        .set_link_index_filter(index)
        .execute()
        .try_collect()
        .await
        .map_err(netlink("addresses could not be listed"))?;
    let address = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(std::net::IpAddr::V4(address)) => Some(*address),
        _ => None,
    };
    let addresses = all.iter().filter_map(|message| message.attributes.iter().find_map(address));
    Ok(addresses.filter(|address| pool.contains(*address)).collect())
}

/// Such an address, of this host only: nothing else is ever sent from it.
async fn loopback(handle: &Handle, address: Ipv4Addr) -> Result<(AddressAddRequest, AddressMessage), Error> {
    let missing = || Error::Io {
        what: "this host has no loopback interface".to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    let index = index(handle, LOOPBACK).await?.ok_or_else(missing)?;
    let mut message = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, 32).build();
    message.header.scope = AddressScope::Host;
    Ok((handle.address().add(index, address.into(), 32).replace(), message))
}

/// Sets the largest packet of an interface.
pub(crate) async fn limit(handle: &Handle, name: &str, mtu: u32) -> Result<(), Error> {
    let Some(index) = index(handle, name).await? else { return Ok(()) };
    let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
    handle.link().set(message).execute().await.map_err(netlink("the largest packet could not be set"))
}

/// Takes an interface up.
async fn up(handle: &Handle, index: u32) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(message).execute().await.map_err(netlink("an interface could not be taken up"))
}

/// Waits until the kernel has noticed that an interface's other end is up. It notices up to a second late, and drops what is sent until then:
/// the first connection would lose its first packet, and a second with it. It is no error if that takes longer.
pub(crate) async fn settle(handle: &Handle, name: &str) -> Result<(), Error> {
    let until = Instant::now() + SETTLE_WAIT;
    while let Some(found) = message(handle, name).await? {
        let up =
            found.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::OperState(State::Up)));
        if up || Instant::now() > until {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Inside an instance's namespace: loopback, address, default route. Idempotent.
pub(crate) async fn configure_guest(
    handle: &Handle,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<(), Error> {
    if let Some(loopback) = index(handle, LOOPBACK).await? {
        up(handle, loopback).await?;
    }
    configure(handle, GUEST_INTERFACE, address).await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
    handle.route().add(route).replace().execute().await.map_err(netlink("the default route could not be set"))
}

/// Inside an instance's namespace: does its interface have this address, and is its other end number `host`?
pub(crate) async fn guest_is(handle: &Handle, host: u32, address: Ipv4Addr) -> Result<bool, Error> {
    let Some(found) = message(handle, GUEST_INTERFACE).await? else { return Ok(false) };
    let other_end = found
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::Link(end) if *end == host));
    let mut addresses = handle.address().get().set_link_index_filter(found.header.index).execute();
    let mut same = false;
    while let Some(known) = addresses.try_next().await.map_err(netlink("addresses could not be listed"))? {
        same |= known
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, AddressAttribute::Address(ip) if *ip == address));
    }
    Ok(other_end && same)
}

/// Every interface.
pub(crate) async fn interfaces(handle: &Handle) -> Result<Vec<Interface>, Error> {
    let all: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(netlink("interfaces could not be listed"))?;
    Ok(all.iter().filter_map(interface).collect())
}

fn interface(message: &LinkMessage) -> Option<Interface> {
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let mtu = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    Some(Interface { index: message.header.index, name, mtu: mtu.unwrap_or(1500) })
}

/// The IPv4 routes of all tables but the kernel's own local one.
pub(crate) async fn routes(handle: &Handle) -> Result<Vec<Route>, Error> {
    let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let all: Vec<RouteMessage> = handle
        .route()
        .get(all)
        .execute()
        .try_collect()
        .await
        .map_err(netlink("routes could not be listed"))?;
    let local = |message: &RouteMessage| message.header.table == libc::RT_TABLE_LOCAL;
    let unicast = |message: &RouteMessage| message.header.kind == RouteType::Unicast;
    Ok(all.iter().filter(|message| !local(message) && unicast(message)).filter_map(route).collect())
}

fn route(message: &RouteMessage) -> Option<Route> {
    let mut base = Ipv4Addr::UNSPECIFIED;
    let mut interfaces = BTreeSet::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => base = *address,
            RouteAttribute::Oif(index) => drop(interfaces.insert(*index)),
            RouteAttribute::MultiPath(hops) => interfaces.extend(hops.iter().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    let range = Range::new(base, message.header.destination_prefix_length)?;
    Some(Route { range, interfaces: interfaces.into_iter().collect() })
}
