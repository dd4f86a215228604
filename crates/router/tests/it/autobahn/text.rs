//! Autobahn's 6: what is text and what is none (UTF-8), and 12 and 13: compressed messages.

use super::case::{CONTINUATION, Case, FIN, RSV1, TEXT};
use flate2::{Compress, Compression, FlushCompress};

/// Markus Kuhn's sequences as Autobahn has them: those that are text.
const TEXTS: &[&[u8]] = &[
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf0\xaf\xbf\xbf",
    b"\xf3\xbf\xbf\xbf",
];

/// Those that are none.
const NONE: &[&[u8]] = &[
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80",
    b"\x80\xbf\x80\xbf\x80\xbf",
    b"\xc0 \xc1 \xc2 ",
    b"\xe0 \xe1 \xe2 ",
    b"\xf0 \xf1 \xf2 ",
    b"\xf8 \xf9 ",
    b"\xfc \xfd ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
];

/// The message in frames of one byte each.
fn bytewise(text: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let last = text.len().saturating_sub(1);
    let part = |(number, byte): (usize, &u8)| {
        let (kind, end) =
            (if number == 0 { TEXT } else { CONTINUATION }, if number == last { FIN } else { 0 });
        (kind | end, vec![*byte])
    };
    text.iter().enumerate().map(part).collect()
}

pub(crate) fn utf8() -> Vec<Case> {
    let part = |kind: u8, end: u8, text: &str| (kind | end, text.as_bytes().to_vec());
    let mut cases = vec![
        Case::new("6.1.1 nothing", vec![part(TEXT, FIN, "")]),
        Case::new(
            "6.1.2 nothing in three parts",
            vec![part(TEXT, 0, ""), part(CONTINUATION, 0, ""), part(CONTINUATION, FIN, "")],
        ),
        Case::new(
            "6.1.3 nothing around something",
            vec![part(TEXT, 0, ""), part(CONTINUATION, 0, "middle"), part(CONTINUATION, FIN, "")],
        ),
    ];
    for (number, text) in TEXTS.iter().enumerate() {
        cases.push(Case::new(format!("6.2 text {number}"), vec![(FIN | TEXT, text.to_vec())]));
        cases.push(Case::new(format!("6.2 text {number}, a frame for each byte"), bytewise(text)));
        cases.push(
            Case::new(format!("6.2 text {number}, byte by byte"), vec![(FIN | TEXT, text.to_vec())]).cut(1),
        );
    }
    for (number, none) in NONE.iter().enumerate() {
        cases.push(Case::new(format!("6.3 no text {number}"), vec![(FIN | TEXT, none.to_vec())]).fails(1007));
        cases.push(
            Case::new(
                format!("6.3 no text {number}, in two parts"),
                vec![(TEXT, b"begins well ".to_vec()), (FIN, none.to_vec())],
            )
            .fails(1007),
        );
    }
    cases
}

/// A message as RFC 7692 has it: deflated, without the mark at its end.
fn deflated(text: &[u8], level: u32) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::new(level), false);
    let mut out = Vec::with_capacity(text.len() + 1024);
    deflate.compress_vec(text, &mut out, FlushCompress::Sync).expect("deflates");
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "whole");
    out.truncate(out.len() - 4);
    out
}

/// For an echo that has compression: sizes and levels, whole and in parts, and many behind each other.
pub(crate) fn compressed() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, size) in
        [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072].into_iter().enumerate()
    {
        let json: Vec<u8> = (0..size).map(|at| b"{\"name\":\"value\",\"n\":[1,2,3]}"[at * 5 % 28]).collect();
        for (section, level) in [(1, 6), (2, 1), (3, 9)] {
            let message = deflated(&json, level);
            let name = format!("12.{section}.{} {size} bytes", number + 1);
            cases.push(Case::new(&name, vec![(FIN | RSV1 | TEXT, message.clone()); 20]).compressed());
            let (head, tail) = message.split_at(message.len() / 2);
            let parts = vec![(RSV1 | TEXT, head.to_vec()), (FIN | CONTINUATION, tail.to_vec())];
            cases.push(Case::new(format!("{name} in two parts"), parts).compressed());
        }
        let plain = vec![(FIN | TEXT, json), (FIN | RSV1 | TEXT, deflated(b"Hello", 6))];
        cases.push(
            Case::new(format!("13.{} {size} bytes as they are among compressed ones", number + 1), plain)
                .compressed(),
        );
    }
    cases
}
