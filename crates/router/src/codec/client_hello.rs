//! The server's name in a ClientHello, the first message of TLS (RFC 8446, 4.1.2 and RFC 6066, 3), read without taking part in the handshake.
//!
//! Strict: whatever is not a ClientHello in one piece of good form names nobody. It must never guess a name: who gets the bytes depends on it.

/// A record's header.
const HEADER: usize = 5;
/// What a record may carry.
const MAX_RECORD: usize = 16 * 1024;
/// The longest host name.
const MAX_NAME: usize = 253;
/// The extension that carries the name.
const SERVER_NAME: u16 = 0;

/// What the beginning of a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// The beginning of a ClientHello, so far.
    Part,
    /// A whole one, for this host (in lower case), or for none.
    Whole(Option<Box<str>>),
    /// No ClientHello.
    Other,
}

/// Reads what came first on a connection.
pub(crate) fn read(bytes: &[u8]) -> Hello {
    match message(bytes) {
        Ok(Some(message)) => body(&message).map_or(Hello::Other, Hello::Whole),
        Ok(None) => Hello::Part,
        Err(Malformed) => Hello::Other,
    }
}

#[derive(Debug)]
struct Malformed;

/// The handshake message that the records carry from the beginning on, without its header, once it is whole.
fn message(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut message = Vec::new();
    loop {
        check_begin(&message)?;
        if let Some(length) = length(&message)
            && message.len() >= 4 + length
        {
            // What follows in the same record is not this message.
            message.truncate(4 + length);
            return Ok(Some(message.split_off(4)));
        }
        let Some(record) = record(bytes)? else { return Ok(None) };
        let end = record.len().min(bytes.len() - HEADER);
        message.extend_from_slice(&bytes[HEADER..HEADER + end]);
        if end < record.len() {
            check_begin(&message)?;
            return Ok(None);
        }
        bytes = &bytes[HEADER + end..];
    }
}

/// The range of the payload of the record that begins here, once its header is whole.
fn record(bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>, Malformed> {
    let begins = |byte: Option<&u8>, with: u8| byte.is_none_or(|byte| *byte == with);
    // A handshake record of TLS of whatever version.
    if !begins(bytes.first(), 22) || !begins(bytes.get(1), 3) {
        return Err(Malformed);
    }
    let Some(header) = bytes.get(..HEADER) else { return Ok(None) };
    match usize::from(u16::from_be_bytes([header[3], header[4]])) {
        length @ 1..=MAX_RECORD => Ok(Some(0..length)),
        _ => Err(Malformed),
    }
}

/// A ClientHello is message 1, and no longer than a record.
fn check_begin(message: &[u8]) -> Result<(), Malformed> {
    let is_other = message.first().is_some_and(|kind| *kind != 1);
    if is_other || length(message).is_some_and(|length| length > MAX_RECORD) {
        Err(Malformed)
    } else {
        Ok(())
    }
}

fn length(message: &[u8]) -> Option<usize> {
    let header = message.get(1..4)?;
    Some(usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]))
}

/// The name in a ClientHello; nothing if it is none.
fn body(bytes: &[u8]) -> Option<Option<Box<str>>> {
    let mut rest = Rest(bytes);
    rest.take(2 + 32)?;
    let session = rest.vector8()?;
    let suites = rest.vector16()?;
    let compressions = rest.vector8()?;
    if session.len() > 32 || suites.len() < 2 || suites.len() % 2 > 0 || compressions.is_empty() {
        return None;
    }
    if rest.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Rest(rest.vector16()?);
    if !rest.0.is_empty() {
        return None;
    }
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let value = extensions.vector16()?;
        if kind == SERVER_NAME && name.replace(host_name(value)?).is_some() {
            return None;
        }
    }
    Some(name)
}

