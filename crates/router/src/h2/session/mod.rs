//! What both ends of one connection know of each other: streams, windows, tables, and what waits to be sent. Pure: frames in, frames and events out; no
//! socket, no clock, no task, so that every order of frames can be tried.
//!
//! It is shared by the connection, which feeds it, and by the streams' pipes, which read bodies from it and write answers to it.

mod receive;
#[cfg(test)]
mod tests;

use super::{
    budget::Budget,
    code::Code,
    frame::{self, BITS, Kind},
    hpack::Decoder,
    outbound::{MOST, Sink},
    request::{Head, Lines, Wrong},
    settings::{self, Settings},
    stream::Stream,
    turns::places,
    windows::{FIRST, Inflow, Outflow},
};
use crate::buffer;
use std::{collections::VecDeque, io, task::Poll, time::Instant};

/// Requests that one client may have under way at once: as many as one number has bits.
pub(crate) const STREAMS: u32 = u128::BITS;
/// What may come of one body, and of all, before it is taken.
const WINDOW: u32 = 256 * 1024;
const WINDOWS: u32 = 1024 * 1024;
/// Streams that we have broken off, of which more may be on its way.
const FORGIVEN: usize = 64;
/// Some clients answer before they send what they had asked before they read that we go: their second answer comes behind it.
const ANSWERS: u8 = 2;
/// Says that the client has read that we go; and asks whether it is there.
const LEAVING: [u8; 8] = *b"leaving.";
const ALIVE: [u8; 8] = *b"are you?";

/// What the connection has to do about a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    None,
    /// Answer a request.
    Asks(usize, Result<Head, Wrong>),
    /// Note that there was a request that is none.
    Malformed,
    /// Forget a request.
    Gone(usize),
}

/// How far the beginning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preface,
    Settings,
    Begun,
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    No,
    /// We have said that we will go; the client is to answer so often before it is taken to have read that.
    Said(u8),
    /// Streams behind this one are not answered any more.
    Last(u32),
}

/// A header block that is not whole.
#[derive(Debug, Clone, Copy)]
struct Block {
    stream: u32,
    last: bool,
    own: bool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// What waits to be sent, and how much of it was.
    out: Vec<u8>,
    sent: usize,
    stage: Stage,
    leave: Leave,
    /// The client will ask nothing more.
    client_leaves: bool,
    /// Our settings that the client has not confirmed.
    unsettled: u32,
    theirs: Settings,
    forget: bool,
    outflow: Outflow,
    inflow: Inflow,
    decoder: Decoder,
    lines: Lines,
    block: Option<Block>,
    parts: Vec<u8>,
    /// A head, in bytes.
    most: usize,
    /// By place: the streams, and which of the places are taken.
    streams: Vec<Stream>,
    used: u128,
    /// The highest number of a stream so far.
    last: u32,
    forgiven: VecDeque<u32>,
    budget: Budget,
    /// Places whose stream has something new to do; that wait for room; that wait for their client's window.
    ready: u128,
    want_room: u128,
    want_window: u128,
}

impl Session {
    /// A connection before its first byte, of whose heads so much is read; our own beginning waits to be sent.
    pub(crate) fn new(most: usize, now: Instant) -> Self {
        let mut out = buffer::frames();
        let list = u32::try_from(most).unwrap_or(u32::MAX);
        frame::settings_of(&mut out, &settings::ours(STREAMS, WINDOW, list));
        frame::numbers(&mut out, Kind::Window, 0, &[WINDOWS - FIRST]);
        Self {
            out,
            sent: 0,
            stage: Stage::Preface,
            leave: Leave::No,
            client_leaves: false,
            unsettled: 1,
            theirs: Settings::new(),
            forget: false,
            outflow: Outflow::new(FIRST),
            inflow: Inflow::new(WINDOWS),
            decoder: Decoder::new(),
            lines: Lines::default(),
            block: None,
            parts: Vec::new(),
            most,
            streams: Vec::new(),
            used: 0,
            last: 0,
            forgiven: VecDeque::new(),
            budget: Budget::new(now),
            ready: 0,
            want_room: 0,
            want_window: 0,
        }
    }

