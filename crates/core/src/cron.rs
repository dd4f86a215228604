//! When a cron runs: the five fields of a crontab, in UTC, strictly read. Pure: whoever asks brings the time.
//!
//! Day of month and day of week are joined by *or* where both are restricted, as every crontab does. Nothing here may guess: what is not
//! understood is refused by name, before anything is built.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest text of a schedule, in bytes.
const MAX_TEXT: usize = 200;
/// Days to look ahead: a 29 February is at most eight years away.
const MAX_DAYS: u64 = 366 * 9;
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Why a schedule is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not five fields.
    #[error("a schedule has five fields (minute, hour, day of month, month, day of week), this one has {0}")]
    Fields(usize),
    /// A field that means nothing.
    #[error("the {field} `{text}` is not a number from {low} to {high}, a range, a list or a step of these")]
    Field {
        /// Which field.
        field: &'static str,
        /// What was given, shortened.
        text: String,
        /// The least.
        low: u32,
        /// The most.
        high: u32,
    },
    /// A name with an `@` that is none of ours.
    #[error("`{0}` is not known here: @hourly, @daily, @weekly, @monthly and @yearly are")]
    Nickname(String),
    /// A day that no month has.
    #[error("this schedule never comes: no month has such a day")]
    Never,
    /// Too long to be one.
    #[error("a schedule has at most {MAX_TEXT} bytes")]
    TooLong,
}

/// A schedule that was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Day of month and day of week are both restricted: either is enough.
    either: bool,
}

impl Schedule {
    /// The first instant after this one at which it runs; both in seconds since the Unix epoch.
    #[must_use]
    pub fn next_after(&self, seconds: u64) -> Option<u64> {
        let from = (seconds / MINUTE + 1) * MINUTE;
        let first = from / DAY;
        (first..first + MAX_DAYS).filter(|day| self.is_on(*day)).find_map(|day| {
            let begin = if day == first { from % DAY } else { 0 };
            self.minute_of_day(begin / MINUTE).map(|minute| day * DAY + minute * MINUTE)
        })
    }

    /// Does it run on this day, counted from the Unix epoch?
    fn is_on(&self, day: u64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        // The epoch's first day was a Thursday.
        let weekday = (day + 4) % 7;
        let (by_month, by_week) = (has(self.days, day_of_month), has(self.weekdays, weekday));
        let day = if self.either { by_month || by_week } else { by_month && by_week };
        has(self.months, month) && day
    }

    /// The first minute of a day, not before this one, at which it runs.
    fn minute_of_day(&self, begin: u64) -> Option<u64> {
        (begin..24 * 60).find(|minute| has(self.hours, minute / 60) && has(self.minutes, minute % 60))
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            return Err(Error::TooLong);
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let written = if text.starts_with('@') { nickname(&text)? } else { &text };
        let fields: Vec<&str> = written.split(' ').filter(|field| !field.is_empty()).collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(Error::Fields(fields.len())) };
        let mut weekdays = Field { name: "day of week", low: 0, high: 7, names: &WEEKDAYS }.parse(weekday)?;
        // Sunday has two numbers.
        weekdays |= weekdays >> 7;
        let schedule = Self {
            minutes: Field { name: "minute", low: 0, high: 59, names: &[] }.parse(minute)?,
            hours: Field { name: "hour", low: 0, high: 23, names: &[] }.parse(hour)?,
            days: Field { name: "day of month", low: 1, high: 31, names: &[] }.parse(day)?,
            months: Field { name: "month", low: 1, high: 12, names: &MONTHS }.parse(month)?,
            weekdays,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
            text,
        };
        if schedule.next_after(0).is_none() { Err(Error::Never) } else { Ok(schedule) }
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn nickname(text: &str) -> Result<&'static str, Error> {
    let found = NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, fields)| *fields).ok_or_else(|| Error::Nickname(shortened(text)))
}

/// One of the five.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

impl Field {
    /// The numbers that it names, a bit for each.
    fn parse(&self, text: &str) -> Result<u64, Error> {
        let refused =
            || Error::Field { field: self.name, text: shortened(text), low: self.low, high: self.high };
        text.split(',').try_fold(0, |all, item| Some(all | self.item(item)?)).ok_or_else(refused)
    }

