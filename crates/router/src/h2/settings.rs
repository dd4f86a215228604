//! A client's settings (RFC 9113, 6.5.2), pure.

use super::{
    code::Code,
    frame::{BITS, LONGEST},
    windows::FIRST,
};

const TABLE_SIZE: u16 = 1;
const PUSH: u16 = 2;
const STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const FRAME_SIZE: u16 = 5;
const LIST_SIZE: u16 = 6;
const CONNECT_PROTOCOL: u16 = 8;

/// What a client wants, as far as it matters to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What the table may hold by which we could write answers' heads.
    pub(crate) table: u32,
    /// The window of a stream before it is changed.
    pub(crate) window: u32,
}

impl Settings {
    /// Before the client has said anything.
    pub(crate) fn new() -> Self {
        Self { table: 4096, window: FIRST }
    }

    /// With these changes, of which the last one of a number counts. Frames of the standard's first size are short enough for everybody, so that nobody's
    /// wish for longer ones matters.
    pub(crate) fn with(mut self, values: &[[u8; 6]]) -> Result<Self, Code> {
        for [high, low, value @ ..] in values {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*high, *low]) {
                TABLE_SIZE => self.table = value,
                WINDOW if value > BITS => return Err(Code::FlowControl),
                WINDOW => self.window = value,
                PUSH | CONNECT_PROTOCOL if value > 1 => return Err(Code::Protocol),
                FRAME_SIZE if !(LONGEST..1 << 24).contains(&(value as usize)) => return Err(Code::Protocol),
                _ => (),
            }
        }
        Ok(self)
    }
}

/// Ours: so many streams, so much of a body before it is taken, so long header lists.
pub(crate) fn ours(streams: u32, window: u32, list: u32) -> [(u16, u32); 3] {
    [(STREAMS, streams), (WINDOW, window), (LIST_SIZE, list)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u16, value: u32) -> [u8; 6] {
        let (number, value) = (number.to_be_bytes(), value.to_be_bytes());
        [number[0], number[1], value[0], value[1], value[2], value[3]]
    }

    #[test]
    fn the_last_value_counts_and_values_out_of_bounds_are_refused() {
        let settings =
            Settings::new().with(&[value(WINDOW, 5), value(99, 7), value(WINDOW, 1), value(TABLE_SIZE, 0)]);
        assert_eq!(settings, Ok(Settings { table: 0, window: 1 }));
        for (number, odd, code) in [
            (PUSH, 2, Code::Protocol),
            (WINDOW, BITS + 1, Code::FlowControl),
            (FRAME_SIZE, 16_383, Code::Protocol),
            (FRAME_SIZE, 1 << 24, Code::Protocol),
            (CONNECT_PROTOCOL, 2, Code::Protocol),
        ] {
            assert_eq!(Settings::new().with(&[value(number, odd)]), Err(code), "{number}");
        }
        assert!(Settings::new().with(&[value(FRAME_SIZE, 1 << 20), value(PUSH, 0)]).is_ok());
    }
}
