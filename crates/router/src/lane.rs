//! One direction of an exchange: read here, decoded, framed anew, written there. At most one buffer is between the two sides, so that a
//! slow receiver holds the sender back.
//!
//! What is written is always `before` (a head, a chunk's size), `data` (in the buffer), `after` (a chunk's end, the last chunk): one call.

use crate::{
    buffer::{self, Buffer, MUCH},
    codec::{Body, Framing, Refusal},
    splice::Splice,
    text,
    wire::Wire,
};
use std::{
    io,
    task::{Context, Poll, ready},
};

/// Less than this is copied behind its head.
const FEW: usize = 2048;

/// Why a direction does not go on.
#[derive(Debug)]
pub(crate) enum Broke {
    /// The sender's socket failed, or ended inside the body.
    From,
    /// The receiver's socket failed.
    To,
    /// The sender's body is none.
    Odd(Refusal),
}

/// A direction.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What was read; raw bytes in it may belong to what follows the body.
    pub(crate) buffer: Option<Buffer>,
    /// What goes past the buffer, behind all that is staged.
    splice: Option<Splice>,
    /// So far nothing says that a large body has to be copied.
    passes: bool,
    /// Much is expected before its length is known.
    large: bool,
    body: Body,
    chunked: bool,
    trailers: bool,
    before: Vec<u8>,
    after: Vec<u8>,
    /// How much of before, data and after was written.
    sent: usize,
    /// The last chunk was staged, or there is none to stage.
    ended: bool,
}

impl Lane {
    /// A direction in which nothing goes yet.
    pub(crate) fn new() -> Self {
        Self {
            buffer: None,
            splice: None,
            passes: false,
            large: false,
            body: Body::new(Framing::None),
            chunked: false,
            trailers: false,
            before: Vec::new(),
            after: Vec::new(),
            sent: 0,
            ended: true,
        }
    }

    /// The same, in which much is expected.
    pub(crate) fn expecting(large: bool) -> Self {
        let mut lane = Self::new();
        lane.large = large;
        lane
    }

