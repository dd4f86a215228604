//! The public TCP ports that the operator lets apps have: `5000-5999`, or a single one. Who has which is the store's business.

use serde::Deserialize;
use std::{collections::BTreeSet, fmt, ops::RangeInclusive};

/// Ports from one to another, both included.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PortRange(RangeInclusive<u16>);

impl PortRange {
    /// This port is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }

    /// The first that nobody has.
    #[must_use]
    pub fn free(&self, taken: &BTreeSet<u16>) -> Option<u16> {
        self.0.clone().find(|port| !taken.contains(port))
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!("`{text}` is no range of ports: write it as \"5000-5999\"")),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.0.start(), self.0.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_nonsense_is_not() {
        let range = |text: &str| PortRange::try_from(text.to_owned());
        let some = range("5000-5002").expect("legal");
        assert!(some.contains(5000) && some.contains(5002) && !some.contains(5003) && !some.contains(4999));
        assert_eq!(some.free(&[5000, 5002].into()), Some(5001));
        assert_eq!(some.free(&[5000, 5001, 5002].into()), None);
        assert_eq!(range("1883").expect("legal").free(&BTreeSet::new()), Some(1883));
        assert_eq!(range("65535-65535").expect("legal").free(&[65535].into()), None);
        for bad in ["", "0-5", "5-4", "a-b", "5000-70000", "5000-", "-", "1-2-3"] {
            assert!(range(bad).is_err_and(|why| why.contains("5000-5999")), "{bad}");
        }
    }
}
