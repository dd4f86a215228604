//! Reads header blocks: what each line is, in order, whatever way it is written (RFC 7541, 6).

use super::{Odd, huffman, integer, statics::LINES, table::Table};

/// What a table may hold: the standard's first value, and we never say another one.
const MOST: usize = 4096;

/// One client's blocks, and what it had us remember.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// Where strings are decoded to.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// Before the first block.
    pub(crate) fn new() -> Self {
        Self { table: Table::new(MOST), name: Vec::new(), value: Vec::new() }
    }

    /// Hands each line of a whole block on.
    ///
    /// # Errors
    /// If it is none; no further block can be read then.
    pub(crate) fn read(&mut self, mut block: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Odd> {
        let mut begun = false;
        while let Some(first) = block.first() {
            block = match first {
                0x80.. => {
                    let (number, rest) = integer::read(block, 7)?;
                    let (name, value) = self.line(number)?;
                    each(name, value);
                    rest
                }
                0x40.. => self.literal(block, 6, true, &mut each)?,
                0x20.. if begun => return Err(Odd),
                0x20.. => {
                    let (size, rest) = integer::read(block, 5)?;
                    if size > MOST {
                        return Err(Odd);
                    }
                    self.table.resize(size);
                    block = rest;
                    continue;
                }
                _ => self.literal(block, 4, false, &mut each)?,
            };
            begun = true;
        }
        Ok(())
    }

    /// A line that is spelt out, at least its value.
    fn literal<'b>(
        &mut self,
        block: &'b [u8],
        bits: u32,
        remembered: bool,
        each: &mut impl FnMut(&[u8], &[u8]),
    ) -> Result<&'b [u8], Odd> {
        let (number, rest) = integer::read(block, bits)?;
        let (mut name, mut value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        name.clear();
        value.clear();
        let rest = if number > 0 {
            name.extend_from_slice(self.line(number)?.0);
            rest
        } else {
            string(rest, &mut name)?
        };
        let rest = string(rest, &mut value)?;
        each(&name, &value);
        if remembered {
            self.table.add(&name, &value);
        }
        (self.name, self.value) = (name, value);
        Ok(rest)
    }

    fn line(&self, number: usize) -> Result<(&[u8], &[u8]), Odd> {
        let place = number.checked_sub(1).ok_or(Odd)?;
        if let Some((name, value)) = LINES.get(place) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        self.table.line(place - LINES.len()).ok_or(Odd)
    }
}

/// Reads a string, and writes it behind `out`; what is left behind it.
fn string<'b>(block: &'b [u8], out: &mut Vec<u8>) -> Result<&'b [u8], Odd> {
    let coded = block.first().ok_or(Odd)? & 0x80 != 0;
    let (length, rest) = integer::read(block, 7)?;
    let (text, rest) = rest.split_at_checked(length).ok_or(Odd)?;
    if coded {
        huffman::decode(text, out)?;
    } else {
        out.extend_from_slice(text);
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16);
        digits.chunks(2).map(|pair| byte(pair).expect("hexadecimal")).collect()
    }

    fn read(decoder: &mut Decoder, block: &str) -> Result<String, Odd> {
        let mut all = String::new();
        decoder.read(&hex(block), |name, value| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            all += &format!("{}: {}\n", text(name), text(value));
        })?;
        Ok(all)
    }

    /// RFC 7541, C.2: each way to write a line, on a connection of its own.
    #[test]
    fn the_standards_single_lines() {
        let alone = |block| read(&mut Decoder::new(), block);
        assert_eq!(
            alone("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"),
            Ok("custom-key: custom-header\n".into())
        );
        assert_eq!(alone("040c 2f73 616d 706c 652f 7061 7468"), Ok(":path: /sample/path\n".into()));
        assert_eq!(alone("1008 7061 7373 776f 7264 0673 6563 7265 74"), Ok("password: secret\n".into()));
        assert_eq!(alone("82"), Ok(":method: GET\n".into()));
    }

    const REQUESTS: [&str; 3] = [
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n",
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache\n",
        ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n",
    ];

    /// RFC 7541, C.3 and C.4: the same three requests on one connection, plain and in Huffman's code.
    #[test]
    fn the_standards_requests() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new();
            for (block, lines) in blocks.iter().zip(REQUESTS) {
                assert_eq!(read(&mut decoder, block).as_deref(), Ok(lines));
            }
        }
    }

    /// RFC 7541, C.6, in a table of 256 bytes, from which lines are forgotten.
    #[test]
    fn the_standards_answers() {
        let mut decoder = Decoder::new();
        decoder.table.resize(256);
        let first =
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
            919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
        let last = "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
            821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5
            b106 3d50 07";
        let lines = ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n";
        assert_eq!(read(&mut decoder, first).as_deref(), Ok(lines));
        assert_eq!(
            read(&mut decoder, "4883 640e ffc1 c0bf").as_deref(),
            Ok(lines.replace("302", "307")).as_deref()
        );
        let lines = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\ncontent-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n";
        assert_eq!(read(&mut decoder, last).as_deref(), Ok(lines));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for odd in [
            "80",
            "c6",
            "7f07 05 656d707479",
            "00",
            "007f",
            "82 21",
            "3fe21f",
            "3fffffffffff7f",
            "00 01",
            "40 05 61",
            "00 81ff 00",
        ] {
            assert_eq!(read(&mut Decoder::new(), odd), Err(Odd), "{odd}");
        }
        assert_eq!(
            read(&mut Decoder::new(), "20 3fe11f 82").as_deref(),
            Ok(":method: GET\n"),
            "two sizes, then a line"
        );
    }
}
