//! Frames of HTTP/2 (RFC 9113, 4 and 6), pure: what the bytes of a client mean, and the bytes of what we say. Nothing is copied.
//!
//! It knows what a frame may be by itself and nothing of what came before it: that is the session's business.

use super::code::{Code, Fault};

/// The length of a frame's head.
pub(crate) const HEAD: usize = 9;
/// The longest payload that we take: the standard's first value, and we never say another one.
pub(crate) const LONGEST: usize = 16_384;
/// Bits of a stream's number, of a window.
pub(crate) const BITS: u32 = 0x7fff_ffff;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITISED: u8 = 0x20;

/// Types of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Data = 0,
    Headers = 1,
    Reset = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    Window = 8,
    Continuation = 9,
}

/// A frame of a client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A part of a body; `padding` counts as if it were one, too.
    Data { stream: u32, content: &'a [u8], padding: usize, last: bool },
    /// A header block, or its beginning.
    Headers { stream: u32, block: &'a [u8], last: bool, whole: bool, own: bool },
    /// What nobody heeds any more; `own`: it depends on itself.
    Priority { stream: u32, own: bool },
    /// The client gives a stream up.
    Reset { stream: u32 },
    /// Settings: their numbers and values.
    Settings(&'a [[u8; 6]]),
    /// It has ours.
    Settled,
    /// Is anybody there?
    Ping([u8; 8]),
    /// The answer to ours.
    Pong([u8; 8]),
    /// The client goes.
    GoAway,
    /// More may be sent; of the connection if the stream is 0.
    Window { stream: u32, more: u32 },
    /// The next part of a header block.
    Continuation { stream: u32, block: &'a [u8], whole: bool },
    /// Of a type that nobody here knows.
    Unknown,
}

/// The frame at the beginning of `bytes` and its length; nothing as long as it is not whole.
///
/// # Errors
/// If it is none; of a connection wherever the standard allows it.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Fault> {
    let Some(head) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if length > LONGEST {
        return Err(Code::FrameSize.into());
    }
    let Some(payload) = bytes.get(HEAD..HEAD + length) else { return Ok(None) };
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & BITS;
    let frame = match head[3] {
        0 | 1 | 2 | 3 | 9 if stream == 0 => return Err(Code::Protocol.into()),
        4 | 6 | 7 if stream != 0 => return Err(Code::Protocol.into()),
        0 => data(stream, head[4], payload)?,
        1 => headers(stream, head[4], payload)?,
        2 => priority(stream, payload)?,
        3 => number(payload).map(|_| Frame::Reset { stream })?,
        4 => settings(head[4], payload)?,
        // Nobody may promise us anything.
        5 => return Err(Code::Protocol.into()),
        6 => ping(head[4], payload)?,
        7 if length < 8 => return Err(Code::FrameSize.into()),
        7 => Frame::GoAway,
        8 => Frame::Window { stream, more: number(payload)? & BITS },
        9 => Frame::Continuation { stream, block: payload, whole: head[4] & END_HEADERS != 0 },
        _ => Frame::Unknown,
    };
    Ok(Some((frame, HEAD + length)))
}

fn data(stream: u32, flags: u8, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let content = unpadded(flags, payload)?;
    let padding = payload.len() - content.len();
    Ok(Frame::Data { stream, content, padding, last: flags & END_STREAM != 0 })
}

fn headers(stream: u32, flags: u8, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let (mut block, mut own) = (unpadded(flags, payload)?, false);
    if flags & PRIORITISED != 0 {
        let (dependency, rest) = block.split_first_chunk::<5>().ok_or(Code::FrameSize)?;
        (block, own) = (rest, depends_on(dependency) == stream);
    }
    let (last, whole) = (flags & END_STREAM != 0, flags & END_HEADERS != 0);
    Ok(Frame::Headers { stream, block, last, whole, own })
}

fn unpadded(flags: u8, payload: &[u8]) -> Result<&[u8], Fault> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Code::FrameSize)?;
    let length = rest.len().checked_sub(usize::from(*padding)).ok_or(Code::Protocol)?;
    Ok(&rest[..length])
}

fn priority(stream: u32, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let dependency = payload.try_into().map_err(|_| Fault::Stream(stream, Code::FrameSize))?;
    Ok(Frame::Priority { stream, own: depends_on(dependency) == stream })
}

fn depends_on(dependency: &[u8; 5]) -> u32 {
    u32::from_be_bytes([dependency[0], dependency[1], dependency[2], dependency[3]]) & BITS
}

fn settings(flags: u8, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    match (flags & ACK != 0, payload.as_chunks::<6>()) {
        (true, _) if payload.is_empty() => Ok(Frame::Settled),
        (false, (values, [])) => Ok(Frame::Settings(values)),
        _ => Err(Code::FrameSize.into()),
    }
}

fn ping(flags: u8, payload: &[u8]) -> Result<Frame<'_>, Fault> {
    let mark = payload.try_into().map_err(|_| Code::FrameSize)?;
    Ok(if flags & ACK != 0 { Frame::Pong(mark) } else { Frame::Ping(mark) })
}

fn number(payload: &[u8]) -> Result<u32, Fault> {
    let bytes = payload.try_into().map_err(|_| Code::FrameSize)?;
    Ok(u32::from_be_bytes(bytes))
}

/// The head of a frame.
fn head_of(kind: Kind, flags: u8, stream: u32, length: usize) -> [u8; HEAD] {
    let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
    let stream = stream.to_be_bytes();
    let number = kind as u8;
    [length[1], length[2], length[3], number, flags, stream[0], stream[1], stream[2], stream[3]]
}

