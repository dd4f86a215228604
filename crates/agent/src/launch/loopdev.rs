//! Loop devices: an image file becomes a block device that frees itself with its last mount.

use std::{
    fs::File,
    io,
    mem::{size_of, zeroed},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// Others take devices at the same time; more failures in a row than this are no coincidence.
const ATTEMPTS: u32 = 64;

#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Config>() == 304);

/// Attaches `image` to a free device. The device is free again when both the returned file and the last mount of it are gone.
pub(crate) fn attach(image: &Path) -> io::Result<(File, PathBuf)> {
    let backing = File::options().read(true).write(true).open(image)?;
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..ATTEMPTS {
        // SAFETY: takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::options().read(true).write(true).open(&path)?;
        match configure(&device, &backing) {
            Ok(()) => return Ok((device, path)),
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

fn configure(device: &File, backing: &File) -> io::Result<()> {
    // SAFETY: the structure consists of numbers; all zero is valid.
    let mut config: Config = unsafe { zeroed() };
    config.fd = backing.as_raw_fd().cast_unsigned();
    config.info.flags = LO_FLAGS_AUTOCLEAR;
    // SAFETY: `config` has the kernel's layout (its size is asserted) and lives through the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
