//! What both ends of one connection know of each other: streams, windows, tables, and what waits to be sent. Pure: frames in, frames and events out; no
//! socket, no clock, no task, so that every order of frames can be tried.
//!
//! It is shared by the connection, which feeds it, and by the streams' pipes, which read bodies from it and write answers to it.

use super::{
    budget::Budget,
    code::{Code, Fault},
    frame::{self, ACK, BITS, Frame, Kind},
    hpack::Decoder,
    outbound::{MOST, Sink},
    request::{Head, Lines, Wrong},
    settings::{self, Settings},
    stream::Stream,
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
/// What a client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
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
    /// We have said that we will go.
    Said,
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

    /// Nothing was said or heard for a while: memory goes back.
    pub(crate) fn rest(&mut self) {
        if self.out.is_empty() && self.out.capacity() > 0 {
            buffer::done_with_frames(std::mem::take(&mut self.out));
        }
    }

    /// The places that have something new to do.
    pub(crate) fn take_ready(&mut self) -> u128 {
        std::mem::take(&mut self.ready)
    }

    /// Reads what comes first in these bytes: what is to be done about it, and how long it was; nothing as long as it is not whole.
    ///
    /// # Errors
    /// If the connection must end; why.
    pub(crate) fn next(&mut self, bytes: &[u8], now: Instant) -> Result<Option<(Event, usize)>, Code> {
        if self.stage == Stage::Preface {
            let length = bytes.len().min(PREFACE.len());
            if bytes[..length] != PREFACE[..length] {
                return Err(Code::Protocol);
            }
            if length < PREFACE.len() {
                return Ok(None);
            }
            self.stage = Stage::Settings;
            return Ok(Some((Event::None, length)));
        }
        match frame::parse(bytes) {
            Ok(None) => Ok(None),
            Ok(Some((frame, length))) => {
                let event = self.take(frame, now).or_else(|fault| self.fail(fault, now))?;
                Ok(Some((event, length)))
            }
            Err(fault) => {
                // Only frames that are whole break a stream alone.
                let length = frame::HEAD
                    + usize::from(bytes[0]) * 65_536
                    + usize::from(bytes[1]) * 256
                    + usize::from(bytes[2]);
                self.fail(fault, now).map(|event| Some((event, length)))
            }
        }
    }

    fn take(&mut self, frame: Frame<'_>, now: Instant) -> Result<Event, Fault> {
        let is_next =
            |block: Block| matches!(frame, Frame::Continuation { stream, .. } if stream == block.stream);
        if self.block.is_some_and(|block| !is_next(block)) {
            return Err(Code::Protocol.into());
        }
        if self.stage == Stage::Settings && !matches!(frame, Frame::Settings(_)) {
            return Err(Code::Protocol.into());
        }
        match frame {
            Frame::Data { stream, content, padding, last } => {
                return self.data(stream, content, padding, last, now);
            }
            Frame::Headers { stream, block, last, whole, own } => {
                let head = Block { stream, last, own };
                if whole {
                    return self.headers(head, block, now);
                }
                self.block = Some(head);
                self.parts.clear();
                self.parts.extend_from_slice(block);
            }
            Frame::Continuation { block, whole, .. } => return self.continuation(block, whole, now),
            Frame::Priority { stream, own: true } => return Err(Fault::Stream(stream, Code::Protocol)),
            Frame::Priority { .. } => (),
            Frame::Reset { stream } => return self.reset(stream, now),
            Frame::Settings(values) => self.settings(values, now)?,
            Frame::Settled => self.unsettled = self.unsettled.checked_sub(1).ok_or(Code::Protocol)?,
            Frame::Ping(mark) => {
                self.budget.idle(now)?;
                frame::ping_of(&mut self.out, ACK, mark);
            }
            Frame::Pong(mark) if mark == LEAVING => self.last_word(),
            Frame::Pong(_) | Frame::Unknown => self.budget.idle(now)?,
            Frame::GoAway => self.client_leaves = true,
            Frame::Window { stream, more } => self.window(stream, more)?,
        }
        Ok(Event::None)
    }

    fn data(
        &mut self,
        stream: u32,
        content: &[u8],
        padding: usize,
        last: bool,
        now: Instant,
    ) -> Result<Event, Fault> {
        let count = content.len() + padding;
        self.inflow.came(count)?;
        let Some(slot) = self.find(stream) else {
            self.credit(count);
            return match self.is_idle_stream(stream) {
                true => Err(Code::Protocol.into()),
                false if self.is_forgiven(stream) => Ok(Event::None),
                false => Err(Fault::Stream(stream, Code::StreamClosed)),
            };
        };
        let at = &mut self.streams[slot];
        let came = if at.inbound.is_ended() {
            Err(Code::StreamClosed)
        } else {
            at.inflow.came(count).and_then(|()| at.inbound.came(content, last))
        };
        if let Err(code) = came {
            // What was not kept of it will not be taken, either.
            self.credit(count);
            return Err(Fault::Stream(stream, code));
        }
        if content.is_empty() && !last {
            self.budget.idle(now)?;
        }
        self.taken(slot, padding);
        self.ready |= 1 << slot;
        Ok(Event::None)
    }

    fn continuation(&mut self, part: &[u8], whole: bool, now: Instant) -> Result<Event, Fault> {
        let block = self.block.ok_or(Code::Protocol)?;
        if part.is_empty() {
            self.budget.idle(now)?;
        }
        if self.parts.len() + part.len() > self.most.max(frame::LONGEST) {
            return Err(Code::Calm.into());
        }
        self.parts.extend_from_slice(part);
        if !whole {
            return Ok(Event::None);
        }
        self.block = None;
        let parts = std::mem::take(&mut self.parts);
        self.headers(block, &parts, now)
    }

    /// A whole block; it is read whatever becomes of its stream, so that both tables stay the same.
    fn headers(&mut self, block: Block, bytes: &[u8], now: Instant) -> Result<Event, Fault> {
        let Block { stream, last, own } = block;
        let is_new = self.is_idle_stream(stream);
        self.lines.begin(self.most, !is_new);
        let Self { decoder, lines, .. } = self;
        decoder.read(bytes, |name, value| lines.line(name, value)).map_err(|_| Code::Compression)?;
        if is_new {
            return self.open(stream, last, own, now);
        }
        let Some(slot) = self.find(stream) else {
            return if self.is_forgiven(stream) { Ok(Event::None) } else { Err(Code::StreamClosed.into()) };
        };
        let fault = |code| Fault::Stream(stream, code);
        let inbound = &mut self.streams[slot].inbound;
        if inbound.is_ended() {
            return Err(fault(Code::StreamClosed));
        }
        if !last || own {
            return Err(fault(Code::Protocol));
        }
        let trailers = self.lines.trailers().map_err(|_| fault(Code::Protocol))?;
        inbound.end(trailers).map_err(fault)?;
        self.ready |= 1 << slot;
        Ok(Event::None)
    }

    /// A new stream.
    fn open(&mut self, stream: u32, last: bool, own: bool, now: Instant) -> Result<Event, Fault> {
        if stream.is_multiple_of(2) {
            return Err(Code::Protocol.into());
        }
        self.last = stream;
        if matches!(self.leave, Leave::Last(_)) {
            return Ok(Event::None);
        }
        let slot = (!self.used).trailing_zeros() as usize;
        if own || slot >= STREAMS as usize {
            return Err(Fault::Stream(stream, if own { Code::Protocol } else { Code::Refused }));
        }
        let head = match self.lines.head(last, buffer::text()) {
            Err(Wrong::Malformed) => {
                self.fail(Fault::Stream(stream, Code::Protocol), now)?;
                return Ok(Event::Malformed);
            }
            other => other,
        };
        if slot == self.streams.len() {
            self.streams.push(Stream::new());
        }
        let at = &mut self.streams[slot];
        at.id = stream;
        at.inbound.begin(head.as_ref().ok().and_then(|head| head.length), last);
        at.outbound.begin(head.as_ref().is_ok_and(|head| head.is_head));
        (at.inflow, at.outflow) = (Inflow::new(WINDOW), Outflow::new(self.theirs.window));
        (self.used, self.ready) = (self.used | 1 << slot, self.ready | 1 << slot);
        Ok(Event::Asks(slot, head))
    }

    fn reset(&mut self, stream: u32, now: Instant) -> Result<Event, Fault> {
        if self.is_idle_stream(stream) {
            return Err(Code::Protocol.into());
        }
        self.budget.reset(now)?;
        Ok(self.give_up(stream))
    }

    fn settings(&mut self, values: &[[u8; 6]], now: Instant) -> Result<(), Fault> {
        self.budget.idle(now)?;
        self.stage = Stage::Begun;
        let before = self.theirs;
        self.theirs = before.with(values)?;
        self.forget |= self.theirs.table < before.table;
        let by = i64::from(self.theirs.window) - i64::from(before.window);
        if by != 0 {
            for slot in places(self.used) {
                self.streams[slot].outflow.change(by)?;
            }
            self.widened();
        }
        frame::settled(&mut self.out);
        Ok(())
    }

    fn window(&mut self, stream: u32, more: u32) -> Result<(), Fault> {
        if stream == 0 {
            if more == 0 {
                return Err(Code::Protocol.into());
            }
            self.outflow.change(i64::from(more))?;
            self.widened();
            return Ok(());
        }
        if self.is_idle_stream(stream) {
            return Err(Code::Protocol.into());
        }
        let Some(slot) = self.find(stream) else { return Ok(()) };
        if more == 0 {
            return Err(Fault::Stream(stream, Code::Protocol));
        }
        self.streams[slot].outflow.change(i64::from(more)).map_err(|code| Fault::Stream(stream, code))?;
        let waits = self.want_window & 1 << slot;
        (self.ready, self.want_window) = (self.ready | waits, self.want_window & !waits);
        Ok(())
    }

    /// Whoever waits for a window looks again.
    fn widened(&mut self) {
        (self.ready, self.want_window) = (self.ready | self.want_window, 0);
    }

    /// A fault of one stream ends that stream, unless there is none that could be ended.
    fn fail(&mut self, fault: Fault, now: Instant) -> Result<Event, Code> {
        let (stream, code) = match fault {
            Fault::Connection(code) => return Err(code),
            Fault::Stream(stream, code) => (stream, code),
        };
        if self.block.is_some() {
            return Err(Code::Protocol);
        }
        if self.is_idle_stream(stream) {
            return Err(code);
        }
        self.budget.reset(now)?;
        self.break_off(stream, code);
        Ok(self.give_up(stream))
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
        if out.capacity() == 0 {
            *out = buffer::frames();
        }
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
            self.leave = Leave::Said;
            frame::numbers(&mut self.out, Kind::GoAway, 0, &[BITS, Code::None as u32]);
            frame::ping_of(&mut self.out, 0, LEAVING);
        }
    }

    /// Says which request is the last one, if we said that we go.
    pub(crate) fn last_word(&mut self) {
        if self.leave == Leave::Said {
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

/// The places whose bits are set.
pub(crate) fn places(mut bits: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (place < u128::BITS).then_some(place as usize)
    })
}
