//! Where WebSocket frames begin and end (RFC 6455, 5.2), so that a close frame of ours lands between two of the app's and never inside one.
//!
//! Nothing is unmasked, checked or kept: this only counts.

/// A server's close frame with status 1012, "service restart": clients connect again.
pub(crate) const CLOSE_TO_CLIENT: [u8; 4] = [0x88, 0x02, 0x03, 0xf4];

/// The same from a client, masked with zeros as a client's frames must be.
pub(crate) const CLOSE_TO_APP: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4];

/// A position in a stream of frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; 14],
    have: usize,
    payload_left: u64,
    closed: bool,
}

impl Frames {
    /// The stream is between two frames.
    pub(crate) fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload_left == 0
    }

    /// A close frame has begun: nothing may follow it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many bytes may be read without passing the next boundary; at least 1.
    pub(crate) fn until_boundary(&self) -> u64 {
        if self.payload_left > 0 { self.payload_left } else { (self.head_length() - self.have) as u64 }
    }

    /// The stream goes on by these bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let step = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= step as u64;
                bytes = &bytes[step..];
                continue;
            }
            // Nearly always a head comes in one piece, and is read where it lies.
            let whole = head_length(bytes);
            bytes = if self.have == 0 && whole <= bytes.len() {
                self.begin_payload(&bytes[..whole]);
                &bytes[whole..]
            } else {
                self.collect(bytes)
            };
        }
    }

    /// More of a head that comes in pieces; what is left of the bytes.
    fn collect<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let step = (self.head_length() - self.have).min(bytes.len());
        let (head, rest) = bytes.split_at(step);
        self.head[self.have..self.have + step].copy_from_slice(head);
        self.have += step;
        if self.have == self.head_length() {
            let (head, have) = (self.head, std::mem::take(&mut self.have));
            self.begin_payload(&head[..have]);
        }
        rest
    }

    /// Of the head at hand, as far as it is known.
    fn head_length(&self) -> usize {
        head_length(&self.head[..self.have])
    }

    fn begin_payload(&mut self, head: &[u8]) {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        self.payload_left = match head[1] & 0x7f {
            126 => number(&head[2..4]),
            127 => number(&head[2..10]),
            short => u64::from(short),
        };
        self.closed |= head[0] & 0x0f == 0x8;
    }
}

/// How long the head is that begins so; 2 while that is not known yet.
fn head_length(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    mask + match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload {
            0..=125 => bytes.push(mask | u8::try_from(payload).expect("short")),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(payload).expect("fits").to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0x81; if masked { 4 + payload } else { payload }]);
        bytes
    }

    #[test]
    fn boundaries_are_found_however_the_stream_is_cut() {
        for masked in [false, true] {
            for payload in [0, 1, 125, 126, 127, 65535, 65536] {
                let bytes = frame(0x82, masked, payload);
                for step in [1, 2, 3, 7, 4096, bytes.len()] {
                    let mut frames = Frames::default();
                    for chunk in bytes[..bytes.len() - 1].chunks(step) {
                        frames.pass(chunk);
                        assert!(!frames.at_boundary(), "{masked} {payload} {step}");
                    }
                    assert_eq!(frames.until_boundary(), 1);
                    frames.pass(&bytes[bytes.len() - 1..]);
                    assert!(frames.at_boundary() && !frames.is_closed());
                }
            }
        }
    }

    #[test]
    fn a_close_frame_is_seen_behind_others() {
        let mut frames = Frames::default();
        frames.pass(&[frame(0x01, false, 300), frame(0x80, false, 2), CLOSE_TO_CLIENT.to_vec()].concat());
        assert!(frames.is_closed() && frames.at_boundary());
        frames = Frames::default();
        frames.pass(&CLOSE_TO_APP);
        assert!(frames.is_closed() && frames.at_boundary());
    }
}
