//! The PROXY protocol, versions 1 and 2: what a proxy that passes connections on says first, so that the client behind it is known. Bytes in,
//! decisions out.
//!
//! It must never take a byte that belongs to what follows the header, and never guess: what is not exactly a header ends the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A header of version 1, with its line end.
const MAX_LINE: usize = 107;
/// What version 2 may announce behind its first sixteen bytes. The largest that is known, with a certificate's names, is a few hundred.
const MAX_BLOCK: usize = 4096;
/// No header is longer.
pub(crate) const MAX_HEADER: usize = FIXED + MAX_BLOCK;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8; 6] = b"PROXY ";
/// Version 2 before the part whose length it announces.
const FIXED: usize = 16;
/// Two paths of UNIX sockets.
const UNIX: usize = 216;

/// What has to be done with a header of which these bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// At least so many more bytes belong to it.
    More(usize),
    /// All bytes up to the next line feed belong to it, and it too.
    Line,
    /// It is whole. The client, if the proxy speaks for one; else the connection is the proxy's own.
    Whole(Option<SocketAddr>),
}

/// What came is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came first is no header of the PROXY protocol")]
pub(crate) struct Malformed;

/// Looks at the bytes that came so far, none of which may be beyond the header.
///
/// # Errors
/// If no header begins like this.
pub(crate) fn step(bytes: &[u8]) -> Result<Step, Malformed> {
    let begins = |with: &[u8]| with.iter().zip(bytes).all(|(one, other)| one == other);
    if bytes.len() < SIGNATURE.len() && (begins(SIGNATURE) || begins(WORD)) {
        // No header of either version is shorter.
        return Ok(Step::More(SIGNATURE.len() - bytes.len()));
    }
    if begins(SIGNATURE) {
        return binary(bytes);
    }
    if !begins(WORD) {
        return Err(Malformed);
    }
    match bytes.strip_suffix(b"\n") {
        Some(line) if bytes.len() <= MAX_LINE => text(line).map(Step::Whole),
        None if bytes.len() < MAX_LINE => Ok(Step::Line),
        _ => Err(Malformed),
    }
}

/// Version 1: `PROXY TCP4 <source> <destination> <port> <port>`, without its line feed.
fn text(line: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let line = line.strip_suffix(b"\r").and_then(|line| line.strip_prefix(WORD)).ok_or(Malformed)?;
    if !line.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        return Err(Malformed);
    }
    let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = line.split(' ');
    let family = words.next().ok_or(Malformed)?;
    if family == "UNKNOWN" {
        // Whatever it says about nobody is not looked at.
        return Ok(None);
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, from, to] = words[..] else { return Err(Malformed) };
    let (source, _) = (address(family, source)?, address(family, destination)?);
    let (from, _) = (port(from)?, port(to)?);
    Ok(Some(SocketAddr::new(source.to_canonical(), from)))
}

fn address(family: &str, text: &str) -> Result<IpAddr, Malformed> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| Malformed),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

