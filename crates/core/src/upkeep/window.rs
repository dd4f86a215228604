//! When apps may be moved: `Sun 02:00-05:00`, in UTC. Pure; an empty text is always open.

use crate::time::Time;
use serde::Deserialize;
use std::fmt;

const MINUTE_MS: u64 = 60_000;
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// 1970-01-01 was a Thursday.
const EPOCH: u64 = 4;
/// The most windows in one text.
const MAX: usize = 14;

/// Spans of a week, each as its first minute and its length. None: always.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Window {
    spans: Vec<(u32, u32)>,
    text: String,
}

impl Window {
    /// It is open at this instant.
    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        let minute = minute_of_week(now);
        self.spans.is_empty() || self.spans.iter().any(|(first, length)| since(*first, minute) < *length)
    }

    /// When it opens next; `None`: it is open.
    #[must_use]
    pub fn opens(&self, now: Time) -> Option<Time> {
        if self.is_open(now) {
            return None;
        }
        let minute = minute_of_week(now);
        let wait = self.spans.iter().map(|(first, _)| since(minute, *first)).min()?;
        let begun = now.0 - now.0 % MINUTE_MS;
        Some(Time(begun).plus(u64::from(wait) * MINUTE_MS))
    }
}

/// Minutes from one minute of the week forward to another.
fn since(from: u32, to: u32) -> u32 {
    (to + WEEK - from) % WEEK
}

fn minute_of_week(now: Time) -> u32 {
    let minutes = now.0 / MINUTE_MS + EPOCH * u64::from(DAY);
    u32::try_from(minutes % u64::from(WEEK)).unwrap_or_default()
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            format!(
                "`{shown}` is no maintenance window: write it as \"Sun 02:00-05:00\", \"Mon-Fri 22:00-04:00\", \"Sat,Sun 03:00-06:00\" or \"daily 02:00-04:00\", \
                 several parted by `;`, in UTC; empty: always"
            )
        };
        let mut spans = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            spans.extend(parse(part).ok_or_else(wrong)?);
        }
        if spans.len() > MAX || (spans.is_empty() && !text.trim().is_empty()) {
            return Err(wrong());
        }
        Ok(Self { spans, text: text.trim().to_owned() })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.spans.is_empty() { "always" } else { &self.text })
    }
}

/// `Sat,Sun 02:00-05:00`: one span for each day.
fn parse(part: &str) -> Option<Vec<(u32, u32)>> {
    let (days, hours) = part.split_once(' ')?;
    let (from, until) = hours.trim().split_once('-')?;
    let (from, until) = (minutes(from)?, minutes(until)?);
    // To the same minute would be a whole day, or nothing: whoever means either says it otherwise.
    let length = if until > from { until - from } else { until + DAY - from };
    if from >= DAY || length == 0 || length == DAY && until != DAY {
        return None;
    }
    let days = days.split(',').map(days_of).collect::<Option<Vec<_>>>()?.concat();
    Some(days.into_iter().map(|day| (day * DAY + from, length)).collect())
}

/// `Sun`, `Mon-Fri` or `daily`.
fn days_of(text: &str) -> Option<Vec<u32>> {
    if text.eq_ignore_ascii_case("daily") {
        return Some((0..7).collect());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    Some((0..=(last + 7 - first) % 7).map(|after| (first + after) % 7).collect())
}

fn day(text: &str) -> Option<u32> {
    let place = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))?;
    u32::try_from(place).ok()
}

/// `02:00`, up to `24:00`.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let whole = hours * 60 + minutes;
    (minutes < 60 && whole <= DAY).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Window {
        Window::try_from(text.to_owned()).expect("legal")
    }

    /// An instant of the week that began on Sunday, 2026-11-22.
    fn at(day: u64, hour: u64, minute: u64) -> Time {
        Time(((20_779 + day) * 24 * 60 + hour * 60 + minute) * MINUTE_MS + 30_000)
    }

    #[test]
    fn it_is_open_from_its_first_minute_until_its_last() {
        let sunday = window("Sun 02:00-05:00");
        for (day, hour, minute, open) in
            [(0, 1, 59, false), (0, 2, 0, true), (0, 4, 59, true), (0, 5, 0, false), (1, 3, 0, false)]
        {
            assert_eq!(sunday.is_open(at(day, hour, minute)), open, "{day} {hour}:{minute}");
        }
        assert!(window("").is_open(at(3, 3, 3)) && window("").to_string() == "always");
    }

    #[test]
    fn it_may_pass_midnight_and_the_end_of_the_week() {
        let nights = window("Sat 22:00-04:00; daily 12:00-12:30");
        assert!(nights.is_open(at(6, 23, 0)) && nights.is_open(at(0, 3, 59)) && !nights.is_open(at(0, 4, 0)));
        assert!(nights.is_open(at(2, 12, 10)) && !nights.is_open(at(2, 12, 30)));
        let workdays = window("mon-fri 00:00-24:00");
        assert!(!workdays.is_open(at(0, 12, 0)) && workdays.is_open(at(1, 0, 0)));
        assert!(workdays.is_open(at(5, 23, 59)) && !workdays.is_open(at(6, 0, 0)));
        assert!(window("Fri-Mon 01:00-02:00").is_open(at(0, 1, 0)));
    }

    #[test]
    fn it_says_when_it_opens() {
        let sunday = window("Sun 02:00-05:00");
        assert_eq!(sunday.opens(at(0, 3, 0)), None);
        let exact = |day, hour| Time(at(day, hour, 0).0 - 30_000);
        assert_eq!(sunday.opens(at(0, 1, 0)), Some(exact(0, 2)));
        assert_eq!(sunday.opens(at(0, 5, 0)), Some(exact(7, 2)));
        assert_eq!(window("Sat,Tue 02:00-03:00").opens(at(3, 0, 0)), Some(exact(6, 2)));
    }

    #[test]
    fn opening_is_the_first_open_minute_whatever_is_written() {
        for text in ["Sun 02:00-05:00", "Sat 23:30-00:30", "Mon-Wed 10:00-09:00; Fri 00:00-00:01"] {
            let window = window(text);
            for minute in 0..u64::from(WEEK) {
                let now = Time(at(0, 0, 0).0 + minute * MINUTE_MS);
                let Some(opens) = window.opens(now) else { continue };
                assert!(opens > now && window.is_open(opens), "{text} at {minute}");
                assert!(!window.is_open(Time(opens.0 - 1)), "{text} at {minute}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        for bad in [
            "Sun",
            "Sun 2:00-5:00",
            "Sun 02:00",
            "Sunday 02:00-05:00",
            "02:00-05:00",
            "Sun 02:00-02:00",
            "Sun 24:00-01:00",
            "Sun 25:00-26:00",
            "Sun 02:60-03:00",
            ";",
            "Sun 02:00-05:00; x",
            "Sun- 02:00-05:00",
            ", 02:00-03:00",
            "daily 00:00-01:00;daily 02:00-03:00;daily 04:00-05:00",
        ] {
            let refused = Window::try_from(bad.to_owned());
            assert!(refused.is_err_and(|why| why.contains("Sun 02:00-05:00")), "{bad}");
        }
    }
}
