//! Bytes as header blocks, read by the router and by a plain reader that is written from the standard, bit by bit: both take the same blocks, and find the same
//! lines in them. And whatever lines there are, what we write of them is read back.

use super::Found;
use crate::h2::hpack::{Decoder, encoder, huffman};

type Line = (Vec<u8>, Vec<u8>);

/// The first byte says how long each block is.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let Some((length, rest)) = bytes.split_first() else { return Found::default() };
    let (mut ours, mut plain, mut found) = (Decoder::new(), Plain::default(), Found::default());
    for block in rest.chunks(usize::from(*length).max(1)) {
        let mut lines: Vec<Line> = Vec::new();
        let read = ours.read(block, |name, value| lines.push((name.to_vec(), value.to_vec())));
        let expected = plain.block(block);
        assert_eq!(read.is_ok().then_some(&lines), expected.as_ref(), "{block:02x?}");
        if expected.is_none() {
            break;
        }
        found.compared += lines.len() as u64;
        found.written += written(&lines);
    }
    let mut coded = vec![0x00, 0x01, b'n'];
    let mut text = Vec::new();
    huffman(&rest[..rest.len().min(70)], &mut text);
    if let Ok(length @ ..0x7f) = u8::try_from(text.len()) {
        coded.push(0x80 | length);
        coded.extend_from_slice(&text);
        let same = |_: &[u8], value: &[u8]| assert_eq!(value, &rest[..rest.len().min(70)]);
        Decoder::new().read(&coded, same).expect("what was encoded");
    }
    found
}

/// Writes the lines as an answer's and reads them back; how many.
fn written(lines: &[Line]) -> u64 {
    let mut block = Vec::new();
    lines.iter().for_each(|(name, value)| encoder::line(&mut block, name, value));
    let mut back = Vec::new();
    let read = Decoder::new().read(&block, |name, value| back.push((name.to_vec(), value.to_vec())));
    let lower = lines.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    assert_eq!((read.is_ok(), back), (true, lower.collect()));
    lines.len() as u64
}

/// The plain reader.
struct Plain {
    /// The newest first.
    table: Vec<Line>,
    most: usize,
}

impl Default for Plain {
    fn default() -> Self {
        Self { table: Vec::new(), most: 4096 }
    }
}

impl Plain {
    fn block(&mut self, mut block: &[u8]) -> Option<Vec<Line>> {
        let mut lines = Vec::new();
        while let Some(first) = block.first().copied() {
            if first & 0x80 != 0 {
                lines.push(self.line(number(&mut block, 7)?)?);
            } else if first & 0xe0 == 0x20 {
                let most = number(&mut block, 5)?;
                if most > 4096 || !lines.is_empty() {
                    return None;
                }
                self.most = most;
                self.shrink();
            } else {
                let kept = first & 0x40 != 0;
                let name = match number(&mut block, if kept { 6 } else { 4 })? {
                    0 => string(&mut block)?,
                    index => self.line(index)?.0,
                };
                let line = (name, string(&mut block)?);
                lines.push(line.clone());
                if kept {
                    self.table.insert(0, line);
                    self.shrink();
                }
            }
        }
        Some(lines)
    }

    fn shrink(&mut self) {
        let size =
            |table: &[Line]| table.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>();
        while size(&self.table) > self.most {
            self.table.pop();
        }
    }

    fn line(&self, index: usize) -> Option<Line> {
        let place = index.checked_sub(1)?;
        let fixed = crate::h2::hpack::LINES;
        match fixed.get(place) {
            Some((name, value)) => Some((name.as_bytes().to_vec(), value.as_bytes().to_vec())),
            None => self.table.get(place - fixed.len()).cloned(),
        }
    }
}

fn number(block: &mut &[u8], bits: u32) -> Option<usize> {
    let (first, rest) = block.split_first()?;
    *block = rest;
    let most = (1_u64 << bits) - 1;
    let mut number = u64::from(*first) & most;
    for place in 0.. {
        if place == 0 && number < most {
            break;
        }
        let (byte, rest) = block.split_first()?;
        *block = rest;
        // Five further bytes, and 32 bits of them, are more than anything needs.
        if place == 5 || place == 4 && byte & 0x7f > 0xf {
            return None;
        }
        number += u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    usize::try_from(number).ok()
}

fn string(block: &mut &[u8]) -> Option<Vec<u8>> {
    let coded = block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    let text = block.get(..length)?;
    *block = &block[length..];
    if coded { bit_by_bit(text) } else { Some(text.to_vec()) }
}

/// Compares what was read so far with every word, after each bit.
fn bit_by_bit(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut word) = (Vec::new(), String::new());
    let words = words();
    for byte in text {
        for bit in (0..8).rev() {
            word.push(if byte >> bit & 1 == 1 { '1' } else { '0' });
            if let Some(byte) = words.iter().position(|one| *one == word) {
                out.push(u8::try_from(byte).ok()?);
                word.clear();
            }
            if word.len() > 30 {
                return None;
            }
        }
    }
    (word.len() < 8 && !word.contains('0')).then_some(out)
}

/// Each byte's word, as our own writer has it.
fn words() -> &'static [String] {
    static WORDS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    WORDS.get_or_init(|| {
        let bits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:08b}")).collect::<String>();
        let word = |byte: u8| {
            // Eight of the same are as many bytes as one has bits.
            let (mut one, mut eight) = (Vec::new(), Vec::new());
            huffman(&[byte], &mut one);
            huffman(&[byte; 8], &mut eight);
            bits(&one)[..eight.len()].to_owned()
        };
        (0..=255).map(word).collect()
    })
}