/// Writes the head of a frame.
pub(crate) fn head(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, length: usize) {
    out.extend_from_slice(&head_of(kind, flags, stream, length));
}

/// Writes a frame whose payload is these numbers.
pub(crate) fn numbers(out: &mut Vec<u8>, kind: Kind, stream: u32, numbers: &[u32]) {
    head(out, kind, 0, stream, 4 * numbers.len());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

/// Writes settings.
pub(crate) fn settings_of(out: &mut Vec<u8>, values: &[(u16, u32)]) {
    head(out, Kind::Settings, 0, 0, 6 * values.len());
    for (number, value) in values {
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Says that we have the client's settings.
pub(crate) fn settled(out: &mut Vec<u8>) {
    head(out, Kind::Settings, ACK, 0, 0);
}

/// Asks, or answers, whether anybody is there.
pub(crate) fn ping_of(out: &mut Vec<u8>, flags: u8, mark: [u8; 8]) {
    head(out, Kind::Ping, flags, 0, mark.len());
    out.extend_from_slice(&mark);
}

/// Makes the frames of a header block that was written behind the head at `start`: one frame, or as many as it takes.
pub(crate) fn finish_block(out: &mut Vec<u8>, start: usize, stream: u32, flags: u8, longest: usize) {
    let length = out.len() - start - HEAD;
    if length <= longest {
        let first = head_of(Kind::Headers, flags | END_HEADERS, stream, length);
        out[start..start + HEAD].copy_from_slice(&first);
        return;
    }
    let block = out.split_off(start + HEAD);
    out.truncate(start);
    let mut parts = block.chunks(longest).peekable();
    let (mut kind, mut flags) = (Kind::Headers, flags);
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        head(out, kind, flags | end, stream, part.len());
        out.extend_from_slice(part);
        (kind, flags) = (Kind::Continuation, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        head(&mut out, Kind::Data, flags, stream, payload.len());
        out[3] = kind;
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn frames_are_what_they_say() {
        let whole = |bytes: &[u8]| parse(bytes).expect("legal").map(|(frame, _)| format!("{frame:?}"));
        let data = frame(0, 0x9, 1, b"\x02abcXX");
        assert_eq!(
            parse(&data),
            Ok(Some((Frame::Data { stream: 1, content: b"abc", padding: 3, last: true }, 15)))
        );
        for length in 0..data.len() {
            assert_eq!(parse(&data[..length]), Ok(None), "{length}");
        }
        let headers = frame(1, 0x2d, 3, b"\x01\x80\x00\x00\x03\xffblock.");
        assert_eq!(
            parse(&headers),
            Ok(Some((
                Frame::Headers { stream: 3, block: b"block", last: true, whole: true, own: true },
                headers.len()
            )))
        );
        assert_eq!(
            whole(&frame(8, 0, 0x8000_0001, &[0xff; 4])),
            Some("Window { stream: 1, more: 2147483647 }".into())
        );
        assert_eq!(whole(&frame(0xfa, 0xff, 9, b"?")), Some("Unknown".into()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (kind, flags, stream, payload, code) in [
            (0, 0, 0, &b""[..], Code::Protocol),
            (0, 8, 1, b"", Code::FrameSize),
            (0, 8, 1, b"\x02a", Code::Protocol),
            (1, 0x20, 1, b"1234", Code::FrameSize),
            (3, 0, 1, b"123", Code::FrameSize),
            (3, 0, 0, b"1234", Code::Protocol),
            (4, 0, 1, b"", Code::Protocol),
            (4, 1, 0, b"123456", Code::FrameSize),
            (4, 0, 0, b"12345", Code::FrameSize),
            (5, 0, 1, b"1234", Code::Protocol),
            (6, 0, 0, b"1234567", Code::FrameSize),
            (7, 0, 0, b"1234", Code::FrameSize),
            (8, 0, 0, b"123", Code::FrameSize),
            (9, 0, 0, b"", Code::Protocol),
        ] {
            assert_eq!(parse(&frame(kind, flags, stream, payload)), Err(code.into()), "{kind}");
        }
        assert_eq!(parse(&frame(2, 0, 1, b"1234")), Err(Fault::Stream(1, Code::FrameSize)));
        assert_eq!(parse(&frame(0, 0, 1, &[0; LONGEST + 1])), Err(Code::FrameSize.into()));
    }

    #[test]
    fn long_blocks_are_cut_into_frames() {
        for (length, frames) in [(0, 1), (100, 1), (101, 2), (250, 3)] {
            let mut out = b"before".to_vec();
            out.extend_from_slice(&[0; HEAD]);
            out.extend(std::iter::repeat_n(7, length));
            finish_block(&mut out, 6, 5, END_STREAM, 100);
            let (mut rest, mut seen, mut block) = (&out[6..], 0, 0);
            while let Some((frame, taken)) = parse(rest).expect("legal") {
                block += match frame {
                    Frame::Headers { stream: 5, block, last: true, whole, .. } => {
                        assert_eq!((seen, whole), (0, frames == 1));
                        block.len()
                    }
                    Frame::Continuation { stream: 5, block, whole } => {
                        assert_eq!(whole, seen + 1 == frames);
                        block.len()
                    }
                    other => panic!("{other:?}"),
                };
                (rest, seen) = (&rest[taken..], seen + 1);
            }
            assert_eq!((seen, block, rest.len()), (frames, length, 0));
        }
    }
}
