//! Instants and spans in words: "3 minutes ago", "in 8 min". Pure: whoever asks says what time it is.

use jiff::Timestamp;

/// An instant for a page: its words, its exact value for the tool tip and for the script that keeps the words current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct When {
    /// RFC 3339, as the API says it.
    pub(crate) exact: String,
    /// For people: `23 Nov 2026, 04:05:06 UTC`.
    pub(crate) title: String,
    /// Relative to now.
    pub(crate) words: String,
}

impl When {
    /// An instant relative to `now`; one that cannot be read is shown as it is.
    pub(crate) fn new(exact: &str, now: Timestamp) -> Self {
        let Ok(at) = exact.parse::<Timestamp>() else {
            return Self { exact: exact.into(), title: exact.into(), words: exact.into() };
        };
        let title = at.strftime("%-d %b %Y, %H:%M:%S UTC").to_string();
        Self { exact: exact.into(), title, words: relative(at, now) }
    }
}

/// `just now`, `3 minutes ago`, `in 8 minutes`.
fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    match seconds {
        -4..=4 => "just now".into(),
        5.. => format!("{} ago", amount(seconds.unsigned_abs())),
        // What is past is rounded down, what is to come to the nearest: 14 minutes and 55 seconds are 15 minutes.
        -59..=-5 => format!("in {}", amount(seconds.unsigned_abs())),
        -3599..=-60 => format!("in {}", amount(seconds.unsigned_abs() + 30)),
        _ => format!("in {}", amount(seconds.unsigned_abs() + 1800)),
    }
}

/// The largest unit that fits, rounded down.
fn amount(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// How long it took from one instant to another: `420 ms`, `3.2 s`, `1 min 05 s`; empty if either cannot be read.
pub(crate) fn span(from: &str, until: &str) -> String {
    let (Ok(from), Ok(until)) = (from.parse::<Timestamp>(), until.parse::<Timestamp>()) else {
        return String::new();
    };
    let ms = until.as_millisecond().saturating_sub(from.as_millisecond()).max(0);
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_in_words() {
        let now: Timestamp = "2026-11-23T04:05:06Z".parse().expect("instant");
        for (exact, words) in [
            ("2026-11-23T04:05:03.120Z", "just now"),
            ("2026-11-23T04:05:07.000Z", "just now"),
            ("2026-11-23T04:04:36.000Z", "30 seconds ago"),
            ("2026-11-23T04:04:00.000Z", "1 minute ago"),
            ("2026-11-23T01:05:06.000Z", "3 hours ago"),
            ("2026-11-20T04:05:06.000Z", "3 days ago"),
            ("2026-11-23T04:05:36.000Z", "in 30 seconds"),
            ("2026-11-23T04:13:06.000Z", "in 8 minutes"),
            ("2026-11-23T04:20:01.000Z", "in 15 minutes"),
            ("2026-11-23T06:00:00.000Z", "in 2 hours"),
            ("what", "what"),
        ] {
            assert_eq!(When::new(exact, now).words, words, "{exact}");
        }
        assert_eq!(When::new("2026-11-03T04:05:06Z", now).title, "3 Nov 2026, 04:05:06 UTC");
    }

    #[test]
    fn spans_are_told_as_exactly_as_they_matter() {
        assert_eq!(span("2026-11-23T04:05:06.000Z", "2026-11-23T04:05:06.420Z"), "420 ms");
        assert_eq!(span("2026-11-23T04:05:06.000Z", "2026-11-23T04:05:09.250Z"), "3.2 s");
        assert_eq!(span("2026-11-23T04:05:06.000Z", "2026-11-23T04:06:11.000Z"), "1 min 05 s");
        assert_eq!(span("2026-11-23T04:05:06.000Z", "2026-11-23T04:05:01.000Z"), "0 ms");
        assert_eq!(span("", "x"), "");
    }
}