    /// `*`, `5`, `1-5`, each range with `/2`.
    fn item(&self, item: &str) -> Option<u64> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((low, high)) => (self.number(low)?, self.number(high)?),
            // A step of a single number is read in two ways out there: it has to be written as a range.
            None if step.is_some() => return None,
            None => (self.number(range)?, self.number(range)?),
        };
        let numbers = (low..=high).step_by(usize::try_from(step.unwrap_or(1)).ok()?);
        (low <= high).then(|| numbers.fold(0, |all, number| all | 1 << number))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(place) => u32::try_from(place).ok()? + self.low,
            None => digits(text)?,
        };
        (self.low..=self.high).contains(&number).then_some(number)
    }
}

/// A number in plain digits: `+5` is none.
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn has(set: u64, number: u64) -> bool {
    number < 64 && set & (1 << number) != 0
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// Month (1–12) and day (1–31) of a day counted from the Unix epoch, in the Gregorian calendar: years that begin in March make
/// every month's begin a plain formula.
fn month_and_day(day: u64) -> (u64, u64) {
    let day = day + 719_468;
    let of_era = day % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    (if from_march < 10 { from_march + 3 } else { from_march - 9 }, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23, a Monday, at 21:30:15 UTC.
    const NOW: u64 = 1_795_469_415;

    fn next(text: &str, after: u64) -> u64 {
        text.parse::<Schedule>().expect("understood").next_after(after).expect("comes")
    }

    #[test]
    fn the_next_run_is_the_first_minute_that_fits() {
        let minute = NOW - 15;
        let day = minute - (21 * 60 + 30) * 60;
        for (text, expected) in [
            ("* * * * *", minute + 60),
            ("*/15 * * * *", minute + 15 * 60),
            ("30 21 * * *", minute + DAY),
            ("0 0 * * *", day + DAY),
            ("@daily", day + DAY),
            ("5-6,50 22 * * *", day + (22 * 60 + 5) * 60),
            ("0 12 * * mon", day + 7 * DAY + 12 * 3600),
            ("0 12 * * 2-4", day + DAY + 12 * 3600),
            ("0 0 * * 7", day + 6 * DAY),
            ("0 0 1 dec *", day + 8 * DAY),
            ("0 0 24 * fri", day + DAY),
            ("0 0 25 * tue", day + DAY),
        ] {
            assert_eq!(next(text, NOW), expected, "{text}");
        }
    }

    #[test]
    fn it_runs_strictly_after_so_that_no_minute_counts_twice() {
        let first = next("* * * * *", NOW);
        assert_eq!(next("* * * * *", first), first + 60);
        assert_eq!(next("* * * * *", first - 1), first);
    }

    #[test]
    fn leap_days_are_found_also_over_a_century_without_one() {
        // 2096-03-01: 2100 has no 29 February.
        let found = next("0 0 29 2 *", 3_981_398_400 + DAY);
        assert_eq!(month_and_day(found / DAY), (2, 29));
        assert_eq!((found - 3_981_398_400) / (365 * DAY), 8);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, named) in [
            ("* * * *", "this one has 4"),
            ("* * * * * *", "this one has 6"),
            ("60 * * * *", "minute `60`"),
            ("* 24 * * *", "hour `24`"),
            ("* * 0 * *", "day of month `0`"),
            ("* * * 13 *", "month `13`"),
            ("* * * * 8", "day of week `8`"),
            ("5/10 * * * *", "minute `5/10`"),
            ("*/0 * * * *", "minute `*/0`"),
            ("9-5 * * * *", "minute `9-5`"),
            ("+5 * * * *", "minute `+5`"),
            ("@reboot", "`@reboot` is not known"),
            ("0 0 30 2 *", "never comes"),
        ] {
            let told = text.parse::<Schedule>().expect_err(text).to_string();
            assert!(told.contains(named), "{text}: {told}");
        }
    }

    #[test]
    fn a_schedule_survives_its_own_json() {
        let schedule: Schedule = "*/5  1,2 * jan-mar  1-5".parse().expect("understood");
        let json = serde_json::to_string(&schedule).expect("serialises");
        assert_eq!(json, "\"*/5 1,2 * jan-mar 1-5\"");
        assert_eq!(serde_json::from_str::<Schedule>(&json).expect("parses"), schedule);
    }
}
