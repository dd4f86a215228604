//! Sticky sessions: a cookie of the router's names the instance that a client had last, so that its next request goes there again.
//!
//! A pin is a wish and never a route: it counts only for an instance of the live environment that takes requests. It says nothing about the instance
//! to whoever reads it, is the same after a restart of the router, and never reaches an app.

use crate::text;
use aws_lc_rs::hmac;
use memchr::memchr_iter;
use std::borrow::Cow;

/// What the cookies' names begin with; the app's mark follows, so that apps that share a host do not take each other's.
const NAME: &[u8] = b"teal-instance-";
/// Of the name's mark.
const NAME_BYTES: usize = 4;
/// Of the instance's mark.
const PIN_BYTES: usize = 16;
/// Of one request; apps that share a host have one each.
const MOST: usize = 16;

/// What marks are made with.
#[derive(Debug)]
pub(crate) struct Key(hmac::Key);

impl Key {
    /// From a secret of this router's.
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The name of an app's cookie.
    pub(crate) fn name(&self, app: &str) -> Box<str> {
        let name = String::from_utf8_lossy(NAME).into_owned();
        (name + &self.mark("app", app, NAME_BYTES)).into()
    }

    /// What the cookie says of an instance.
    pub(crate) fn pin(&self, instance: &str) -> Box<str> {
        self.mark("instance", instance, PIN_BYTES).into()
    }

    fn mark(&self, kind: &str, id: &str, bytes: usize) -> String {
        let tag = hmac::sign(&self.0, format!("{kind} {id}").as_bytes());
        let mut hex = Vec::with_capacity(2 * bytes);
        for byte in tag.as_ref().iter().take(bytes) {
            text::hex(&mut hex, u64::from(*byte), 2);
        }
        String::from_utf8_lossy(&hex).into_owned()
    }
}

/// The pins that one request brought: cookies as they were written, `name=value`.
#[derive(Debug, Default)]
pub(crate) struct Pins(Vec<Box<str>>);

impl Pins {
    /// Takes the pins out of a `Cookie` line; the line that is left goes on, unless it is empty.
    pub(crate) fn take<'a>(&mut self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let is_pin = |cookie: &[u8]| cookie.trim_ascii_start().starts_with(NAME);
        if !is_pin(line) && !memchr_iter(b';', line).any(|end| is_pin(&line[end + 1..])) {
            return Cow::Borrowed(line);
        }
        let cookies = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let (pins, others): (Vec<&[u8]>, Vec<&[u8]>) = cookies.partition(|cookie| cookie.starts_with(NAME));
        let room = MOST.saturating_sub(self.0.len());
        self.0.extend(pins.into_iter().take(room).map(|pin| String::from_utf8_lossy(pin).into()));
        Cow::Owned(others.join(&b"; "[..]))
    }

    /// What the cookie of this name says.
    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A `Set-Cookie` line's value; `secure`: the client came by TLS.
pub(crate) fn cookie(name: &str, pin: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={pin}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_taken_out_of_cookies_and_nothing_else_is() {
        for (line, left, pin) in [
            ("a=1; b=2", "a=1; b=2", None),
            ("teal-instance-ab=x", "", Some("x")),
            ("a=1; teal-instance-ab=x; b=2", "a=1; b=2", Some("x")),
            ("a=1;teal-instance-ab=x;b=2", "a=1; b=2", Some("x")),
            ("a=1;b=teal-instance-ab=x", "a=1;b=teal-instance-ab=x", None),
            ("teal-instance-abc=x; teal-instance-ab=", "", Some("")),
            ("teal-instance-ab", "", None),
        ] {
            let mut pins = Pins::default();
            assert_eq!(pins.take(line.as_bytes()).as_ref(), left.as_bytes(), "{line}");
            assert_eq!(pins.of("teal-instance-ab"), pin, "{line}");
        }
        let mut pins = Pins::default();
        pins.take("teal-instance-x=1;".repeat(MOST + 1).as_bytes());
        assert_eq!(pins.0.len(), MOST);
    }

    #[test]
    fn marks_depend_on_the_key_and_tell_nothing() {
        let (one, other) = (Key::new(b"one"), Key::new(b"other"));
        assert_eq!(one.pin("e-1-0"), Key::new(b"one").pin("e-1-0"));
        assert_ne!(one.pin("e-1-0"), other.pin("e-1-0"));
        assert_ne!(one.pin("e-1-0"), one.pin("e-1-1"));
        assert_eq!(one.pin("e-1-0").len(), 2 * PIN_BYTES);
        assert!(!format!("{one:?}").contains("6f6e65"), "no secret is shown");
    }
}
