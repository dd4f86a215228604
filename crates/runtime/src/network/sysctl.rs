//! The kernel's settings per interface. `/proc/sys/net` shows the network namespace of the thread that opens it.

use super::Error;
use std::{fs, io, path::PathBuf};

/// The host's end: it forwards, believes no forged source, answers ARP for its own address alone, and speaks no IPv6.
pub(crate) fn host_end(interface: &str) -> Result<(), Error> {
    let settings = [
        ("forwarding", "1"),
        ("rp_filter", "1"),
        ("arp_ignore", "1"),
        ("accept_redirects", "0"),
        ("send_redirects", "0"),
    ];
    settings.iter().try_for_each(|(name, value)| set(&format!("ipv4/conf/{interface}/{name}"), value))?;
    no_ipv6(interface)
}

/// The instance's end. Loopback keeps its IPv6.
pub(crate) fn guest_end(interface: &str) -> Result<(), Error> {
    no_ipv6(interface)
}

/// Lets the host forward packets that come in by this interface: the way back from the outside.
pub(crate) fn forward(interface: &str) -> Result<(), Error> {
    set(&format!("ipv4/conf/{interface}/forwarding"), "1")
}

/// A kernel without IPv6 has nothing to switch off.
fn no_ipv6(interface: &str) -> Result<(), Error> {
    let name = format!("ipv6/conf/{interface}/disable_ipv6");
    if path(&name).exists() { set(&name, "1") } else { Ok(()) }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(name)
}

/// Written only if it differs: some hosts forbid writing what they have already set.
fn set(name: &str, value: &str) -> Result<(), Error> {
    let path = path(name);
    if fs::read_to_string(&path).is_ok_and(|known| known.trim() == value) {
        return Ok(());
    }
    let file = fs::OpenOptions::new().write(true).open(&path);
    let written = file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|source| Error::Io {
        what: format!("{} could not be set to {value}; is /proc/sys writable?", path.display()),
        source,
    })
}
