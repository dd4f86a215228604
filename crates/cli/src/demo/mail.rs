//! Reading a mail as a person would: subject and text, decoded. Only what mails of Teal need; anything else is shown as it came.

use base64::{Engine, engine::general_purpose::STANDARD};

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mail {
    /// Recipients.
    pub(super) to: Vec<String>,
    /// Its subject.
    pub(super) subject: String,
    /// Its first text.
    pub(super) text: String,
}

impl Mail {
    /// Reads what came over the wire.
    pub(super) fn read(to: Vec<String>, raw: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(raw).replace("\r\n", "\n");
        let (head, body) = raw.split_once("\n\n").unwrap_or((&raw, ""));
        let subject = words(&header(head, "subject").unwrap_or_default());
        Self { to, subject, text: text(head, body) }
    }
}

/// The text of a part: the first one of several that is no HTML.
fn text(head: &str, body: &str) -> String {
    let kind = header(head, "content-type").unwrap_or_default();
    if let Some((_, boundary)) = kind.split_once("boundary=") {
        let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"');
        let mark = format!("--{boundary}");
        let mut parts = body.split(&mark).skip(1).filter_map(|part| part.trim_start().split_once("\n\n"));
        return parts.next().map(|(head, body)| text(head, body)).unwrap_or_default();
    }
    match header(head, "content-transfer-encoding").map(|e| e.to_ascii_lowercase()).as_deref() {
        Some("base64") => {
            lossy(STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap_or_default())
        }
        Some("quoted-printable") => lossy(quoted(body.replace("=\n", "").as_bytes(), b'=')),
        _ => body.to_owned(),
    }
}

/// A header, unfolded.
fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((found, value)) = line.split_once(':') else { continue };
        if !found.eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = value.trim().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(more.trim());
        }
        return Some(value);
    }
    None
}

/// Encoded words (`=?utf-8?b?…?=`) of a header, decoded.
fn words(text: &str) -> String {
    let text = text.replace("?= =?", "?==?");
    let mut decoded = String::new();
    let mut rest = text.as_str();
    while let Some((before, word)) = rest.split_once("=?") {
        decoded.push_str(before);
        let mut parts = word.splitn(3, '?');
        let (Some(_charset), Some(encoding), Some(tail)) = (parts.next(), parts.next(), parts.next()) else {
            return decoded + "=?" + word;
        };
        let Some((data, after)) = tail.split_once("?=") else { return decoded + "=?" + word };
        decoded.push_str(&match encoding {
            "b" | "B" => lossy(STANDARD.decode(data).unwrap_or_default()),
            _ => lossy(quoted(data.replace('_', " ").as_bytes(), b'=')),
        });
        rest = after;
    }
    decoded + rest
}

/// Bytes whose `=XX` are decoded.
fn quoted(bytes: &[u8], mark: u8) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex.filter(|_| *byte == mark) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_mails_become_readable() {
        let raw = b"Subject: =?utf-8?b?aGVsbG8g?=\r\n =?utf-8?q?w=C3=B6rld?=\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nstill =\r\nserves =E2=9C=93\r\n";
        let mail = Mail::read(vec!["a@b".into()], raw);
        assert_eq!((mail.subject.as_str(), mail.text.as_str()), ("hello wörld", "still serves ✓\n"));
    }

    #[test]
    fn the_first_part_of_several_is_its_text() {
        let raw = b"Content-Type: multipart/alternative; boundary=\"x\"\n\n--x\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\naGk=\n--x\nContent-Type: text/html\n\n<p>hi\n--x--\n";
        assert_eq!(Mail::read(Vec::new(), raw).text, "hi");
    }
}
