//! Header blocks (HPACK) as bytes: everything is written out, nothing is remembered, so that a block means the same wherever it stands.

/// A number behind a prefix of so many bits (RFC 7541, 5.1); `first` holds the bits before the prefix.
pub(crate) fn integer(first: u8, bits: u8, value: usize) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).expect("small")];
    }
    let (mut bytes, mut rest) = (vec![first | u8::try_from(most).expect("small")], value - most);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("small") | 0x80);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("small"));
    bytes
}

/// A string as it is, without Huffman's code.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    [integer(0, 7, text.len()), text.to_vec()].concat()
}

/// A header line that nobody remembers.
pub(crate) fn line(name: &str, value: &str) -> Vec<u8> {
    literal(0x00, name, value)
}

/// A header line by its kind: 0x00 without a place in the table, 0x10 never to have one, 0x40 with one.
pub(crate) fn literal(kind: u8, name: &str, value: &str) -> Vec<u8> {
    [vec![kind], string(name.as_bytes()), string(value.as_bytes())].concat()
}

/// Header lines.
pub(crate) fn lines(lines: &[(&str, &str)]) -> Vec<u8> {
    lines.iter().flat_map(|(name, value)| line(name, value)).collect()
}

/// A request for a path.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    lines(&[(":method", method), (":scheme", "https"), (":path", path), (":authority", "shop.test")])
}

/// The most ordinary request.
pub(crate) fn get() -> Vec<u8> {
    request("GET", "/")
}

/// A request for `/` with further lines.
pub(crate) fn with(method: &str, path: &str, further: &[(&str, &str)]) -> Vec<u8> {
    [request(method, path), lines(further)].concat()
}

/// The status in a response's header block, whose first line it is; nothing if it stands in no way that is expected of it.
pub(crate) fn status(block: &[u8]) -> Option<u16> {
    let block = match block {
        [update, rest @ ..] if update & 0xe0 == 0x20 && *update != 0x3f => rest,
        block => block,
    };
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500].get(usize::from(indexed - 0x88)).copied()
        }
        [0x08 | 0x18 | 0x48, length, text @ ..] if length & 0x80 == 0 => {
            std::str::from_utf8(text.get(..3)?).ok()?.parse().ok()
        }
        [0x08 | 0x18 | 0x48, _, text @ ..] => digits(text),
        _ => None,
    }
}

/// Three digits in Huffman's code (RFC 7541, appendix B).
fn digits(text: &[u8]) -> Option<u16> {
    let bits = text.iter().take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << 8;
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let rest = bits << at;
        let (digit, length) = match (rest >> 27, rest >> 26) {
            (short @ 0..=2, _) => (short, 5),
            (_, long @ 0x19..=0x1f) => (long - 0x19 + 3, 6),
            _ => return None,
        };
        (at, number) = (at + length, number * 10 + digit);
    }
    u16::try_from(number).ok()
}

#[test]
fn statuses_are_read_in_each_of_their_forms() {
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x20, 0x8d]), Some(404));
    assert_eq!(status(&[0x48, 3, b'5', b'0', b'2']), Some(502));
    // As in RFC 7541, C.6.1.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02, 0x58]), Some(302));
    assert_eq!(status(&[0x58]), None);
    assert_eq!(integer(0, 5, 1337), [31, 154, 10]);
}
