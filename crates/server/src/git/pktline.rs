//! Git's packet lines, as far as a hook speaks them: four hexadecimal digits of length, then the payload; `0000` ends a list.

use std::io::{self, Read, Write};

/// Reads one packet; `None` is a flush.
pub(super) fn read(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = std::str::from_utf8(&length).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    match length {
        Some(0) => Ok(None),
        Some(length @ 4..) => {
            let mut payload = vec![0; length - 4];
            input.read_exact(&mut payload)?;
            Ok(Some(payload))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "git sent a packet of an impossible length")),
    }
}

/// Writes one packet.
pub(super) fn write(output: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    write!(output, "{:04x}", payload.len() + 4)?;
    output.write_all(payload)
}

/// Ends a list of packets.
pub(super) fn flush(output: &mut impl Write) -> io::Result<()> {
    output.write_all(b"0000")?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_as_they_were_written() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"ok refs/heads/main").expect("writes");
        flush(&mut bytes).expect("writes");
        let mut input = bytes.as_slice();
        assert_eq!(read(&mut input).expect("reads").as_deref(), Some(&b"ok refs/heads/main"[..]));
        assert_eq!(read(&mut input).expect("reads"), None);
        assert!(read(&mut &b"0003"[..]).is_err() && read(&mut &b"zzzz"[..]).is_err());
    }
}
