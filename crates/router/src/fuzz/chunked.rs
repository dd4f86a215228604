//! Bytes as a chunked body: the same whether they come at once or in pieces, and the same that hyper reads.

use super::{Found, request};
use crate::codec::chunked::Chunked;

/// A body as it was understood.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    trailers: Vec<u8>,
    done: bool,
}

/// The first byte says how long the pieces are, the rest is the body.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let Some((piece, body)) = bytes.split_first() else { return Found::default() };
    let (whole, parts) = (read(body, body.len()), read(body, usize::from(*piece)));
    assert_eq!(whole, parts, "in pieces of {piece}: {:?}", String::from_utf8_lossy(body));
    let head = b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    // With a request behind it, which must not become part of it, nor it part of that.
    let message = [&head[..], body, b"GET /next HTTP/1.1\r\nHost: shop.test\r\n\r\n"].concat();
    request::check(&message)
}

/// Reads it in pieces of this length; nothing if it is none.
fn read(body: &[u8], piece: usize) -> Option<Read> {
    let (mut chunked, mut data, mut waiting) = (Chunked::new(), Vec::new(), Vec::new());
    for part in body.chunks(piece.max(1)) {
        waiting.extend_from_slice(part);
        let length = waiting.len();
        let progress = chunked.decode(&mut waiting).ok()?;
        assert!(progress.taken <= length && progress.data.end <= length, "beyond the end");
        data.extend_from_slice(&waiting[progress.data]);
        waiting.drain(..progress.taken);
        if chunked.is_done() {
            break;
        }
    }
    Some(Read { data, trailers: chunked.trailers().to_vec(), done: chunked.is_done() })
}
