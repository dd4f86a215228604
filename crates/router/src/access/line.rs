//! A line of the access log, as JSON or in Apache's combined form. Pure: whatever a client sent, the result is one line that means what it says.

use super::noted::{Noted, Part};
use crate::text::{self, Civil};
use std::time::Duration;
use teal_core::access::LogForm;

/// How a request ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome<'a> {
    /// Of the final answer; none if the client was gone before one began.
    pub(crate) status: Option<u16>,
    /// Bytes of the whole request and of the whole answer.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// From the whole head to the last byte.
    pub(crate) took: Duration,
    /// Who had it.
    pub(crate) environment: Option<&'a str>,
    /// Why the router answered by itself, if it did.
    pub(crate) own: Option<&'a str>,
}

/// Writes the line, `now` being the time since 1970.
pub(crate) fn write(out: &mut Vec<u8>, form: LogForm, noted: &Noted, outcome: &Outcome<'_>, now: Duration) {
    match form {
        LogForm::Off => return,
        LogForm::Json => json(out, noted, outcome, now),
        LogForm::Combined => combined(out, noted, outcome, now),
    }
    out.push(b'\n');
}

fn json(out: &mut Vec<u8>, noted: &Noted, outcome: &Outcome<'_>, now: Duration) {
    out.extend_from_slice(b"{\"time\":\"");
    rfc3339(out, now);
    out.push(b'"');
    for (name, part) in [
        ("client", Part::Client),
        ("method", Part::Method),
        ("host", Part::Host),
        ("path", Part::Path),
        ("app", Part::App),
        ("request_id", Part::Id),
        ("referrer", Part::Referrer),
        ("user_agent", Part::Agent),
    ] {
        text_member(out, name, noted.get(part));
    }
    text_member(out, "protocol", noted.protocol.word().as_bytes());
    text_member(out, "environment", outcome.environment.unwrap_or_default().as_bytes());
    text_member(out, "own", outcome.own.unwrap_or_default().as_bytes());
    if let Some(port) = noted.port {
        number_member(out, "port", u64::from(port));
    }
    if !noted.protocol.is_stream() {
        number_member(out, "status", u64::from(outcome.status.unwrap_or(0)));
    }
    number_member(out, "bytes_in", outcome.bytes_in);
    number_member(out, "bytes_out", outcome.bytes_out);
    number_member(out, "duration_us", micros(outcome.took));
    out.push(b'}');
}

/// What there is not is left out.
fn text_member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    for part in [&b",\""[..], name.as_bytes(), b"\":\""] {
        out.extend_from_slice(part);
    }
    json_text(out, value);
    out.push(b'"');
}

fn number_member(out: &mut Vec<u8>, name: &str, value: u64) {
    for part in [&b",\""[..], name.as_bytes(), b"\":"] {
        out.extend_from_slice(part);
    }
    text::decimal(out, value);
}

/// What is not UTF-8 becomes U+FFFD, so that every reader of JSON can read the line.
fn json_text(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                // Also what is no end of a line for JSON, but for some reader or terminal.
                '\u{2028}' | '\u{2029}' => unicode(out, character),
                control if control.is_control() => unicode(out, control),
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn unicode(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(b"\\u");
    text::hex(out, u64::from(character), 4);
}

/// `client - - [time] "request" status bytes "referrer" "agent"`, and then what the combined form does not have.
fn combined(out: &mut Vec<u8>, noted: &Noted, outcome: &Outcome<'_>, now: Duration) {
    bare(out, noted.get(Part::Client));
    out.extend_from_slice(b" - - [");
    common_date(out, now);
    out.extend_from_slice(b"] \"");
    if noted.protocol.is_stream() {
        door(out, noted);
    } else if !noted.get(Part::Method).is_empty() {
        for part in [noted.get(Part::Method), b" ", noted.get(Part::Path), b" "] {
            quoted_text(out, part);
        }
        out.extend_from_slice(noted.protocol.word().as_bytes());
    }
    out.extend_from_slice(b"\" ");
    text::decimal(out, u64::from(outcome.status.unwrap_or(0)));
    out.push(b' ');
    text::decimal(out, outcome.bytes_out);
    for part in [Part::Referrer, Part::Agent, Part::Host] {
        quoted(out, noted.get(part));
    }
    for word in [noted.get(Part::App), outcome.environment.unwrap_or_default().as_bytes()] {
        out.push(b' ');
        bare(out, word);
    }
    out.push(b' ');
    seconds(out, outcome.took);
    quoted(out, noted.get(Part::Id));
}

/// `TCP :5432`, or `TLS vault.example.org`: what a stream has instead of a request.
fn door(out: &mut Vec<u8>, noted: &Noted) {
    out.extend_from_slice(noted.protocol.word().as_bytes());
    out.push(b' ');
    quoted_text(out, noted.get(Part::Host));
    if let Some(port) = noted.port {
        out.push(b':');
        text::decimal(out, u64::from(port));
    }
}

fn quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(b" \"");
    quoted_text(out, if value.is_empty() { b"-" } else { value });
    out.push(b'"');
}

