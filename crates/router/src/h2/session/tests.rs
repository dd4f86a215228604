//! Orders of frames that no honest client would think of, without a socket: what is said, and what is done about it.

use super::*;
use crate::h2::{
    frame::Frame,
    hpack::{Decoder, encoder},
};
use std::{fmt::Write as _, time::Duration};

/// A client, and the session that it talks to.
struct Talk {
    session: Session,
    now: Instant,
    events: Vec<Event>,
    ended: Option<Code>,
}

fn frame_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::head(&mut out, Kind::Data, flags, stream, payload.len());
    out[3] = kind;
    out.extend_from_slice(payload);
    out
}

fn block(method: &str, further: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let start = [(":method", method), (":scheme", "https"), (":path", "/"), (":authority", "shop.test")];
    for (name, value) in start.iter().chain(further) {
        encoder::line(&mut block, name.as_bytes(), value.as_bytes());
    }
    block
}

fn get(stream: u32) -> Vec<u8> {
    frame_of(1, 5, stream, &block("GET", &[]))
}

fn post(stream: u32) -> Vec<u8> {
    frame_of(1, 4, stream, &block("POST", &[]))
}

impl Talk {
    fn new() -> Self {
        let now = Instant::now();
        let mut talk = Self { session: Session::new(65_536, now), now, events: Vec::new(), ended: None };
        talk.hear();
        talk.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        talk.say(&frame_of(4, 0, 0, &[]));
        assert_eq!(talk.hear(), "settled");
        talk.events.clear();
        talk
    }

    fn say(&mut self, mut bytes: &[u8]) {
        while self.ended.is_none() {
            match self.session.next(bytes, self.now) {
                Ok(None) => break,
                Ok(Some((Event::None, length))) => bytes = &bytes[length..],
                Ok(Some((event, length))) => {
                    self.events.push(event);
                    bytes = &bytes[length..];
                }
                Err(code) => self.ended = Some(code),
            }
        }
    }

    /// What the client hears, in words.
    fn hear(&mut self) -> String {
        let (mut words, mut decoder) = (String::new(), Decoder::new());
        let all = self.session.waiting().to_vec();
        let mut rest = all.as_slice();
        while let Some((frame, length)) = frame::parse(rest).expect("legal") {
            let word = match frame {
                Frame::Settled => "settled".to_owned(),
                Frame::Settings(values) => format!("{} settings", values.len()),
                Frame::Reset { stream } => format!("reset {stream} {}", rest[12]),
                Frame::Window { stream, more } => format!("window {stream} {more}"),
                Frame::Data { stream, content, last, .. } => {
                    format!("data {stream} {} {last}", content.len())
                }
                Frame::Headers { stream, block, last, .. } => {
                    let mut status = String::new();
                    let each = |name: &[u8], value: &[u8]| {
                        if name == b":status" {
                            status = String::from_utf8_lossy(value).into_owned();
                        }
                    };
                    decoder.read(block, each).expect("a block");
                    format!("{status} {stream} {last}")
                }
                Frame::GoAway => format!(
                    "goaway {} {}",
                    u32::from_be_bytes([rest[9], rest[10], rest[11], rest[12]]),
                    rest[16]
                ),
                other => format!("{other:?}"),
            };
            write!(words, "{}{word}", if words.is_empty() { "" } else { ", " }).expect("writes");
            rest = &rest[length..];
        }
        self.session.sent(all.len());
        words
    }

    fn read(&mut self, slot: usize) -> String {
        let mut all = Vec::new();
        while matches!(self.session.is_readable(slot), Poll::Ready(Ok(()))) {
            let mut room = [0; 50_000];
            let count = self.session.read(slot, &mut room);
            all.extend_from_slice(&room[..count]);
        }
        String::from_utf8(all).expect("text")
    }

