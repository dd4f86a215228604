//! A body on its way in: how much of some bytes belongs to it, and when it has ended.

use super::{
    Framing, Refusal,
    chunked::{Chunked, Progress},
};

/// A body that is being read.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes are left; none: it has ended.
    Length(u64),
    /// Boxed: most bodies are not.
    Chunked(Box<Chunked>),
    /// All that comes.
    UntilClose,
}

impl Body {
    /// A body before its first byte.
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::new(Chunked::new())),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Nothing follows.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How much is certain to follow.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(chunked) => chunked.left(),
            Self::UntilClose => 0,
        }
    }

    /// So many bytes of it went another way; only where its length is known.
    pub(crate) fn pass(&mut self, count: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(count);
        }
    }

    /// Header lines that came behind it.
    pub(crate) fn trailers(&self) -> &[u8] {
        if let Self::Chunked(chunked) = self { chunked.trailers() } else { &[] }
    }

    /// Goes on through `bytes`.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Result<Progress, Refusal> {
        let taken = match self {
            Self::Chunked(chunked) => return chunked.decode(bytes),
            Self::UntilClose => bytes.len(),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                taken
            }
        };
        Ok(Progress { taken, data: 0..taken })
    }

    /// The sender has closed: whether that was the end.
    pub(crate) fn close(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Length(0);
        }
        self.is_done()
    }
}