/// A word without quotes; it has no blanks of its own.
fn bare(out: &mut Vec<u8>, value: &[u8]) {
    quoted_text(out, if value.is_empty() { b"-" } else { value });
}

/// As nginx does it: what is not plain ASCII, and what could end the quotes, as `\xHH`.
fn quoted_text(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                out.extend_from_slice(b"\\x");
                text::hex(out, u64::from(*byte), 2);
            }
            plain => out.push(*plain),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(out: &mut Vec<u8>, span: Duration) {
    text::decimal(out, span.as_secs());
    out.push(b'.');
    padded(out, u64::from(span.subsec_micros()), 6);
}

fn padded(out: &mut Vec<u8>, number: u64, digits: usize) {
    let start = out.len();
    text::decimal(out, number);
    let missing = digits.saturating_sub(out.len() - start);
    out.splice(start..start, std::iter::repeat_n(b'0', missing));
}

/// `2026-11-23T11:02:31.123Z`.
fn rfc3339(out: &mut Vec<u8>, now: Duration) {
    let date = Civil::of(now.as_secs());
    let fields = [(date.year, 4, b'-'), (date.month, 2, b'-'), (date.day, 2, b'T')];
    let clock = [(date.hour, 2, b':'), (date.minute, 2, b':'), (date.second, 2, b'.')];
    for (number, digits, behind) in fields.into_iter().chain(clock) {
        padded(out, number, digits);
        out.push(behind);
    }
    padded(out, u64::from(now.subsec_millis()), 3);
    out.push(b'Z');
}