    fn write(&mut self, slot: usize, text: &str) -> usize {
        self.session.write(slot, &[text.as_bytes()]).expect("takes")
    }
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn a_request_is_asked_and_answered() {
    let mut talk = Talk::new();
    talk.say(&get(1));
    let [Event::Asks(0, Ok(head))] = talk.events.as_slice() else { panic!("{:?}", talk.events) };
    assert!(head.text.starts_with(b"GET / HTTP/1.1\r\nhost: shop.test\r\n"));
    assert_eq!(talk.session.take_ready(), 1);
    assert_eq!(talk.write(0, ANSWER), ANSWER.len());
    talk.session.finish(0);
    assert_eq!(talk.hear(), "200 1 false, data 1 3 true");
    assert!(talk.session.is_idle() && !talk.session.is_over());
}

#[test]
fn a_place_is_used_again_and_only_once_it_is_free() {
    let mut talk = Talk::new();
    (0..130).for_each(|number| talk.say(&get(2 * number + 1)));
    assert_eq!(talk.events.len(), 128);
    assert_eq!(talk.hear(), "reset 257 7, reset 259 7");
    // Given up by the client, and still under way here.
    talk.say(&frame_of(3, 0, 11, &[0, 0, 0, 8]));
    assert_eq!(talk.events.pop(), Some(Event::Gone(5)));
    assert!(matches!(talk.session.is_readable(5), Poll::Ready(Err(_))));
    talk.say(&get(261));
    assert_eq!(talk.hear(), "reset 261 7");
    talk.session.finish(5);
    talk.say(&get(263));
    assert!(matches!(talk.events.pop(), Some(Event::Asks(5, Ok(_)))));
}

#[test]
fn windows_are_given_back_as_the_body_is_taken() {
    let mut talk = Talk::new();
    talk.say(&post(1));
    for _ in 0..16 {
        talk.say(&frame_of(0, 0, 1, &[b'x'; 16_384]));
    }
    assert_eq!(talk.hear(), "", "nobody has taken anything");
    talk.say(&frame_of(0, 0, 1, b"y"));
    assert_eq!(talk.hear(), "reset 1 3", "one more than the window");
    assert!(matches!(talk.events.last(), Some(Event::Gone(0))));
    talk.session.finish(0);
    talk.say(&post(3));
    for _ in 0..16 {
        talk.say(&frame_of(0, 0, 3, &[b'x'; 16_384]));
    }
    assert!(talk.read(0).len() > 16 * 16_384, "the body, and its framing");
    let told = talk.hear();
    assert!(told.contains("window 3 ") && !told.contains("window 1 "), "{told}");
    talk.say(&frame_of(0, 1, 3, &[]));
    assert_eq!(talk.read(0), "0\r\n\r\n");
    assert_eq!(talk.ended, None);
}

#[test]
fn what_a_stream_has_held_is_given_back_when_it_ends() {
    let mut talk = Talk::new();
    // Four times what may come in all: whoever keeps any of it comes to a stop.
    for number in 0..16 {
        let stream = 2 * number + 1;
        talk.say(&post(stream));
        (0..16).for_each(|_| talk.say(&frame_of(0, 0, stream, &[b'x'; 16_384])));
        let reset = frame_of(3, 0, stream, &[0, 0, 0, 8]);
        match number % 4 {
            0 => talk.say(&reset),
            1 => drop(talk.write(0, ANSWER)),
            2 => talk.say(&frame_of(8, 0, stream, &[0; 4])),
            _ => drop(talk.read(0)),
        }
        talk.session.finish(0);
        // What is on its way meanwhile counts, too.
        talk.say(&frame_of(0, 8, stream, &[9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(talk.ended, None, "{number}");
    }
    assert!(talk.hear().contains("window 0 "));
}

#[test]
fn answers_wait_for_their_windows_and_go_on_when_these_open() {
    let mut talk = Talk::new();
    talk.say(&frame_of(4, 0, 0, &[0, 4, 0, 0, 0, 2]));
    talk.say(&[get(1), get(3)].concat());
    talk.session.take_ready();
    talk.hear();
    assert_eq!(talk.write(0, ANSWER), ANSWER.len() - 1);
    assert_eq!((talk.write(0, "c"), talk.session.take_ready()), (0, 0));
    talk.say(&frame_of(8, 0, 3, &[0, 0, 0, 9]));
    assert_eq!(talk.session.take_ready(), 0, "another one's window");
    talk.say(&frame_of(4, 0, 0, &[0, 4, 0, 0, 0, 3]));
    assert_eq!(talk.session.take_ready(), 1);
    assert_eq!(talk.write(0, "c"), 1);
    talk.session.finish(0);
    assert_eq!(talk.hear(), "200 1 false, data 1 2 false, settled, data 1 1 true");
}

#[test]
fn who_fills_the_room_waits_until_it_is_empty() {
    let mut talk = Talk::new();
    let wide = [0, 4, 0x7f, 0xff, 0xff, 0xff];
    talk.say(&[frame_of(4, 0, 0, &wide), frame_of(8, 0, 0, &[0x7f, 0, 0, 0]), get(1), get(3)].concat());
    talk.session.take_ready();
    let body = "x".repeat(1_000_000);
    let taken = talk.write(0, &format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{body}"));
    assert!((MOST / 2..2 * MOST).contains(&taken), "{taken}");
    assert_eq!((talk.write(0, &body), talk.write(1, ANSWER)), (0, 0), "nor has anybody else");
    assert_eq!(talk.session.take_ready(), 0);
    talk.hear();
    assert_eq!(talk.session.take_ready(), 3);
}

#[test]
fn streams_that_end_before_their_answer_say_why() {
    let mut talk = Talk::new();
    talk.say(&[get(1), post(3), post(5)].concat());
    talk.write(0, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na");
    talk.session.finish(0);
    assert_eq!(talk.hear(), "200 1 false, data 1 1 false, reset 1 2", "broken off");
    talk.write(1, ANSWER);
    talk.session.finish(1);
    assert_eq!(talk.hear(), "200 3 false, data 3 3 true, reset 3 0", "the rest of the body is not wanted");
    talk.say(&frame_of(0, 0, 3, b"on its way"));
    talk.say(&frame_of(1, 5, 3, &block("GET", &[])));
    assert_eq!((talk.hear().as_str(), talk.ended), ("", None));
    talk.say(&frame_of(0, 0, 1, b"x"));
    assert_eq!(talk.hear(), "", "reset by us, too");
}

#[test]
fn a_head_that_is_too_long_is_read_to_its_end_and_answered() {
    let mut talk = Talk::new();
    let mut long = block("GET", &[]);
    encoder::line(&mut long, b"x-long", &vec![b'x'; 4000]);
    // Remembered once, and named again and again.
    long.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
    long.extend_from_slice(&[b'y'; 4000]);
    long.extend_from_slice(&[0xbe; 100]);
    talk.say(&frame_of(1, 5, 1, &long));
    assert!(matches!(talk.events.as_slice(), [Event::Asks(0, Err(Wrong::Long))]), "{:?}", talk.ended);
    talk.say(&get(3));
    assert!(matches!(talk.events.last(), Some(Event::Asks(1, Ok(_)))), "both tables are the same");
}

#[test]
fn leaving_is_said_twice_and_what_comes_between_is_answered() {
    let mut talk = Talk::new();
    talk.say(&get(1));
    talk.session.leave();
    assert!(talk.hear().starts_with("goaway 2147483647 0, Ping("));
    // Some answer first, and then send what they had asked before.
    talk.say(&frame_of(6, 1, 0, &LEAVING));
    talk.say(&get(3));
    assert_eq!(talk.events.len(), 2);
    assert!(talk.hear().starts_with("Ping("));
    talk.say(&frame_of(6, 1, 0, &LEAVING));
    assert_eq!(talk.hear(), "goaway 3 0");
    talk.say(&[post(5), frame_of(0, 1, 5, b"x"), frame_of(3, 0, 5, &[0; 4])].concat());
    assert_eq!((talk.events.len(), talk.hear(), talk.ended), (2, String::new(), None), "it was told");
    for slot in 0..2 {
        assert!(!talk.session.is_over());
        talk.write(slot, ANSWER);
        talk.session.finish(slot);
    }
    assert!(talk.session.is_over());
}

#[test]
fn who_only_makes_work_is_told_to_calm_down() {
    let rapid = |talk: &mut Talk, number: u32| {
        talk.say(&[get(2 * number + 1), frame_of(3, 0, 2 * number + 1, &[0; 4])].concat());
        talk.session.finish(0);
    };
    let mut talk = Talk::new();
    (0..5000).for_each(|number| rapid(&mut talk, number));
    assert_eq!(talk.ended, Some(Code::Calm));
    let mut talk = Talk::new();
    for number in 0..5000 {
        talk.now += Duration::from_millis(50);
        rapid(&mut talk, number);
    }
    assert_eq!(talk.ended, None, "over hours, that is what browsers do");
    for flood in [frame_of(6, 0, 0, &[0; 8]), frame_of(4, 0, 0, &[]), frame_of(0xfa, 0, 0, &[])] {
        let mut talk = Talk::new();
        for _ in 0..20_000 {
            talk.say(&flood);
            talk.hear();
        }
        assert_eq!(talk.ended, Some(Code::Calm));
    }
    let mut talk = Talk::new();
    (0..10_000).for_each(|_| talk.say(&frame_of(6, 0, 0, &[0; 8])));
    assert!(talk.session.is_stuffed(), "and who does not read the answers is not read");
}
