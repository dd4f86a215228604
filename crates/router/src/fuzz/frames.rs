//! Bytes as what a client says by HTTP/2: the same however they are cut, answered in frames that can be read, in memory that has a bound; and no request
//! that the path of HTTP/1.1 reads as more than one.

use super::{Found, asker};
use crate::{
    asked::Asked,
    codec::head::{MAX_LINES, Request, Space},
    codec::scan::Scan,
    h2::{
        frame,
        session::{Event, Session},
    },
};
use std::{task::Poll, time::Instant};

/// A head, in bytes.
const MOST: usize = 4096;
/// What one answer is.
const ANSWER: &[&[u8]] =
    &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n", b"abc", b"\r\n0\r\nx-sum: 3\r\n\r\n"];

/// What became of the bytes.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    heads: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    said: Vec<u8>,
    ended: bool,
}

/// The first byte says how long the pieces are, the second one which requests are answered; the rest comes behind a proper beginning.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let [piece, answered, rest @ ..] = bytes else { return Found::default() };
    let now = Instant::now();
    let (whole, parts) =
        (read(rest, rest.len(), *answered, now), read(rest, usize::from(*piece), *answered, now));
    assert_eq!(whole, parts, "in pieces of {piece}");
    for head in &whole.heads {
        assert_eq!(Scan::default().head(head), Ok(Some(head.len())), "{:?}", String::from_utf8_lossy(head));
        let mut space = Space::new();
        if let Ok(request) = Request::parse(head, &mut space, MAX_LINES) {
            drop(Asked::of(&request, &asker(), Vec::new()));
        }
    }
    let mut said = whole.said.as_slice();
    while let Some((_, length)) = frame::parse(said).expect("what we say can be read") {
        said = &said[length..];
    }
    assert!(said.is_empty(), "a frame breaks off");
    Found { compared: whole.heads.len() as u64, written: whole.bodies.len() as u64 }
}

fn read(bytes: &[u8], piece: usize, answered: u8, now: Instant) -> Read {
    let mut read = Read { heads: Vec::new(), bodies: Vec::new(), said: Vec::new(), ended: false };
    let mut session = Session::new(MOST, now);
    let start = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    let (mut waiting, mut places) = (Vec::new(), Vec::new());
    for part in std::iter::once(start.as_slice()).chain(bytes.chunks(piece.max(1))) {
        waiting.extend_from_slice(part);
        loop {
            let (event, length) = match session.next(&waiting, now) {
                Ok(None) => break,
                Ok(Some(some)) => some,
                Err(_) => {
                    read.ended = true;
                    break;
                }
            };
            assert!(length <= waiting.len(), "beyond the end");
            waiting.drain(..length);
            heed(&mut session, event, &mut read, &mut places, answered);
        }
        if read.ended {
            break;
        }
    }
    for slot in session.give_all_up() {
        session.finish(slot);
    }
    assert!(session.is_idle());
    read.said.extend_from_slice(session.waiting());
    read
}

fn heed(session: &mut Session, event: Event, read: &mut Read, places: &mut Vec<(usize, u32)>, answered: u8) {
    match event {
        Event::None | Event::Malformed => (),
        Event::Gone(slot) => {
            session.finish(slot);
            places.retain(|(place, _)| *place != slot);
        }
        Event::Asks(slot, head) => {
            assert!(!places.iter().any(|(place, _)| *place == slot), "one place for two");
            places.push((slot, 0));
            read.heads.extend(head.map(|head| head.text));
        }
    }
    // Asked again at every frame, so that pieces make no difference.
    places.retain_mut(|(slot, age)| {
        *age += 1;
        let body = body(session, *slot);
        if !body.is_empty() {
            read.bodies.push(body);
        }
        let over = *age > 3 && answered >> (*slot % 8) & 1 == 1;
        if over {
            drop(session.write(*slot, ANSWER));
            session.finish(*slot);
        }
        !over
    });
    let _ = session.take_ready();
    let count = session.waiting().len();
    read.said.extend_from_slice(session.waiting());
    session.sent(count);
}

fn body(session: &mut Session, slot: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Poll::Ready(Ok(())) = session.is_readable(slot) {
        let mut room = [0; 100];
        let count = session.read(slot, &mut room);
        body.extend_from_slice(&room[..count]);
    }
    body
}