/// `23/Nov/2026:11:02:31 +0000`.
fn common_date(out: &mut Vec<u8>, now: Duration) {
    let date = Civil::of(now.as_secs());
    padded(out, date.day, 2);
    out.push(b'/');
    out.extend_from_slice(date.month_word().as_bytes());
    out.push(b'/');
    for (number, digits, behind) in
        [(date.year, 4, b':'), (date.hour, 2, b':'), (date.minute, 2, b':'), (date.second, 2, b' ')]
    {
        padded(out, number, digits);
        out.push(behind);
    }
    out.extend_from_slice(b"+0000");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Protocol;

    const NOW: Duration = Duration::from_millis(784_111_777_042);

    fn line(form: LogForm, head: &[u8], outcome: &Outcome<'_>) -> String {
        let mut noted = Noted::default();
        noted.take(head, "192.0.2.1", Protocol::Usual, &[]);
        let mut out = Vec::new();
        write(&mut out, form, &noted, outcome, NOW);
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text.find('\n'), Some(text.len() - 1), "one line: {text}");
        text
    }

    fn outcome() -> Outcome<'static> {
        Outcome {
            status: Some(200),
            bytes_in: 30,
            bytes_out: 1234,
            took: Duration::from_micros(1_000_345),
            environment: Some("e-1"),
            own: None,
        }
    }

    const HEAD: &[u8] = b"GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\n\r\n";

    #[test]
    fn the_combined_form_is_apaches_with_a_few_fields_behind_it() {
        assert_eq!(
            line(LogForm::Combined, HEAD, &outcome()),
            "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /x?y=1 HTTP/1.1\" 200 1234 \"-\" \"curl/8\" \"a.test\" - e-1 1.000345 \"-\"\n"
        );
    }

    #[test]
    fn json_has_a_member_for_all_that_there_is() {
        let text = line(LogForm::Json, HEAD, &outcome());
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let expected = serde_json::json!({
            "time": "1994-11-06T08:49:37.042Z", "client": "192.0.2.1", "method": "GET", "host": "a.test", "path": "/x?y=1",
            "user_agent": "curl/8", "protocol": "HTTP/1.1", "environment": "e-1", "status": 200, "bytes_in": 30, "bytes_out": 1234,
            "duration_us": 1_000_345
        });
        assert_eq!(read, expected);
    }

    /// Every byte that there is, in a place where a client can put it.
    fn hostile() -> Vec<u8> {
        let bytes: Vec<u8> = (0..=255).filter(|byte| !matches!(byte, b'\n' | b'\r' | b' ')).collect();
        let agent = [&bytes[..], "\u{2028}\u{9b}31m\u{1f600}".as_bytes()].concat();
        [b"GET /", &bytes[..], b" HTTP/1.1\r\nUser-Agent: ", &agent, b"\r\n\r\n"].concat()
    }

    #[test]
    fn hostile_bytes_stay_inside_of_their_quotes() {
        let text = line(LogForm::Combined, &hostile(), &outcome());
        assert!(text.trim_end().bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{text}");
        assert_eq!(text.matches('"').count(), 10, "{text}");
        assert!(text.contains("\\x1B") || text.contains("\\x1b"), "{text}");
    }

    #[test]
    fn hostile_bytes_are_still_json_and_no_control_character_is_in_it() {
        let text = line(LogForm::Json, &hostile(), &outcome());
        assert!(!text.trim_end().chars().any(|c| c.is_control() || c == '\u{2028}'), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let path = read["path"].as_str().expect("a path");
        assert!(path.contains("\u{0}\u{1}") && path.contains("\"") && path.contains('\\'), "{path}");
        assert!(
            read["user_agent"].as_str().is_some_and(|agent| agent.ends_with("\u{2028}\u{9b}31m\u{1f600}"))
        );
    }

    #[test]
    fn a_stream_has_a_line_of_where_it_came_to_and_what_went_through() {
        let lines = |name, port| {
            let mut noted = Noted::default();
            noted.take(HEAD, "192.0.2.9", Protocol::Usual, &[]);
            noted.stream("192.0.2.1", name, port);
            noted.app("db");
            [LogForm::Combined, LogForm::Json].map(|form| {
                let (mut out, outcome) = (Vec::new(), Outcome { status: None, ..outcome() });
                write(&mut out, form, &noted, &outcome, NOW);
                String::from_utf8(out).expect("UTF-8")
            })
        };
        let [combined, json] = lines(None, Some(5432));
        let rest = "\" 0 1234 \"-\" \"-\" \"-\" db e-1 1.000345 \"-\"\n";
        assert_eq!(combined, format!("192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"TCP :5432{rest}"));
        let expected = serde_json::json!({
            "time": "1994-11-06T08:49:37.042Z", "client": "192.0.2.1", "app": "db", "protocol": "TCP", "port": 5432,
            "environment": "e-1", "bytes_in": 30, "bytes_out": 1234, "duration_us": 1_000_345
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), expected);
        let [combined, json] = lines(Some("db.test"), None);
        assert!(combined.contains("\"TLS db.test\" 0 1234 \"-\" \"-\" \"db.test\" db e-1"), "{combined}");
        assert!(json.contains("\"host\":\"db.test\"") && json.contains("\"protocol\":\"TLS\""), "{json}");
    }

    #[test]
    fn a_request_that_could_not_be_read_has_a_line_too() {
        let refused = Outcome { status: Some(400), own: Some("refused"), ..Outcome::default() };
        let text = line(LogForm::Combined, b"", &refused);
        assert!(
            text.starts_with("192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"\" 400 0 \"-\" \"-\""),
            "{text}"
        );
        let read: serde_json::Value =
            serde_json::from_str(&line(LogForm::Json, b"", &refused)).expect("JSON");
        assert_eq!((read["own"].as_str(), read["status"].as_u64()), (Some("refused"), Some(400)));
    }
}
