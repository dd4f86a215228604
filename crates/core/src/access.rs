//! The forms in which a router's access log can be written: a word in the server's configuration and on the router's command line.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How the access log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// Not at all.
    #[default]
    Off,
    /// One JSON object per line.
    Json,
    /// Apache's combined form, with a few fields behind it.
    Combined,
}

impl LogForm {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Json => "json",
            Self::Combined => "combined",
        }
    }
}

impl fmt::Display for LogForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for LogForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Off, Self::Json, Self::Combined];
        let found = all.into_iter().find(|form| form.word() == text);
        found.ok_or_else(|| "the access log is `off`, `json` or `combined`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for form in [LogForm::Off, LogForm::Json, LogForm::Combined] {
            assert_eq!(form.word().parse(), Ok(form));
            assert_eq!(serde_json::to_string(&form).expect("JSON"), format!("\"{form}\""));
        }
        assert!("JSON".parse::<LogForm>().is_err());
    }
}