fn port(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed)
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Step, Malformed> {
    let Some((fixed, block)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Step::More(FIXED - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_BLOCK || block.len() > length {
        return Err(Malformed);
    }
    if block.len() < length {
        return Ok(Step::More(length - block.len()));
    }
    match command {
        // The proxy's own connection, to see whether we are there: the block is not looked at.
        0x20 => Ok(Step::Whole(None)),
        0x21 => source(family, block).map(Step::Whole),
        _ => Err(Malformed),
    }
}

fn source(family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match family {
        // Not over IP: nobody that could be named.
        0x00 => Ok(None),
        0x31 => fields(block.get(UNIX..)).map(|()| None),
        0x11 => {
            let (addresses, rest) = block.split_first_chunk::<12>().ok_or(Malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            fields(Some(rest))?;
            Ok(Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()))
        }
        0x21 => {
            let (addresses, rest) = block.split_first_chunk::<36>().ok_or(Malformed)?;
            let (source, [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, ..]) =
                addresses.split_first_chunk::<16>().ok_or(Malformed)?
            else {
                return Err(Malformed);
            };
            fields(Some(rest))?;
            let source = IpAddr::from(Ipv6Addr::from(*source)).to_canonical();
            Ok(Some(SocketAddr::new(source, u16::from_be_bytes([*high, *low]))))
        }
        // Datagrams do not come over a connection; anything else is not defined.
        _ => Err(Malformed),
    }
}

/// Further fields (a type, a length, a value each) are skipped, but they must fill the block exactly.
fn fields(block: Option<&[u8]>) -> Result<(), Malformed> {
    let mut rest = block.ok_or(Malformed)?;
    while !rest.is_empty() {
        let ([_, high, low], value) = rest.split_first_chunk::<3>().ok_or(Malformed)?;
        rest = value.get(usize::from(u16::from_be_bytes([*high, *low]))..).ok_or(Malformed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(block.len()).expect("short").to_be_bytes());
        bytes.extend(block);
        bytes
    }

    const FOUR: [u8; 12] = [203, 0, 113, 9, 192, 0, 2, 1, 0xc8, 0x15, 0, 80];

    fn six(source: [u8; 16]) -> Vec<u8> {
        [&source[..], &[0; 16], &[0x12, 0x34, 0, 80]].concat()
    }

    /// Takes the bytes as a reader does that never takes more than it may, `most` at a time; says how many it took.
    fn read(bytes: &[u8], most: usize) -> (Result<Option<SocketAddr>, Malformed>, usize) {
        let mut taken = 0;
        loop {
            let count = match step(&bytes[..taken]) {
                Ok(Step::More(count)) => count,
                Ok(Step::Line) => {
                    let end = bytes[taken..].iter().position(|byte| *byte == b'\n');
                    end.map_or(bytes.len() - taken, |end| end + 1)
                }
                Ok(Step::Whole(source)) => return (Ok(source), taken),
                Err(malformed) => return (Err(malformed), taken),
            };
            assert!(count > 0 && taken < bytes.len(), "stops at {taken} of {bytes:?}");
            taken = bytes.len().min(taken + count.min(most));
        }
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9];
        let public = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let with_fields = [&FOUR[..], &[1, 0, 2, b'h', b'2', 0xee, 0, 0]].concat();
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let text = |line: &str| line.as_bytes().to_vec();
        vec![
            (text("PROXY TCP4 203.0.113.9 192.0.2.1 51221 80\r\n"), Some("203.0.113.9:51221")),
            (text("PROXY TCP4 203.0.113.9 192.0.2.1 0 65535\r\n"), Some("203.0.113.9:0")),
            (text("PROXY TCP6 2001:db8::7 ::1 4660 80\r\n"), Some("[2001:db8::7]:4660")),
            (text("PROXY TCP6 ::ffff:203.0.113.9 ::1 1 80\r\n"), Some("203.0.113.9:1")),
            (text(longest), Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535")),
            (text("PROXY UNKNOWN\r\n"), None),
            (text("PROXY UNKNOWN ffff::1 anything at all\r\n"), None),
            (v2(0x21, 0x11, &FOUR), Some("203.0.113.9:51221")),
            (v2(0x21, 0x11, &with_fields), Some("203.0.113.9:51221")),
            (v2(0x21, 0x21, &six(public)), Some("[2001:db8::7]:4660")),
            (v2(0x21, 0x21, &six(mapped)), Some("203.0.113.9:4660")),
            (v2(0x21, 0x00, b"not looked at"), None),
            (v2(0x21, 0x31, &[7; UNIX]), None),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &FOUR), None),
            (v2(0x20, 0xff, &[1; MAX_BLOCK]), None),
        ]
    }

    #[test]
    fn headers_are_understood_however_they_come_and_nothing_behind_them_is_taken() {
        for (header, expected) in good() {
            let expected: Option<SocketAddr> = expected.map(|text| text.parse().expect("an address"));
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            for most in [1, 2, 7, usize::MAX] {
                assert_eq!(read(&bytes, most), (Ok(expected), header.len()), "{most} of {header:?}");
            }
            assert!(header.len() <= MAX_HEADER);
        }
    }

    #[test]
    fn a_header_that_is_cut_off_is_waited_for() {
        for (header, _) in good() {
            for cut in 0..header.len() {
                assert!(
                    matches!(step(&header[..cut]), Ok(Step::More(_) | Step::Line)),
                    "{cut} of {header:?}"
                );
            }
        }
    }

    #[test]
    fn lines_that_are_none_end_the_connection() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 15));
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 203.0.113.9 192.0.2.1 51221 80\r\n",
            "PROXY  TCP4 203.0.113.9 192.0.2.1 51221 80\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 51221 80\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 51221 80 \r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 51221\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 51221 80 1\r\n",
            "PROXY TCP4 203.0.113.09 192.0.2.1 51221 80\r\n",
            "PROXY TCP4 203.0.113 192.0.2.1 51221 80\r\n",
            "PROXY TCP4 2001:db8::7 ::1 51221 80\r\n",
            "PROXY TCP6 203.0.113.9 192.0.2.1 51221 80\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 51221 80\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 65536 80\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 051221 80\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 +1 80\r\n",
            "PROXY TCP4 203.0.113.9 192.0.2.1 1\r 80\r\n",
            "PROXY UDP4 203.0.113.9 192.0.2.1 51221 80\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN \0\r\n",
            "PROXY \r\nGET / HTTP/1.1\r\n",
            "PROXY UNKNOWN\n",
            &long,
        ] {
            assert_eq!(read(line.as_bytes(), 1).0, Err(Malformed), "{line:?}");
            assert_eq!(read(line.as_bytes(), usize::MAX).0, Err(Malformed), "{line:?}");
        }
        assert_eq!(step(&long.as_bytes()[..MAX_LINE]), Err(Malformed), "it is not read on for ever");
    }

    #[test]
    fn whatever_comes_there_is_one_end_or_none() {
        let mut seed: u64 = 7;
        let mut below = |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).expect("fits") % bound
        };
        let (good, mut whole) = (good(), 0);
        for round in 0..20_000 {
            let mut bytes = good[below(good.len())].0.clone();
            bytes.truncate(120);
            for _ in 0..below(3) {
                let at = below(bytes.len());
                bytes[at] = u8::try_from(below(256)).expect("a byte");
            }
            bytes.extend(b"GET / HTTP/1.1\r\n");
            let (slow, at) = read(&[&bytes[..], &[0; MAX_HEADER]].concat(), 1);
            let (fast, end) = read(&[&bytes[..], &[0; MAX_HEADER]].concat(), usize::MAX);
            assert_eq!(slow, fast, "round {round}: {bytes:?}");
            if slow.is_ok() {
                assert_eq!(at, end, "round {round}: {bytes:?}");
                whole += 1;
            }
            assert!(end <= MAX_HEADER + MAX_LINE, "round {round}");
        }
        assert!(whole > 2_000, "{whole}");
    }

    #[test]
    fn blocks_that_are_none_end_the_connection() {
        let torn = [&FOUR[..], &[1, 0]].concat();
        let beyond = [&FOUR[..], &[1, 0, 2, b'h']].concat();
        let mut wrong = v2(0x21, 0x11, &FOUR);
        wrong[11] = b'\r';
        let mut long = v2(0x20, 0, b"");
        long[14..16].copy_from_slice(&u16::try_from(MAX_BLOCK + 1).expect("short").to_be_bytes());
        for bytes in [
            v2(0x11, 0x11, &FOUR),
            v2(0x22, 0x11, &FOUR),
            v2(0x21, 0x12, &FOUR),
            v2(0x21, 0x13, &FOUR),
            v2(0x21, 0x11, &FOUR[..11]),
            v2(0x21, 0x21, &FOUR),
            v2(0x21, 0x31, &[0; UNIX - 1]),
            v2(0x21, 0x11, &torn),
            v2(0x21, 0x11, &beyond),
            wrong,
            long,
        ] {
            assert_eq!(read(&bytes, usize::MAX).0, Err(Malformed), "{bytes:?}");
        }
        assert_eq!(step(&[&v2(0x20, 0, b"")[..], b"x"].concat()), Err(Malformed), "more than it says");
    }
}
