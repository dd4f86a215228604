//! The host's end of a machine's network: an interface that is there as long as the keeper or the emulator holds it.

use crate::error::{Doing, Error};
use std::{
    fs::File,
    io,
    mem::zeroed,
    os::fd::{AsRawFd, OwnedFd},
};

/// Makes the interface. It is down: the server sets it up.
pub(crate) fn make(name: &str) -> Result<OwnedFd, Error> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .doing("open /dev/net/tun (is the kernel's module `tun` loaded?)")?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    // SAFETY: the structure consists of numbers and a union of such; all zero is valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let short = |_| Error::Refused("the flags of an interface do not fit".to_owned());
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(short)?;
    // SAFETY: `request` is what this call reads and writes, and lives through it.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    let made = if made < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    made.doing(format!("make the interface {name}"))?;
    Ok(device.into())
}
