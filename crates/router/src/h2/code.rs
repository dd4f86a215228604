//! What goes wrong, and for whom: for one stream, or for all of its connection.

/// Codes of errors (RFC 9113, 7), as far as we have a use for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Code {
    /// Nothing is wrong.
    None = 0,
    /// The other side does what it must not.
    Protocol = 1,
    /// An answer cannot be given to its end.
    Internal = 2,
    /// More came than there was room for.
    FlowControl = 3,
    /// Something came for a stream that had ended.
    StreamClosed = 5,
    /// A frame is too long, or too short for what it is.
    FrameSize = 6,
    /// Nothing was done with the request.
    Refused = 7,
    /// A header block is none.
    Compression = 9,
    /// The other side costs more than it should.
    Calm = 11,
}

/// What a frame may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection.
    Connection(Code),
    /// One stream.
    Stream(u32, Code),
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self::Connection(code)
    }
}