    /// What was read and not looked at yet.
    pub(crate) fn raw(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::raw)
    }

    /// The first `count` raw bytes are done with.
    pub(crate) fn skip(&mut self, count: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.skip(count);
        }
        self.release();
    }

    /// Nobody waits with a buffer or a pipe in hand.
    pub(crate) fn release(&mut self) {
        if self.buffer.as_ref().is_some_and(Buffer::is_empty) {
            self.buffer = None;
        }
        if self.splice.as_ref().is_some_and(Splice::is_empty) {
            self.splice = None;
        }
    }

    /// Sends a head of its own, with no body: an interim answer.
    pub(crate) fn say(&mut self, head: Vec<u8>) {
        self.before = head;
        self.sent = 0;
    }

    /// Sends this head and then a body: framed so on its way in, and in chunks on its way out if `chunked`.
    pub(crate) fn start(&mut self, head: Vec<u8>, framing: Framing, chunked: bool, trailers: bool) {
        self.say(head);
        self.body = Body::new(framing);
        (self.chunked, self.trailers, self.ended) = (chunked, trailers, !chunked && self.body.is_done());
        self.passes = !chunked && matches!(framing, Framing::Length(length) if length > MUCH);
    }

    /// The head that waits to be sent.
    pub(crate) fn head(&self) -> &[u8] {
        &self.before
    }

    /// Everything is staged again from the head on. Only sound while nothing was written, or nothing but a head without a body.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Lets go of what is on its way; what follows the body stays.
    pub(crate) fn clear(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.unstage();
        }
        self.splice = None;
        self.release();
        buffer::done_with(std::mem::take(&mut self.before));
        buffer::done_with(std::mem::take(&mut self.after));
        self.sent = 0;
    }

    /// All of the body was read.
    pub(crate) fn is_read(&self) -> bool {
        self.body.is_done()
    }

    /// Something waits to be written.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent < self.staged() || self.holds()
    }

    /// Something is in the pipe.
    fn holds(&self) -> bool {
        self.splice.as_ref().is_some_and(|splice| !splice.is_empty())
    }

    /// Everything is written, to the last chunk.
    pub(crate) fn is_over(&self) -> bool {
        self.ended && self.body.is_done() && !self.is_waiting()
    }

    fn staged(&self) -> usize {
        self.before.len() + self.data().len() + self.after.len()
    }

    fn data(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::data)
    }

    /// Decodes what was read, and says whether there is something new to write.
    pub(crate) fn stage(&mut self) -> Result<bool, Refusal> {
        if let Some(buffer) = &mut self.buffer
            && !self.body.is_done()
        {
            let progress = self.body.decode(buffer.raw_mut())?;
            buffer.stage(progress.taken, progress.data);
        }
        let count = self.data().len();
        if self.chunked {
            if count > 0 {
                text::hex(&mut self.before, count as u64, 1);
                self.before.extend_from_slice(b"\r\n");
                self.after.extend_from_slice(b"\r\n");
            }
            if self.body.is_done() {
                self.finish();
            }
        } else {
            self.ended |= self.body.is_done();
        }
        self.merge();
        Ok(self.is_waiting())
    }

    /// A head and a little behind it become one piece: copying that costs less than a call with several pieces.
    fn merge(&mut self) {
        let Some(buffer) = self.buffer.as_mut().filter(|buffer| (1..=FEW).contains(&buffer.data().len()))
        else {
            return;
        };
        if !self.before.is_empty() {
            self.before.extend_from_slice(buffer.data());
            self.before.append(&mut self.after);
            buffer.unstage();
        }
    }

    /// The last chunk.
    fn finish(&mut self) {
        if !self.ended {
            self.after.extend_from_slice(b"0\r\n");
            if self.trailers {
                self.after.extend_from_slice(self.body.trailers());
            }
            self.after.extend_from_slice(b"\r\n");
            self.ended = true;
        }
    }

    /// Ends in good order where it is, if the receiver can tell an end from a break.
    pub(crate) fn cut_short(&mut self) -> bool {
        if !self.chunked {
            return false;
        }
        self.body = Body::new(Framing::None);
        self.finish();
        true
    }

    /// The sender has closed: whether that was the end of its body.
    pub(crate) fn close(&mut self) -> bool {
        self.body.close()
    }

    /// Writes all that is staged, and then what is in the pipe.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut Wire) -> Poll<io::Result<()>> {
        while self.sent < self.staged() {
            let mut parts: [&[u8]; 3] = [&[]; 3];
            let (mut count, mut skip) = (0, self.sent);
            for part in [self.before.as_slice(), self.data(), self.after.as_slice()] {
                if skip < part.len() {
                    parts[count] = &part[skip..];
                    count += 1;
                }
                skip = skip.saturating_sub(part.len());
            }
            self.sent += ready!(to.poll_write(cx, &parts[..count]))?;
        }
        while let Some(splice) = self.splice.as_mut().filter(|splice| !splice.is_empty()) {
            ready!(to.poll_drain(cx, splice))?;
        }
        Poll::Ready(Ok(()))
    }

    /// What was staged is out: room for more. The head of a request is kept until then only.
    pub(crate) fn unstage(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.unstage();
        }
        self.before.clear();
        self.after.clear();
        self.sent = 0;
    }

    /// Reads more from `from`; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, from: &mut Wire) -> Poll<io::Result<usize>> {
        from.poll_fill(cx, &mut self.buffer, self.large || self.body.left() > MUCH)
    }

    /// Reads more of the body; 0 is the end. What is large goes into a pipe if both sides are plain sockets.
    pub(crate) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        to: &Wire,
    ) -> Poll<io::Result<usize>> {
        if self.passes_by(from, to) {
            match ready!(self.poll_pipe(cx, from)) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => self.passes = false,
                done => return Poll::Ready(done),
            }
        }
        self.poll_fill(cx, from)
    }

    /// What follows can go through a pipe, which is there.
    fn passes_by(&mut self, from: &Wire, to: &Wire) -> bool {
        if !self.passes || self.body.left() <= MUCH || !self.raw().is_empty() || !from.joins(to) {
            return false;
        }
        if self.splice.is_none() {
            self.splice = Splice::take();
            // Not asked for again until the next body: there is none, now.
            self.passes = self.splice.is_some();
        }
        self.passes
    }

    fn poll_pipe(&mut self, cx: &mut Context<'_>, from: &mut Wire) -> Poll<io::Result<usize>> {
        let Some(splice) = &mut self.splice else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        let count = ready!(from.poll_pipe(cx, splice, self.body.left()))?;
        self.body.pass(count as u64);
        Poll::Ready(Ok(count))
    }

    /// Goes on until the body has arrived, ready then; `keep`: a head without a body is kept for another attempt.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Wire,
        to: &mut Wire,
    ) -> Poll<Result<(), Broke>> {
        loop {
            if ready!(self.poll_flush(cx, to)).is_err() {
                return Poll::Ready(Err(Broke::To));
            }
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            self.unstage();
            if self.stage().map_err(Broke::Odd)? || self.is_over() {
                continue;
            }
            match self.poll_more(cx, from, to) {
                Poll::Ready(Ok(0)) if self.close() => (),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Broke::From)),
                Poll::Ready(Ok(_)) => (),
                Poll::Pending => {
                    self.release();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.clear();
    }
}