/// The one name of the extension.
fn host_name(value: &[u8]) -> Option<Box<str>> {
    let mut rest = Rest(value);
    let mut list = Rest(rest.vector16()?);
    let kind = list.take(1)?;
    let name = list.vector16()?;
    let is_only = rest.0.is_empty() && list.0.is_empty() && kind == [0];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(is_part);
    let name = std::str::from_utf8(name).ok().filter(|_| is_only && is_name)?;
    Some(name.to_ascii_lowercase().into())
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
    use std::sync::Arc;

    /// The first flight of a real client.
    fn hello(name: &str) -> Vec<u8> {
        let builder = ClientConfig::builder_with_provider(Arc::new(crate::tls::provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("legal");
        let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("writes");
        bytes
    }

    fn named(name: &str) -> Hello {
        Hello::Whole(Some(name.into()))
    }

    /// The same message in records of at most `size` bytes.
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).expect("short").to_be_bytes();
            [&[22, 3, 1], length.as_slice(), part].concat()
        };
        hello[HEADER..].chunks(size).flat_map(record).collect()
    }

    #[test]
    fn a_real_hello_says_its_name_with_its_last_byte_and_not_before() {
        let bytes = hello("DB.Shop.test");
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Hello::Part, "{end} bytes");
        }
        assert_eq!(read(&bytes), named("db.shop.test"));
        assert_eq!(read(&[bytes.as_slice(), b"\x17\x03\x03 more"].concat()), named("db.shop.test"));
        assert_eq!(read(&hello("192.0.2.1")), Hello::Whole(None), "an address is no name");
    }

    #[test]
    fn a_hello_in_many_records_is_the_same() {
        for size in [1, 3, 4, 5, 100] {
            let bytes = in_records(&hello("db.test"), size);
            assert_eq!(read(&bytes[..bytes.len() - 1]), Hello::Part, "{size}");
            assert_eq!(read(&bytes), named("db.test"), "{size}");
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        for other in [
            b"GET / HTTP/1.1".as_slice(),
            b"S",
            &[22, 2],
            &[21, 3, 3, 0, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x41, 0],
        ] {
            assert_eq!(read(other), Hello::Other, "{other:?}");
        }
        assert_eq!(read(&[22, 3, 1, 0, 4, 2]), Hello::Other, "not the first message of a client");
        assert_eq!(read(&[22, 3, 1, 0, 4, 1, 1, 0, 0]), Hello::Other, "longer than any honest one");
        assert_eq!(read(&[]), Hello::Part);
    }

    #[test]
    fn a_bent_hello_names_nobody_else() {
        let good = hello("db.test");
        for index in 0..good.len() {
            for bit in 0..8 {
                let mut bent = good.clone();
                bent[index] ^= 1 << bit;
                if let Hello::Whole(Some(name)) = read(&bent) {
                    let changed =
                        name.bytes().zip("db.test".bytes()).filter(|(one, other)| one != other).count();
                    assert!(name.len() == 7 && changed <= 1, "byte {index}: {name}");
                }
            }
        }
    }

    #[test]
    fn two_names_are_none() {
        let entry = |name: &str| {
            let length = u8::try_from(name.len()).expect("short");
            [&[0, 0, length], name.as_bytes()].concat()
        };
        let extension = |entries: &[u8]| {
            let length = u8::try_from(entries.len()).expect("short");
            [&[0, 0, 0, length + 2, 0, length], entries].concat()
        };
        let client = |extensions: &[u8]| {
            let length = u8::try_from(extensions.len()).expect("short");
            let body = [[3; 34].as_slice(), &[0, 0, 2, 0x13, 1, 1, 0, 0, length], extensions].concat();
            let length = u8::try_from(body.len()).expect("short");
            [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], body.as_slice()].concat()
        };
        assert_eq!(read(&client(&extension(&entry("a.test")))), named("a.test"));
        assert_eq!(read(&client(&[])), Hello::Whole(None));
        assert_eq!(read(&client(&extension(&[entry("a.test"), entry("b.test")].concat()))), Hello::Other);
        assert_eq!(
            read(&client(&[extension(&entry("a.test")), extension(&entry("b.test"))].concat())),
            Hello::Other
        );
        for odd in ["a test", "a/b", "", "é.test"] {
            assert_eq!(read(&client(&extension(&entry(odd)))), Hello::Other, "{odd}");
        }
    }
}
