//! Numbers of header blocks (RFC 7541, 5.1): in the last bits of a byte if they fit, in further bytes otherwise.

use super::Odd;

/// More bytes than a number has that means anything here: 2^28 and some.
const MOST_BYTES: usize = 5;

/// The number in the last `bits` bits of the first byte and what follows; and what is left behind it.
pub(super) fn read(bytes: &[u8], bits: u32) -> Result<(usize, &[u8]), Odd> {
    let (first, mut rest) = bytes.split_first().ok_or(Odd)?;
    let most = (1_usize << bits) - 1;
    let mut number = usize::from(*first) & most;
    if number < most {
        return Ok((number, rest));
    }
    for place in 0..MOST_BYTES {
        let (byte, behind) = rest.split_first().ok_or(Odd)?;
        rest = behind;
        let part = u32::from(byte & 0x7f).checked_shl(7 * u32::try_from(place).map_err(|_| Odd)?);
        // The last byte may not push bits out.
        let part = part.filter(|part| place < 4 || *part >> 28 == u32::from(byte & 0x7f)).ok_or(Odd)?;
        number = number.checked_add(usize::try_from(part).map_err(|_| Odd)?).ok_or(Odd)?;
        if byte & 0x80 == 0 {
            return Ok((number, rest));
        }
    }
    Err(Odd)
}

/// Writes a number behind the marks of its first byte.
pub(super) fn write(out: &mut Vec<u8>, marks: u8, bits: u32, mut number: usize) {
    let most = (1_usize << bits) - 1;
    let low = |number: usize| u8::try_from(number & 0x7f).unwrap_or(0);
    if number < most {
        return out.push(marks | low(number));
    }
    out.push(marks | low(most));
    number -= most;
    while number > 0x7f {
        out.push(0x80 | low(number));
        number >>= 7;
    }
    out.push(low(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_examples() {
        // RFC 7541, C.1.
        for (bytes, bits, number) in
            [(&[0x0a][..], 5, 10), (&[0x1f, 0x9a, 0x0a][..], 5, 1337), (&[0x2a][..], 8, 42)]
        {
            assert_eq!(read(bytes, bits), Ok((number, &[][..])));
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bits in 4..=7 {
            for number in [0, 1, 14, 15, 16, 30, 31, 62, 63, 126, 127, 128, 4096, 16_383, 1 << 20, 1 << 28] {
                let mut out = Vec::new();
                write(&mut out, 0, bits, number);
                assert_eq!(read(&out, bits), Ok((number, &[][..])), "{bits} {number}");
            }
        }
    }

    #[test]
    fn numbers_without_end_are_none() {
        for odd in [&[][..], &[0x1f], &[0x1f, 0x80], &[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]] {
            assert_eq!(read(odd, 5), Err(Odd), "{odd:?}");
        }
        assert_eq!(read(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f], 5), Err(Odd), "more than 32 bits");
    }
}
