//! The signature of a delivery: HMAC-SHA256 over the time stamp, a full stop and the body. Pure; `docs/observing.md` has an example that a test verifies.

use aws_lc_rs::hmac;
use std::fmt::Write as _;

/// The header's value: `t=SECONDS,v1=HEX`.
pub(super) fn signature(secret: &str, seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body.as_bytes());
    let mut value = format!("t={seconds},v1=");
    for byte in context.sign().as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(value, "{byte:02x}");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands behind this label in the documented example.
    fn documented(label: &str) -> &'static str {
        let text = include_str!("../../../../../docs/observing.md");
        let line = text.lines().find_map(|line| line.strip_prefix(label)).expect(label);
        line.trim()
    }

    #[test]
    fn the_documented_example_is_true() {
        let header = documented("Teal-Signature:");
        let seconds = header.strip_prefix("t=").and_then(|rest| rest.split(',').next()).expect("a time");
        let made = signature(documented("secret:"), seconds.parse().expect("seconds"), documented("body:"));
        assert_eq!(made, header);
    }

    #[test]
    fn another_body_time_or_secret_has_another_signature() {
        let all = [("s", 1, "b"), ("s", 1, "c"), ("s", 2, "b"), ("t", 1, "b"), ("s", 11, ".b")];
        let mut made: Vec<String> = all.iter().map(|(s, t, b)| signature(s, *t, b)).collect();
        made.sort();
        made.dedup();
        assert_eq!(made.len(), all.len());
    }
}
