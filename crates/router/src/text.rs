//! Numbers and dates as HTTP writes them, without a formatter's detours: they are written for every request.

use nix::time::{ClockId, clock_gettime};
use std::cell::Cell;

/// Writes a number in hexadecimal, at least `digits` long.
pub(crate) fn hex(out: &mut Vec<u8>, number: u64, digits: usize) {
    let needed = (64 - number.leading_zeros() as usize).div_ceil(4).clamp(digits.min(16), 16);
    let text = hex_digits(number);
    out.extend_from_slice(&text[16 - needed..]);
}

/// All sixteen digits at once: each half byte moves into a byte of its own, and those past nine go on to the letters.
pub(crate) fn hex_digits(number: u64) -> [u8; 16] {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);
    let mut spread = u128::from(number);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, ONES * 0x0f),
    ] {
        spread = (spread | spread << shift) & mask;
    }
    let letters = (spread + ONES * 6) >> 4 & ONES;
    (spread + ONES * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// May stand in a name, or in a method (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    const TOKENS: [bool; 256] = {
        let (mut tokens, mut byte) = ([false; 256], 0_u8);
        loop {
            tokens[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
            if byte == u8::MAX {
                break tokens;
            }
            byte += 1;
        }
    };
    TOKENS[usize::from(byte)]
}

/// Writes a number in decimal.
pub(crate) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break out.extend_from_slice(&digits[at..]);
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
type Date = [u8; 29];

thread_local! {
    static NOW: Cell<(u64, Date)> = const { Cell::new((u64::MAX, [0; 29])) };
}

/// Writes the present time; made anew once per second.
pub(crate) fn date(out: &mut Vec<u8>) {
    // The kernel's cheaper clock is some milliseconds behind; a date has whole seconds.
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE);
    let now = now.map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0));
    let (of, mut text) = NOW.get();
    if of != now {
        text = date_of(now);
        NOW.set((now, text));
    }
    out.extend_from_slice(&text);
}

/// A date of the calendar, in UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    /// From 1.
    pub(crate) month: u64,
    /// From 1.
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl Civil {
    /// So many seconds after the beginning of 1970.
    pub(crate) fn of(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Howard Hinnant's days-to-civil: years begin in March, so that the leap day comes last.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let year = year + era * 400 + u64::from(month >= 10);
        let month = (month + 2) % 12 + 1;
        Self { year, month, day, hour: second / 3600, minute: second / 60 % 60, second: second % 60 }
    }

    /// `Jan`.
    pub(crate) fn month_word(self) -> &'static str {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        usize::try_from(self.month).ok().and_then(|month| MONTHS.get(month - 1).copied()).unwrap_or("Jan")
    }
}

fn date_of(seconds: u64) -> Date {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let week_day = usize::try_from(seconds / 86_400 % 7).ok().and_then(|day| DAYS.get(day)).unwrap_or(&"Thu");
    let date = Civil::of(seconds);
    let Civil { year, day, hour, minute, second, .. } = date;
    let month = date.month_word();
    let text = format!("{week_day}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    text.as_bytes().try_into().unwrap_or([b' '; 29])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [0, 1, 9, 10, 15, 16, 255, 4096, 99_999, u64::MAX] {
            let mut out = Vec::new();
            hex(&mut out, number, 1);
            out.push(b' ');
            hex(&mut out, number, 16);
            out.push(b' ');
            decimal(&mut out, number);
            assert_eq!(String::from_utf8_lossy(&out), format!("{number:x} {number:016x} {number}"));
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(String::from_utf8_lossy(&date_of(seconds)), text);
        }
    }
}
