//! One case: what a client sends, and what the standard lets a server do then.

use super::{
    connection::{Connection, Seen},
    frame,
};
use std::{net::SocketAddr, sync::Arc};
use tokio_rustls::rustls::ClientConfig;

/// Codes of errors (RFC 9113, 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL: u32 = 1;
pub(crate) const FLOW_CONTROL: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION: u32 = 9;
pub(crate) const CALM: u32 = 11;

/// What is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expect {
    /// `GOAWAY` with one of these codes and the end of the connection, or the end alone.
    Connection(&'static [u32]),
    /// `RST_STREAM` with one of these codes for the stream, or what would be right for the connection.
    Stream(u32, &'static [u32]),
    /// A whole answer with this status.
    Answer(u32, u16),
    /// An answer's head.
    Head(u32),
    /// The heads of interim answers, and of the final one.
    Heads(u32, &'static [u16]),
    /// No answer but a refusal (RFC 9113, 8.1.1): the stream or the connection is at an end, or the answer is a 400.
    Malformed(u32),
    /// Everything was read, and the connection goes on.
    Pong,
    /// So many acknowledgements of settings came.
    Acks(usize),
    /// The first `DATA` frames of the stream have these lengths.
    Data(u32, &'static [usize]),
}

impl Expect {
    /// It is so.
    fn is_met(&self, seen: &Seen) -> bool {
        let over = |codes: &[u32]| seen.closed && seen.goaway.is_none_or(|code| codes.contains(&code));
        let reset = |stream, codes: &[u32]| {
            let code = seen.resets.get(stream);
            code.is_some_and(|code| codes.contains(code)) || over(codes)
        };
        let answered = |stream, status| {
            seen.answers.get(stream).is_some_and(|all| all.last() == Some(status))
                && seen.ended.contains(stream)
        };
        match self {
            Self::Connection(codes) => over(codes),
            Self::Stream(stream, codes) => reset(stream, codes),
            Self::Answer(stream, status) => answered(stream, status),
            Self::Heads(stream, all) => seen.answers.get(stream).is_some_and(|seen| seen == all),
            Self::Head(stream) => seen.answers.contains_key(stream),
            Self::Malformed(stream) => reset(stream, &[PROTOCOL]) || answered(stream, &400),
            Self::Pong => seen.pong,
            Self::Acks(count) => seen.acks >= *count,
            Self::Data(stream, lengths) => seen.data.get(stream).is_some_and(|all| all.starts_with(lengths)),
        }
    }

    /// It cannot come to be so any more, after what was seen before the last frames were sent.
    fn is_missed(&self, seen: &Seen, before: &Seen) -> bool {
        match self {
            Self::Stream(stream, _) | Self::Malformed(stream) => {
                let ended = seen.ended.contains(stream) && !before.ended.contains(stream);
                seen.closed || seen.resets.contains_key(stream) || ended || seen.pong
            }
            _ => seen.closed,
        }
    }
}

/// What a client does.
#[derive(Debug)]
enum Step {
    Send(Vec<u8>),
    Await(Expect),
}

#[derive(Debug)]
pub(crate) struct Case {
    /// The section of h2spec or of the standard that it is from, and what is tried.
    pub(crate) name: &'static str,
    settings: Vec<(u16, u32)>,
    /// It has its own idea of how to begin.
    bare: bool,
    steps: Vec<Step>,
    expect: Expect,
}

/// A case: these frames behind a proper beginning.
pub(crate) fn case<const N: usize>(name: &'static str, frames: [Vec<u8>; N], expect: Expect) -> Case {
    Case { name, settings: Vec::new(), bare: false, steps: vec![Step::Send(frames.concat())], expect }
}

impl Case {
    /// The client's settings at the beginning.
    pub(crate) fn settings(self, settings: &[(u16, u32)]) -> Self {
        Self { settings: settings.to_vec(), ..self }
    }

    /// Nothing is said before the case's own bytes.
    pub(crate) fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// Then, once this is so, these frames.
    pub(crate) fn then<const N: usize>(mut self, so: Expect, frames: [Vec<u8>; N]) -> Self {
        self.steps.extend([Step::Await(so), Step::Send(frames.concat())]);
        self
    }

    /// Runs it against a router; says what was wrong.
    pub(crate) fn run(&self, address: SocketAddr, config: &Arc<ClientConfig>) -> Result<(), String> {
        let mut connection = match self.bare {
            true => Connection::dial(address, config),
            false => Connection::open(address, config, &self.settings),
        };
        let mut before = Seen::default();
        for step in &self.steps {
            before = connection.seen.clone();
            match step {
                // Where the other side has closed already, what it said is what counts.
                Step::Send(bytes) => drop(connection.send(bytes)),
                Step::Await(so) => {
                    if !connection.until(|seen| so.is_met(seen)) {
                        return Err(format!("{}: never {so:?}: {:?}", self.name, connection.seen));
                    }
                }
            }
        }
        let expect = &self.expect;
        connection.until(|seen| expect.is_met(seen) || expect.is_missed(seen, &before));
        let met = expect.is_met(&connection.seen);
        let seen = connection.seen.clone();
        connection.vanish();
        if met { Ok(()) } else { Err(format!("{}: expected {expect:?}, came {seen:?}", self.name)) }
    }
}

/// A frame of a kind that no standard has.
pub(crate) fn unknown_kind() -> Vec<u8> {
    frame::frame(0xfa, 0, 0, b"whatever")
}
