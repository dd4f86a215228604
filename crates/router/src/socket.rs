//! A socket that does at once what it can, and asks for nothing: whoever wants to wait asks the runtime.

use nix::sys::socket::{MsgFlags, recv};
use std::{
    io::{self, IoSlice, Read, Write},
    os::fd::AsRawFd,
};
use tokio::{io::Interest, net::TcpStream};

/// A socket, for one call.
pub(crate) struct Socket<'a>(pub(crate) &'a TcpStream);

impl Socket<'_> {
    /// Something came, or the end, as far as the runtime has been told.
    pub(crate) fn has_news(&self) -> bool {
        self.0.try_io(Interest::READABLE, || Ok(())).is_ok()
    }
}

impl Read for Socket<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut drained = None;
        let read = self.0.try_io(Interest::READABLE, || {
            let count = recv(self.0.as_raw_fd(), room, MsgFlags::empty())?;
            if (1..room.len()).contains(&count) {
                // Nothing more is there, and the next byte will be told: asking for it would be a call in vain.
                drained = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        drained.map_or(read, Ok)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
