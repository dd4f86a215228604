//! One case: frames, how they are cut, and what an echo has to say to them.

use super::wire::{Frame, Heard, frame, talk};
use std::net::SocketAddr;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;
/// The last frame of its message.
pub(crate) const FIN: u8 = 0x80;
/// The first reserved bit: compressed.
pub(crate) const RSV1: u8 = 0x40;

/// What is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Right {
    /// These messages and answers, in this order, and then a close with 1000.
    Echo(Vec<(u8, Vec<u8>)>),
    /// The connection fails with this code.
    Fails(u16),
    /// Whatever the echo does: only that it does the same.
    Same,
}

#[derive(Debug)]
pub(crate) struct Case {
    /// Autobahn's number, and what is tried.
    pub(crate) name: String,
    frames: Vec<(u8, Vec<u8>)>,
    cut: usize,
    extensions: &'static str,
    right: Right,
}

impl Case {
    /// These frames, each with its first byte; what comes back is what is sent unless another word is said.
    pub(crate) fn new(name: impl Into<String>, frames: Vec<(u8, Vec<u8>)>) -> Self {
        let right = Right::Echo(echo(&frames));
        Self { name: name.into(), frames, cut: 0, extensions: "", right }
    }

    /// Sent in pieces of so many bytes.
    pub(crate) fn cut(self, cut: usize) -> Self {
        Self { cut, ..self }
    }

    pub(crate) fn fails(self, code: u16) -> Self {
        Self { right: Right::Fails(code), ..self }
    }

    pub(crate) fn same(self) -> Self {
        Self { right: Right::Same, ..self }
    }

    /// With compression asked for.
    pub(crate) fn compressed(self) -> Self {
        let extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n";
        Self { extensions, ..self }
    }

    /// Runs it against the echo itself and through the router; says what was wrong.
    pub(crate) fn run(&self, direct: SocketAddr, routed: SocketAddr) -> Result<(), String> {
        let mut bytes: Vec<u8> =
            self.frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        if matches!(self.right, Right::Echo(_)) {
            bytes.extend(frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
        }
        let talk = |address| {
            talk(address, self.extensions, &bytes, self.cut)
                .map_err(|error| format!("{}: {error}", self.name))
        };
        let (expected, heard) = (talk(direct)?, talk(routed)?);
        if heard != expected {
            return Err(format!(
                "{}: through the router {}, directly {}",
                self.name,
                short(&heard),
                short(&expected)
            ));
        }
        if self.is_right(&heard) {
            Ok(())
        } else {
            Err(format!("{}: {} is not {:.200?}", self.name, short(&heard), self.right))
        }
    }

    fn is_right(&self, heard: &Heard) -> bool {
        let closes = |code: u16| {
            heard.frames.last().is_some_and(|last| {
                last.first == FIN | CLOSE && last.payload.starts_with(&code.to_be_bytes())
            })
        };
        let whole = heard.handshake.0 == 101 && heard.handshake.1.is_some() && heard.rest.is_empty();
        whole
            && match &self.right {
                Right::Same => true,
                Right::Fails(code) => closes(*code),
                Right::Echo(messages) => closes(1000) && joined(&heard.frames) == *messages,
            }
    }
}

fn short(heard: &Heard) -> String {
    let text = format!("{heard:?}");
    text.chars().take(400).collect()
}

/// What an echo sends back: messages as they are, a pong for each ping when it comes.
fn echo(frames: &[(u8, Vec<u8>)]) -> Vec<(u8, Vec<u8>)> {
    let (mut back, mut open) = (Vec::new(), None);
    for (first, payload) in frames {
        match first & 0xf {
            PING => back.push((PONG, payload.clone())),
            PONG | CLOSE => (),
            kind => {
                let (kind, mut message): (u8, Vec<u8>) =
                    open.take().unwrap_or((kind | first & RSV1, Vec::new()));
                message.extend(payload);
                if first & FIN == 0 { open = Some((kind, message)) } else { back.push((kind, message)) }
            }
        }
    }
    back
}

/// Messages and pongs as they came, joined where an echo has cut them.
fn joined(frames: &[Frame]) -> Vec<(u8, Vec<u8>)> {
    let frames: Vec<(u8, Vec<u8>)> =
        frames.iter().map(|frame| (frame.first, frame.payload.clone())).collect();
    let as_sent = |(first, payload): &(u8, Vec<u8>)| match first & 0xf {
        // Seen from here an answer is what a question is seen from there.
        PONG => (first & 0xf0 | PING, payload.clone()),
        _ => (*first, payload.clone()),
    };
    echo(&frames.iter().map(as_sent).collect::<Vec<_>>())
}