    /// The client has said who it is, and is not in the middle of a head.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.stage == Stage::Begun && self.block.is_none()
    }

    /// Nobody has anything to do any more.
    pub(crate) fn is_over(&self) -> bool {
        self.used == 0 && (self.client_leaves || matches!(self.leave, Leave::Last(_)))
    }

    /// No request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.used == 0
    }

    /// More of what we have to say waits than anybody reads.
    pub(crate) fn is_stuffed(&self) -> bool {
        self.waiting().len() > 2 * MOST
    }

    /// What waits to be sent.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// So much of it was sent.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.out.len() {
            (self.ready, self.want_room) = (self.ready | self.want_room, 0);
            self.out.clear();
            self.sent = 0;
        }
    }

    /// Something may be said now: there is room for it.
    pub(crate) fn stir(&mut self) {
        if self.out.capacity() == 0 {
            self.out = buffer::frames();
        }
    }

    /// Nothing is said for now: who waits holds no buffer.
    pub(crate) fn settle(&mut self) {
        if self.out.is_empty() {
            buffer::done_with_frames(std::mem::take(&mut self.out));
        }
    }

    /// Nothing was heard for a while, and nobody is answered: memory goes back.
    pub(crate) fn rest(&mut self) {
        (self.lines, self.streams) = (Lines::default(), Vec::new());
    }

    /// The places that have something new to do.
    pub(crate) fn take_ready(&mut self) -> u128 {
        std::mem::take(&mut self.ready)
    }

    fn break_off(&mut self, stream: u32, code: Code) {
        frame::numbers(&mut self.out, Kind::Reset, stream, &[code as u32]);
        if self.forgiven.len() == FORGIVEN {
            self.forgiven.pop_front();
        }
        self.forgiven.push_back(stream);
    }

    /// Nobody is to hear of the stream any more; its place is free once its request was forgotten.
    fn give_up(&mut self, stream: u32) -> Event {
        let Some(slot) = self.find(stream) else { return Event::None };
        self.streams[slot].id = 0;
        Event::Gone(slot)
    }

    /// All requests are to be forgotten, because their client is gone: their places.
    pub(crate) fn give_all_up(&mut self) -> impl Iterator<Item = usize> + use<> {
        for slot in places(self.used) {
            self.streams[slot].id = 0;
        }
        places(self.used)
    }

    /// The request in this place is answered as far as it will be, or forgotten.
    pub(crate) fn finish(&mut self, slot: usize) {
        let bit = 1_u128 << slot;
        let Some(at) = self.streams.get_mut(slot).filter(|_| self.used & bit != 0) else { return };
        let (stream, rest) = (std::mem::take(&mut at.id), at.inbound.clear());
        let (is_answered, is_heard) = (at.outbound.is_ended(), at.inbound.is_ended());
        for bits in [&mut self.used, &mut self.ready, &mut self.want_room, &mut self.want_window] {
            *bits &= !bit;
        }
        self.credit(rest);
        match (stream, is_answered, is_heard) {
            (0, ..) | (_, true, true) => (),
            // The client need not go on with a body that nobody reads (RFC 9113, 8.1).
            (stream, true, false) => self.break_off(stream, Code::None),
            (stream, false, _) => self.break_off(stream, Code::Internal),
        }
    }

    /// There is something to read for whoever answers the request in this place.
    pub(crate) fn is_readable(&self, slot: usize) -> Poll<io::Result<()>> {
        match self.streams.get(slot) {
            Some(at) if at.id > 0 && !at.inbound.is_ready() => Poll::Pending,
            Some(at) if at.id > 0 => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    /// Reads it.
    pub(crate) fn read(&mut self, slot: usize, room: &mut [u8]) -> usize {
        let Some(at) = self.streams.get_mut(slot) else { return 0 };
        let (count, taken) = at.inbound.take(room);
        self.taken(slot, taken);
        count
    }

    /// Takes as much of an answer as its client has room for.
    pub(crate) fn write(&mut self, slot: usize, parts: &[&[u8]]) -> io::Result<usize> {
        let Self { streams, out, forget, outflow, .. } = self;
        let Some(at) = streams.get_mut(slot).filter(|at| at.id > 0) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let sink = &mut Sink { out, forget, window: outflow, own: &mut at.outflow, stream: at.id };
        let taken = at.outbound.write(parts, sink)?;
        if taken == 0 {
            let waits = if self.out.len() >= MOST { &mut self.want_room } else { &mut self.want_window };
            *waits |= 1 << slot;
        }
        Ok(taken)
    }

    /// So much of a body was taken.
    fn taken(&mut self, slot: usize, count: usize) {
        let at = &mut self.streams[slot];
        if let (stream @ 1.., false, Some(more)) = (at.id, at.inbound.is_ended(), at.inflow.taken(count)) {
            frame::numbers(&mut self.out, Kind::Window, stream, &[more]);
        }
        self.credit(count);
    }

    fn credit(&mut self, count: usize) {
        if let Some(more) = self.inflow.taken(count) {
            frame::numbers(&mut self.out, Kind::Window, 0, &[more]);
        }
    }

    /// Asks the client whether it is there.
    pub(crate) fn ask(&mut self) {
        frame::ping_of(&mut self.out, 0, ALIVE);
    }

    /// Says that we go: what the client has asked until it reads this is answered.
    pub(crate) fn leave(&mut self) {
        if self.leave == Leave::No {
            self.leave = Leave::Said(ANSWERS);
            frame::numbers(&mut self.out, Kind::GoAway, 0, &[BITS, Code::None as u32]);
            frame::ping_of(&mut self.out, 0, LEAVING);
        }
    }

    /// The client has answered.
    fn left(&mut self) {
        match self.leave {
            Leave::Said(more @ 2..) => {
                self.leave = Leave::Said(more - 1);
                frame::ping_of(&mut self.out, 0, LEAVING);
            }
            Leave::Said(_) => self.last_word(),
            Leave::No | Leave::Last(_) => (),
        }
    }

    /// Says which request is the last one, if we said that we go.
    pub(crate) fn last_word(&mut self) {
        if matches!(self.leave, Leave::Said(_)) {
            self.leave = Leave::Last(self.last);
            self.say_goodbye(Code::None);
        }
    }

    /// Says why the connection ends.
    pub(crate) fn say_goodbye(&mut self, code: Code) {
        let last = if let Leave::Last(last) = self.leave { last } else { self.last };
        frame::numbers(&mut self.out, Kind::GoAway, 0, &[last, code as u32]);
    }

    fn find(&self, stream: u32) -> Option<usize> {
        self.streams.iter().position(|at| at.id == stream)
    }

    /// Nobody has used this number, nor a higher one. Those of even numbers would be ours, and we use none.
    fn is_idle_stream(&self, stream: u32) -> bool {
        stream > self.last || stream.is_multiple_of(2)
    }

    /// More of it may have been on its way when it ended.
    fn is_forgiven(&self, stream: u32) -> bool {
        matches!(self.leave, Leave::Last(last) if stream > last) || self.forgiven.contains(&stream)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        buffer::done_with_frames(std::mem::take(&mut self.out));
    }
}
