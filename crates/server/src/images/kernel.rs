//! The kernel as a virtual machine starts it, out of the file that a boot loader starts. Pure: where in that file it is.
//!
//! A bzImage holds a small loader and, packed, the kernel itself. Started without the loader it needs no time for unpacking.

use std::ops::Range;

/// In the header, at these places: sectors of the loader, then place and length of what is packed.
const SECTORS: usize = 0x1f1;
const PLACE: usize = 0x248;
const LENGTH: usize = 0x24c;

/// How the packed kernel begins: LZ4 in its older frame, which Debian's cloud kernel uses.
const LZ4: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// Where the packed kernel is in this file, without the length that is appended to it.
///
/// # Errors
/// Why there is none.
pub(super) fn packed(file: &[u8]) -> Result<Range<usize>, &'static str> {
    if file.get(0x202..0x206) != Some(b"HdrS") {
        return Err("it is no kernel of this architecture");
    }
    let number = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let sectors = match file.get(SECTORS) {
        // So old a loader does not say; it has four.
        Some(0) => 4,
        Some(sectors) => usize::from(*sectors),
        None => return Err("it is cut off"),
    };
    let (Some(place), Some(length)) = (number(PLACE), number(LENGTH)) else { return Err("it is cut off") };
    let begin = (sectors + 1) * 512 + place;
    let end = begin.saturating_add(length).saturating_sub(4);
    match file.get(begin..end) {
        None => Err("it is cut off"),
        Some(bytes) if !bytes.starts_with(&LZ4) => Err("it is not packed with LZ4"),
        Some(_) => Ok(begin..end),
    }
}

/// Is this an unpacked kernel?
pub(super) fn is_unpacked(vmlinux: &[u8]) -> bool {
    vmlinux.starts_with(b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sectors: u8, place: u32, packed: &[u8]) -> Vec<u8> {
        let mut file = vec![0; (usize::from(sectors.max(4)) + 1) * 512 + place as usize];
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file[SECTORS] = sectors;
        file[PLACE..PLACE + 4].copy_from_slice(&place.to_le_bytes());
        file[LENGTH..LENGTH + 4].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        file.extend_from_slice(packed);
        file
    }

    #[test]
    fn the_packed_kernel_is_found_without_its_length() {
        let packed_bytes = [&LZ4[..], b"kernel", &[9, 9, 9, 9]].concat();
        for sectors in [0, 4, 27] {
            let file = file(sectors, 0x2c9, &packed_bytes);
            let range = packed(&file).expect("found");
            assert_eq!(file[range], [&LZ4[..], b"kernel"].concat(), "{sectors}");
        }
    }

    #[test]
    fn what_is_no_such_kernel_is_refused() {
        assert!(packed(b"short").is_err());
        assert!(packed(&vec![0; 4096]).is_err());
        let gzip = file(4, 0, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(packed(&gzip), Err("it is not packed with LZ4"));
        let mut cut = file(4, 0, &LZ4);
        cut[LENGTH..LENGTH + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(packed(&cut), Err("it is cut off"));
    }
}
