//! Header compression of HTTP/2 (RFC 7541), pure: blocks in, header lines out, and back. What a client sends is read to the letter; what we send
//! uses no table that could be out of step.
//!
//! It must never take more memory than the table was said to have, and never accept what another reader could read differently.

mod decoder;
pub(crate) mod encoder;
mod huffman;
mod integer;
mod statics;
mod table;

pub(crate) use decoder::Decoder;

/// A block is none: its connection cannot go on, because the two tables are not the same any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Odd;

#[cfg(any(test, fuzzing))]
pub(crate) use {huffman::encode as huffman, statics::LINES};
