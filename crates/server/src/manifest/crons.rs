//! `clevercloud/cron.json`: a list of crontab lines, each five fields (or `@daily`) and a command.

use super::{CRONS, Error};
use serde::{Deserialize, Serialize};
use teal_core::cron::Schedule;

/// The most of one app.
const MAX_CRONS: usize = 100;
/// The longest line, in bytes.
const MAX_LINE: usize = 4096;

/// What runs at certain times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// When, in UTC.
    pub schedule: Schedule,
    /// Given to the shell, in the app's directory.
    pub command: String,
}

pub(super) fn parse(text: &str) -> Result<Vec<Cron>, Error> {
    let refused = |reason: String| Error::File { file: CRONS, reason };
    let lines: Vec<String> = serde_json::from_str(text).map_err(|error| {
        refused(format!("{error}: it must be a list of texts, as [\"0 3 * * * $ROOT/nightly.sh\"]"))
    })?;
    if lines.len() > MAX_CRONS {
        return Err(refused(format!("it has {} entries, {MAX_CRONS} are allowed", lines.len())));
    }
    let numbered = lines.iter().zip(1..);
    numbered
        .map(|(line, number)| cron(line).map_err(|why| refused(format!("entry {number}: {why}"))))
        .collect()
}

fn cron(line: &str) -> Result<Cron, String> {
    if line.len() > MAX_LINE || line.contains('\0') {
        return Err(format!("a line has at most {MAX_LINE} bytes and no NUL: put the rest into a script"));
    }
    let fields = if line.trim_start().starts_with('@') { 1 } else { 5 };
    let mut rest = line.trim();
    for _ in 0..fields {
        rest = rest.trim_start().split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
    }
    let command = rest.trim();
    if command.is_empty() {
        return Err(format!("after {fields} field(s) for the time there is no command"));
    }
    let head = line.trim().strip_suffix(command).unwrap_or_default();
    let schedule = head.parse::<Schedule>().map_err(|error| error.to_string())?;
    Ok(Cron { schedule, command: command.to_owned() })
}
