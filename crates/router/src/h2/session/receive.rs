//! What a client's frames do to the session: each is taken whole, in order, and either has its effect or breaks its stream, or the connection.

use super::{Block, Event, LEAVING, Leave, STREAMS, Session, Stage, WINDOW};
use crate::{
    buffer,
    h2::{
        code::{Code, Fault},
        frame::{self, ACK, Frame},
        request::Wrong,
        stream::Stream,
        turns::places,
        windows::{Inflow, Outflow},
    },
};
use std::time::Instant;

/// What a client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Session {
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
            Frame::Pong(mark) if mark == LEAVING => {
                self.budget.idle(now)?;
                self.left();
            }
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
}
