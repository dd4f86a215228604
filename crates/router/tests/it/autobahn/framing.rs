//! Autobahn's 1 to 5, 7, 9 and 10: sizes, pings, reserved bits, kinds, fragments, closing, limits.

use super::case::{BINARY, CLOSE, CONTINUATION, Case, FIN, PING, PONG, TEXT};

fn text(text: &str) -> (u8, Vec<u8>) {
    (FIN | TEXT, text.into())
}

/// 1: messages of all lengths at which a frame's head changes.
pub(crate) fn sizes() -> Vec<Case> {
    let sizes = [0, 125, 126, 127, 128, 65_535, 65_536];
    let mut cases = Vec::new();
    for (section, kind, byte) in [(1, TEXT, b'*'), (2, BINARY, 0xfe)] {
        for (number, size) in sizes.iter().enumerate() {
            let frames = vec![(FIN | kind, vec![byte; *size])];
            cases.push(Case::new(format!("1.{section}.{} {size} bytes", number + 1), frames));
        }
        cases.push(
            Case::new(
                format!("1.{section}.8 65536 bytes cut into 997"),
                vec![(FIN | kind, vec![byte; 65_536])],
            )
            .cut(997),
        );
    }
    cases
}

/// 2: pings and pongs.
pub(crate) fn pings() -> Vec<Case> {
    let ping = |payload: &[u8]| (FIN | PING, payload.to_vec());
    let pong = |payload: &[u8]| (FIN | PONG, payload.to_vec());
    let ten: Vec<_> = (0..10).map(|number| ping(format!("payload-{number}").as_bytes())).collect();
    vec![
        Case::new("2.1 empty", vec![ping(b"")]),
        Case::new("2.2 text", vec![ping(b"Hello, world!")]),
        Case::new("2.3 no text", vec![ping(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")]),
        Case::new("2.4 as long as allowed", vec![ping(&[0xfe; 125])]),
        Case::new("2.5 longer than allowed", vec![ping(&[0xfe; 126])]).fails(1002),
        Case::new("2.6 byte by byte", vec![ping(&[0xfe; 125])]).cut(1),
        Case::new("2.7 a pong that nobody asked for", vec![pong(b"")]),
        Case::new("2.8 and one that says something", vec![pong(b"unsolicited")]),
        Case::new("2.9 a pong, then a ping", vec![pong(b"unsolicited"), ping(b"ping")]),
        Case::new("2.10 ten", ten.clone()),
        Case::new("2.11 ten, byte by byte", ten).cut(1),
    ]
}

/// 3 and 4: bits and kinds that mean nothing yet.
pub(crate) fn reserved() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 1..=7_u8 {
        let odd = |kind: u8, payload: &[u8]| (FIN | bits << 4 | kind, payload.to_vec());
        cases.push(Case::new(format!("3.{bits} alone"), vec![odd(TEXT, b"Hello, world!")]).fails(1002));
        cases.push(
            Case::new(format!("3.{bits} behind a message"), vec![text("Hello"), odd(TEXT, b"world")])
                .fails(1002),
        );
        cases.push(
            Case::new(format!("3.{bits} on a ping, byte by byte"), vec![text("Hello"), odd(PING, b"")])
                .cut(1)
                .fails(1002),
        );
    }
    for (section, kinds) in [(1, 3..=7_u8), (2, 11..=15)] {
        for (number, kind) in kinds.enumerate() {
            let name = format!("4.{section}.{}", number + 1);
            cases.push(Case::new(format!("{name} alone"), vec![(FIN | kind, Vec::new())]).fails(1002));
            cases.push(
                Case::new(
                    format!("{name} behind a message"),
                    vec![text("Hello"), (FIN | kind, b"world".to_vec())],
                )
                .fails(1002),
            );
        }
    }
    cases
}

/// 5: messages in parts.
pub(crate) fn fragments() -> Vec<Case> {
    let part = |kind: u8, end: u8, payload: &str| (end | kind, payload.as_bytes().to_vec());
    let (first, last) = (part(TEXT, 0, "fragment1"), part(CONTINUATION, FIN, "fragment2"));
    let ping = (FIN | PING, b"ping".to_vec());
    let many = |between: bool| {
        let mut frames = vec![part(TEXT, 0, "fragment1")];
        for number in 2..5 {
            frames.push(part(CONTINUATION, 0, &format!("fragment{number}")));
            if between {
                frames.push((FIN | PING, format!("ping{number}").into_bytes()));
            }
        }
        frames.push(part(CONTINUATION, FIN, "fragment5"));
        frames
    };
    let mut cases = vec![
        Case::new("5.1 a ping in parts", vec![part(PING, 0, "fragment1"), last.clone()]).fails(1002),
        Case::new("5.2 a pong in parts", vec![part(PONG, 0, "fragment1"), last.clone()]).fails(1002),
        Case::new(
            "5.15 a part behind the end",
            vec![first.clone(), last.clone(), part(CONTINUATION, 0, "fragment3")],
        )
        .fails(1002),
        Case::new("5.16 a part of nothing, then a message", vec![part(CONTINUATION, 0, "fragment1")])
            .fails(1002),
        Case::new("5.18 two beginnings", vec![first.clone(), part(TEXT, FIN, "fragment2")]).fails(1002),
        Case::new("5.19 five parts and pings between them", many(true)),
        Case::new("5.20 the same, byte by byte", many(true)).cut(1),
        Case::new("5.21 five parts", many(false)),
    ];
    for (number, cut) in [(3, 0), (4, 9), (5, 1)] {
        cases.push(Case::new(format!("5.{number} two parts"), vec![first.clone(), last.clone()]).cut(cut));
        cases.push(
            Case::new(
                format!("5.{} with a ping between", number + 3),
                vec![first.clone(), ping.clone(), last.clone()],
            )
            .cut(cut),
        );
        let nothing = |end: u8| vec![part(CONTINUATION, end, "nothing to continue")];
        cases.push(
            Case::new(format!("5.{} the end of nothing", number + 6), nothing(FIN)).cut(cut).fails(1002),
        );
        cases.push(Case::new(format!("5.{} a part of nothing", number + 9), nothing(0)).cut(cut).fails(1002));
    }
    cases
}

/// 7: closing, in good order and otherwise.
pub(crate) fn closing() -> Vec<Case> {
    let close = |payload: &[u8]| (FIN | CLOSE, payload.to_vec());
    let coded = |code: u16, reason: &[u8]| close(&[&code.to_be_bytes()[..], reason].concat());
    let normal = coded(1000, b"");
    let mut cases = vec![
        Case::new("7.1.1 behind a message", vec![text("Hello World!"), normal.clone()]).fails(1000),
        Case::new("7.1.2 twice", vec![normal.clone(), normal.clone()]).fails(1000),
        Case::new("7.1.3 before a ping", vec![normal.clone(), (FIN | PING, Vec::new())]).fails(1000),
        Case::new("7.1.4 before a message", vec![normal.clone(), text("Hello World!")]).fails(1000),
        Case::new(
            "7.1.5 inside a message",
            vec![(TEXT, b"fragment1".to_vec()), normal.clone(), (FIN, b"fragment2".to_vec())],
        )
        .fails(1000),
        Case::new("7.1.6 behind 256 KiB", vec![text(&"x".repeat(262_144)), normal, (FIN | PING, Vec::new())])
            .fails(1000),
        Case::new("7.3.1 without a word", vec![close(b"")]).same(),
        Case::new("7.3.2 with half a code", vec![close(b"a")]).fails(1002),
        Case::new("7.3.3 with a code", vec![coded(1000, b"")]).fails(1000),
        Case::new("7.3.4 with a reason", vec![coded(1000, b"Hello World!")]).fails(1000),
        Case::new("7.3.5 with the longest reason", vec![coded(1000, &[b'*'; 123])]).fails(1000),
        Case::new("7.3.6 with a longer one", vec![coded(1000, &[b'*'; 124])]).fails(1002),
        Case::new(
            "7.5.1 with a reason that is no text",
            vec![coded(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited")],
        )
        .same(),
    ];
    let legal = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    for (number, code) in legal.into_iter().enumerate() {
        cases.push(Case::new(format!("7.7.{} code {code}", number + 1), vec![coded(code, b"")]).fails(code));
    }
    // What an echo says to those differs from one to the next; Autobahn asks for a failure in any form.
    let wrong = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535];
    for (number, code) in wrong.into_iter().enumerate() {
        cases.push(Case::new(format!("7.9.{} code {code}", number + 1), vec![coded(code, b"")]).same());
    }
    cases
}

/// 9 and 10: large messages, in parts and pieces of many sizes, and many small ones.
pub(crate) fn limits() -> Vec<Case> {
    const KIB: usize = 1024;
    let mut cases = Vec::new();
    for (section, kind, byte) in [(1, TEXT, b'*'), (2, BINARY, 0xfe)] {
        for (number, size) in [64 * KIB, 256 * KIB, 1024 * KIB].into_iter().enumerate() {
            let frames = vec![(FIN | kind, vec![byte; size])];
            cases.push(Case::new(format!("9.{section}.{} {size} bytes", number + 1), frames.clone()));
            cases.push(
                Case::new(format!("9.{}.{} in pieces of 1 KiB", section + 4, number + 1), frames).cut(KIB),
            );
        }
        for (number, size) in [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB].into_iter().enumerate() {
            cases.push(Case::new(
                format!("9.{}.{} parts of {size}", section + 2, number + 1),
                parts(kind, byte, 256 * KIB, size),
            ));
        }
        for (number, size) in [0, 16, 64, 256, KIB, 4 * KIB].into_iter().enumerate() {
            let many = vec![(FIN | kind, vec![byte; size]); 1000];
            cases.push(Case::new(format!("9.{}.{} a thousand of {size}", section + 6, number + 1), many));
        }
    }
    cases.push(Case::new("10.1.1 65536 bytes in parts of 1300", parts(TEXT, b'*', 65_536, 1300)));
    cases
}

fn parts(kind: u8, byte: u8, whole: usize, size: usize) -> Vec<(u8, Vec<u8>)> {
    let count = whole.div_ceil(size);
    let part = |number: usize| {
        let (kind, end) =
            (if number == 0 { kind } else { CONTINUATION }, if number + 1 == count { FIN } else { 0 });
        (kind | end, vec![byte; size.min(whole - number * size)])
    };
    (0..count).map(part).collect()
}
