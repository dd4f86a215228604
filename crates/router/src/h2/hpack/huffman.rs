//! The Huffman code of header blocks (RFC 7541, 5.2 and appendix B). The code is canonical, so that the lengths of its words say all of it; the tables
//! are made of them when Teal is compiled.
//!
//! Short words, which nearly everything consists of, are found by one look at the next ten bits.

use super::Odd;

/// The length of each byte's word, and of the one that stands for the end.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

/// The end's symbol.
const END: u16 = 256;
/// Words up to this length are looked up at once.
const SHORT: u32 = 10;
const LONGEST: usize = 30;

/// The code, as it is looked up.
struct Code {
    /// By the next [`SHORT`] bits: a byte and the length of its word; length 0: the word is longer.
    short: [(u8, u8); 1 << SHORT],
    /// All symbols by their words.
    symbols: [u16; 257],
    /// By length: the first word, where its symbol is, and how many there are.
    first: [u32; LONGEST + 1],
    start: [u16; LONGEST + 1],
    count: [u16; LONGEST + 1],
}

static CODE: Code = made();

const fn made() -> Code {
    let mut code = Code {
        short: [(0, 0); 1 << SHORT],
        symbols: [0; 257],
        first: [0; LONGEST + 1],
        start: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
    };
    let (mut word, mut place, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        code.first[length] = word;
        code.start[length] = place as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                code.symbols[place] = symbol as u16;
                code.count[length] += 1;
                code = with_short(code, word, length as u32, symbol as u8);
                (place, word) = (place + 1, word + 1);
            }
            symbol += 1;
        }
        (word, length) = (word << 1, length + 1);
    }
    code
}

const fn with_short(mut code: Code, word: u32, length: u32, symbol: u8) -> Code {
    if length <= SHORT {
        let span = 1 << (SHORT - length);
        let mut at = 0;
        while at < span {
            code.short[(word << (SHORT - length)) as usize + at] = (symbol, length as u8);
            at += 1;
        }
    }
    code
}

/// Reads a string, and writes it behind `out`.
pub(super) fn decode(mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Odd> {
    // The bits that come next, from the left, and how many there are.
    let (mut bits, mut count) = (0_u64, 0_u32);
    loop {
        while count <= 56
            && let Some((byte, rest)) = bytes.split_first()
        {
            bits |= u64::from(*byte) << (56 - count);
            (bytes, count) = (rest, count + 8);
        }
        let (symbol, length) = CODE.short[usize::try_from(bits >> (64 - SHORT)).map_err(|_| Odd)?];
        let (symbol, length) = match length {
            0 => long(bits).ok_or(Odd)?,
            length => (symbol, u32::from(length)),
        };
        if length > count {
            return if is_padding(bits, count) { Ok(()) } else { Err(Odd) };
        }
        out.push(symbol);
        (bits, count) = (bits << length, count - length);
    }
}

/// A byte whose word is a long one; none for the end, which must not stand in a string. What may be padding is none either way, and has no such length.
fn long(bits: u64) -> Option<(u8, u32)> {
    for length in SHORT as usize + 1..=LONGEST {
        let word = u32::try_from(bits >> (64 - length)).ok()?;
        let place = word.checked_sub(CODE.first[length])?;
        if place < u32::from(CODE.count[length]) {
            let symbol = CODE.symbols[usize::from(CODE.start[length]) + usize::try_from(place).ok()?];
            return (symbol != END)
                .then_some(())
                .and_then(|()| u8::try_from(symbol).ok())
                .zip(u32::try_from(length).ok());
        }
    }
    None
}

/// The bits that are left are fewer than a byte, and all ones.
fn is_padding(bits: u64, count: u32) -> bool {
    count < 8 && (!bits).leading_zeros() >= count
}

/// Writes a string in this code: for tests, because what we send is short enough.
#[cfg(any(test, fuzzing))]
pub(crate) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0_u32);
    for byte in text {
        let length = usize::from(LENGTHS[usize::from(*byte)]);
        let start = usize::from(CODE.start[length]);
        let of_length = &CODE.symbols[start..start + usize::from(CODE.count[length])];
        let place =
            of_length.iter().position(|symbol| *symbol == u16::from(*byte)).expect("every byte has a word");
        bits = bits << length | (u64::from(CODE.first[length]) + place as u64);
        count += u32::from(LENGTHS[usize::from(*byte)]);
        while count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    if count > 0 {
        out.push(((bits << (8 - count)) as u8) | (0xff >> count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u8>, Odd> {
        let mut out = Vec::new();
        decode(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn the_standards_examples() {
        // RFC 7541, C.4 and C.6.
        let examples: [(&[u8], &str); 5] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81,
                    0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
        ];
        for (bytes, text) in examples {
            assert_eq!(read(bytes), Ok(text.as_bytes().to_vec()));
            let mut out = Vec::new();
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, bytes, "{text}");
        }
    }

    #[test]
    fn every_byte_has_its_word() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut coded = Vec::new();
        encode(&all, &mut coded);
        assert_eq!(read(&coded), Ok(all));
        assert_eq!(read(&[]), Ok(Vec::new()));
    }

    #[test]
    fn ends_and_odd_paddings_are_refused() {
        assert_eq!(read(&[0x49, 0x50, 0x9f, 0xff]), Err(Odd), "longer than seven bits");
        assert_eq!(read(&[0x49, 0x50, 0x90]), Err(Odd), "zeros");
        assert_eq!(read(&[0xff; 4]), Err(Odd), "the end");
        assert_eq!(read(&[0xff]), Err(Odd), "nothing but padding");
        assert_eq!(read(&[0x07]), Ok(b"0".to_vec()), "a short word and three ones");
        assert_eq!(read(&[0xfe]), Err(Odd), "the beginning of a long word");
    }
}
