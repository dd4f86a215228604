//! Writes header blocks: known names by number, everything else spelt out, nothing remembered. So a block means the same whatever came before it, and
//! answers can be written in any order and by whoever has one.

use super::{integer, statics};

/// Says that our own table is empty; needed once the other side wants it smaller than it was.
pub(crate) const NO_TABLE: u8 = 0x20;

/// A line without a place in a table, and one that nobody on the way may ever give one.
const PLAIN: u8 = 0x00;
const SECRET: u8 = 0x10;

/// Longer names are none that the standard has numbered.
const LONGEST: usize = 32;

/// Writes an answer's status.
pub(crate) fn status(out: &mut Vec<u8>, status: u16) {
    let number = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        other => {
            out.extend_from_slice(&[PLAIN | 8, 3]);
            return crate::text::decimal(out, u64::from(other));
        }
    };
    out.push(0x80 | number);
}

/// Writes a line; its name in lower case, as HTTP/2 wants it.
pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut small = [0; LONGEST];
    let number = match small.get_mut(..name.len()) {
        Some(small) => {
            small.copy_from_slice(name);
            small.make_ascii_lowercase();
            statics::number(small)
        }
        None => 0,
    };
    let marks = if number == 55 { SECRET } else { PLAIN };
    if number > 0 {
        integer::write(out, marks, 4, number);
    } else {
        out.push(marks);
        integer::write(out, 0, 7, name.len());
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    integer::write(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::hpack::Decoder;

    #[test]
    fn what_is_written_is_read_back() {
        let long = "v".repeat(300);
        let lines =
            [("Content-Type", "text/plain"), ("SET-cookie", "a=b"), ("x-Other", ""), ("x-long", &long)];
        for code in [100, 103, 200, 204, 206, 304, 400, 404, 418, 500, 599] {
            let mut block = vec![NO_TABLE];
            status(&mut block, code);
            lines.iter().for_each(|(name, value)| line(&mut block, name.as_bytes(), value.as_bytes()));
            let mut read = Vec::new();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let all = Decoder::new().read(&block, |name, value| read.push((text(name), text(value))));
            assert_eq!(all, Ok(()));
            assert_eq!(read[0], (":status".into(), code.to_string()));
            for ((name, value), found) in lines.iter().zip(&read[1..]) {
                assert_eq!(*found, (name.to_ascii_lowercase(), (*value).to_owned()));
            }
        }
        let mut cookie = Vec::new();
        line(&mut cookie, b"set-cookie", b"x");
        assert_eq!(cookie, [0x1f, 55 - 15, 1, b'x'], "never to be remembered by anybody");
    }
}
