//! Buffers: taken from this thread's shelf when something can be read, back on it as soon as nothing is in them. Who waits holds none.
//!
//! A buffer holds two ranges: `data`, decoded and on its way out, and behind it `raw`, read and not looked at yet.

use std::{cell::RefCell, ops::Range};

/// A buffer's size, unless much is to come.
const SMALL: usize = 16 * 1024;

/// A buffer's size for a body of which more than [`MUCH`] is left, and for a head that does not fit otherwise.
pub(crate) const LARGE: usize = 64 * 1024;

/// More than this is worth a large buffer, or a pipe (see [`crate::splice`]).
pub(crate) const MUCH: u64 = 32 * 1024;

/// Buffers of each kind that a thread keeps for later.
const KEPT: usize = 64;

/// A text that grew beyond this is not kept.
const LONG_TEXT: usize = 8 * 1024;

#[derive(Default)]
struct Shelf {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    texts: Vec<Vec<u8>>,
    frames: Vec<Vec<u8>>,
}

thread_local! {
    static SHELF: RefCell<Shelf> = RefCell::default();
}

fn with<T>(use_it: impl FnOnce(&mut Shelf) -> T) -> Option<T> {
    // When the thread ends, the shelf may be gone before the last buffer.
    SHELF.try_with(|shelf| use_it(&mut shelf.borrow_mut())).ok()
}

/// An empty text that may have room already.
pub(crate) fn text() -> Vec<u8> {
    with(|shelf| shelf.texts.pop()).flatten().unwrap_or_default()
}

/// Gives a text back that is needed no more.
pub(crate) fn done_with(mut text: Vec<u8>) {
    if (1..=LONG_TEXT).contains(&text.capacity()) {
        text.clear();
        with(|shelf| {
            if shelf.texts.len() < KEPT {
                shelf.texts.push(text)
            }
        });
    }
}

/// Empty room for frames on their way out, with place for many.
pub(crate) fn frames() -> Vec<u8> {
    with(|shelf| shelf.frames.pop()).flatten().unwrap_or_else(|| Vec::with_capacity(SMALL))
}

/// Gives such room back; what grew beyond all need is not kept.
pub(crate) fn done_with_frames(mut frames: Vec<u8>) {
    if (1..=2 * LARGE).contains(&frames.capacity()) {
        frames.clear();
        with(|shelf| {
            if shelf.frames.len() < KEPT {
                shelf.frames.push(frames);
            }
        });
    }
}

/// Bytes between two sockets.
#[derive(Debug)]
pub(crate) struct Buffer {
    store: Box<[u8]>,
    data: Range<usize>,
    raw: Range<usize>,
}

impl Buffer {
    /// An empty one, large if there is much to come.
    pub(crate) fn take(large: bool) -> Self {
        let kept = with(|shelf| if large { shelf.large.pop() } else { shelf.small.pop() }).flatten();
        let size = if large { LARGE } else { SMALL };
        let store = kept.unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Self { store, data: 0..0, raw: 0..0 }
    }

    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.raw.is_empty()
    }

    /// What was read and not looked at yet.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.store[self.raw.clone()]
    }

    /// The same, to be decoded where it lies.
    pub(crate) fn raw_mut(&mut self) -> &mut [u8] {
        &mut self.store[self.raw.clone()]
    }

    /// The first `count` raw bytes are done with.
    pub(crate) fn skip(&mut self, count: usize) {
        self.raw.start = (self.raw.start + count).min(self.raw.end);
    }

    /// The first `taken` raw bytes are done with, but for those within `data`, which are on their way out now.
    pub(crate) fn stage(&mut self, taken: usize, data: Range<usize>) {
        self.data = self.raw.start + data.start..self.raw.start + data.end;
        self.skip(taken);
    }

    /// What is on its way out.
    pub(crate) fn data(&self) -> &[u8] {
        &self.store[self.data.clone()]
    }

    /// It is out.
    pub(crate) fn unstage(&mut self) {
        self.data = 0..0;
    }

    /// Room to read into, made if there is none; none if the buffer is as large as it gets and full. Only while nothing is on its way out.
    pub(crate) fn room(&mut self, grow: bool) -> &mut [u8] {
        if self.raw.is_empty() {
            self.raw = 0..0;
        }
        if self.raw.end == self.store.len() && self.raw.start > 0 {
            self.store.copy_within(self.raw.clone(), 0);
            self.raw = 0..self.raw.len();
        }
        if self.store.len() < LARGE && (grow || self.raw.end == self.store.len()) {
            let mut large = Self::take(true);
            large.store[..self.raw.len()].copy_from_slice(self.raw());
            large.raw = 0..self.raw.len();
            *self = large;
        }
        &mut self.store[self.raw.end..]
    }

    /// So many bytes were read into the room.
    pub(crate) fn filled(&mut self, count: usize) {
        self.raw.end = (self.raw.end + count).min(self.store.len());
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let store = std::mem::take(&mut self.store);
        with(|shelf| {
            let kept = if store.len() == LARGE { &mut shelf.large } else { &mut shelf.small };
            if kept.len() < KEPT && !store.is_empty() {
                kept.push(store);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_buffer_survives_its_growth() {
        let mut buffer = Buffer::take(false);
        let mut read = 0;
        while !buffer.room(false).is_empty() {
            let room = buffer.room(false);
            let count = room.len().min(5000);
            room[..count].fill(u8::try_from(read % 251).expect("small"));
            buffer.filled(count);
            read += count;
        }
        assert_eq!((read, buffer.raw().len()), (LARGE, LARGE));
        buffer.skip(1000);
        assert_eq!(buffer.room(false).len(), 1000);
        buffer.stage(6000, 0..10);
        assert_eq!((buffer.data().len(), buffer.raw().len()), (10, LARGE - 7000));
    }
}
