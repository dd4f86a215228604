//! The machine's own end of its network, by ioctl: one address, one gateway, loopback.

use crate::error::{Doing, Error};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::{
    io,
    mem::{size_of, zeroed},
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};
use teal_core::agent::Link;

const INTERFACE: &str = "eth0";
/// Of a network of four addresses.
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 252);

/// Takes loopback and the interface up.
pub(crate) fn configure(link: &Link, mtu: u32) -> Result<(), Error> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .doing("open a socket")?;
    up(&socket, "lo").doing("take loopback up")?;
    let what = "set the machine's address";
    set_mtu(&socket, mtu).doing("set the largest packet")?;
    set_address(&socket, libc::SIOCSIFADDR, link.address).doing(what)?;
    set_address(&socket, libc::SIOCSIFNETMASK, NETMASK).doing(what)?;
    up(&socket, INTERFACE).doing("take the network up")?;
    add_route(&socket, link.gateway).doing("set the default route")
}

fn request(interface: &str) -> libc::ifreq {
    // SAFETY: the structure consists of numbers and a union of such; all zero is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request
}

fn up(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    let mut request = request(interface);
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    call(socket, libc::SIOCSIFFLAGS, &raw const request)
}

fn set_mtu(socket: &OwnedFd, mtu: u32) -> io::Result<()> {
    let mut request = request(INTERFACE);
    request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).map_err(io::Error::other)?;
    call(socket, libc::SIOCSIFMTU, &raw const request)
}

fn set_address(socket: &OwnedFd, number: libc::c_ulong, address: Ipv4Addr) -> io::Result<()> {
    let mut request = request(INTERFACE);
    request.ifr_ifru.ifru_addr = socket_address(address);
    call(socket, number, &raw const request)
}

fn add_route(socket: &OwnedFd, gateway: Ipv4Addr) -> io::Result<()> {
    // SAFETY: the structure consists of numbers and pointers that may be null.
    let mut route: libc::rtentry = unsafe { zeroed() };
    route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = socket_address(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    call(socket, libc::SIOCADDRT, &raw const route)
}

fn call<T>(socket: &OwnedFd, number: libc::c_ulong, argument: *const T) -> io::Result<()> {
    // SAFETY: every caller passes the structure that its call reads, alive through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), number as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let internet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    const { assert!(size_of::<libc::sockaddr_in>() == size_of::<libc::sockaddr>()) };
    // SAFETY: both are plain numbers of the same size, and the family says which of them it is.
    unsafe { std::mem::transmute(internet) }
}
