//! The clock and the random numbers of a machine that may have slept.
//!
//! A machine that is restored has the random numbers of the moment at which it was saved: without fresh entropy, two wakes give the same.

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_settime},
};
use std::{fs::File, io, os::fd::AsRawFd};
use teal_core::machine::SEED;

const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;

/// What the kernel reads: how many bits are good, how many bytes there are, and the bytes.
#[repr(C)]
struct Pool {
    bits: libc::c_int,
    bytes: libc::c_int,
    data: [u8; SEED],
}

/// Sets the wall clock.
pub(crate) fn set(now_ns: u64) -> io::Result<()> {
    let seconds = i64::try_from(now_ns / 1_000_000_000).map_err(io::Error::other)?;
    let rest = i64::try_from(now_ns % 1_000_000_000).map_err(io::Error::other)?;
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, rest)).map_err(io::Error::from)
}

/// Mixes the host's entropy in and makes every random number from now on depend on it.
pub(crate) fn stir(seed: &[u8]) -> io::Result<()> {
    let short = |_| io::Error::other(format!("{} bytes of entropy, {SEED} are needed", seed.len()));
    let data: [u8; SEED] = seed.try_into().map_err(short)?;
    let size = libc::c_int::try_from(SEED).map_err(io::Error::other)?;
    let pool = Pool { bits: size * 8, bytes: size, data };
    let random = File::options().write(true).open("/dev/random")?;
    // SAFETY: `pool` has the layout that the kernel reads and lives through the call.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDADDENTROPY as _, &raw const pool) })?;
    // SAFETY: takes no argument.
    check(unsafe { libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG as _) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
