//! Why a message goes no further. Each reason has one status and one sentence; none of them repeats what the other side sent.

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The first line is none.
    Line,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// The first line is too long.
    LongLine,
    /// The head is too long.
    LongHead,
    /// Too many header lines.
    ManyLines,
    /// A line ends in something else than CR LF.
    LineEnd,
    /// A header line is none, or holds a byte that it must not.
    Field,
    /// A `Connection` line names more than any honest one.
    Connection,
    /// No `Host`, or an empty one.
    NoHost,
    /// More than one `Host`, or one that contradicts the request's target.
    TwoHosts,
    /// A `Host` that is none.
    BadHost,
    /// A target that is none, or not for this method.
    Target,
    /// A path that can be read so that one app answers, or another one.
    Path,
    /// The host's app ends TLS itself, on connections of its own.
    Misdirected,
    /// `CONNECT`.
    Method,
    /// A `Content-Length` that is not one plain number.
    Length,
    /// A `Transfer-Encoding` other than exactly `chunked`, or in HTTP/1.0.
    Coding,
    /// Both of them.
    Both,
    /// A body whose chunks are none.
    Chunk,
    /// The trailer section is too long or holds what must not be there.
    Trailer,
    /// The head or the body did not come in time.
    Slow,
}

impl Refusal {
    /// The status that says so.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::LongLine => 414,
            Self::Misdirected => 421,
            Self::LongHead | Self::ManyLines => 431,
            Self::Method => 405,
            Self::Slow => 408,
            _ => 400,
        }
    }

    /// The same for people.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Line => "The request's first line is not HTTP.",
            Self::Version => "This speaks HTTP/1.0 and HTTP/1.1.",
            Self::LongLine => "The request's first line is too long.",
            Self::LongHead => "The request's head is too long.",
            Self::ManyLines => "The request has too many header lines.",
            Self::LineEnd => "A line of the request does not end in CR LF.",
            Self::Field => "A header line of the request is not one.",
            Self::Connection => "The request's Connection header names too much.",
            Self::NoHost => "The request has no Host header.",
            Self::TwoHosts => "The request names more than one host.",
            Self::BadHost => "The request's Host header is not a host name.",
            Self::Target => "The request's target is not one.",
            Self::Path => "The request's path can be read in two ways, which lead to different apps.",
            Self::Misdirected => {
                "This host's app ends TLS itself: ask it on a connection that is for this host only."
            }
            Self::Method => "CONNECT is not offered here.",
            Self::Length => "The request's Content-Length is not one number.",
            Self::Coding => "The request's Transfer-Encoding is not exactly chunked.",
            Self::Both => "The request has both a Content-Length and a Transfer-Encoding.",
            Self::Chunk => "The request's body is not chunked as it says.",
            Self::Trailer => "The request's trailer section is not one.",
            Self::Slow => "The request did not come in time.",
        }
    }
}
