//! The header names that the router knows, whatever their case.

/// A header's name, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Accept,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRequestId,
    /// One of the above with `_` for `-`: many an app takes the two for the same.
    Disguised,
    /// Anything else.
    Other,
}

impl Name {
    /// Which one it is. A name has no bytes but those of tokens, so that one bit tells each from its lower case.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.as_bytes();
        let candidate = name.first().and_then(|first| Self::candidate(name.len(), first | CASE));
        match candidate {
            Some((text, known)) if is_same(name, text) => known,
            Some((text, _)) if is_disguise(name, text) => Self::Disguised,
            _ => Self::Other,
        }
    }

    /// The only one of this length with this first letter: most names are none, which these two say already.
    fn candidate(length: usize, first: u8) -> Option<(&'static [u8], Self)> {
        let (text, known): (&[u8], Self) = match (length, first) {
            (2, b't') => (b"te", Self::Te),
            (4, b'h') => (b"host", Self::Host),
            (4, b'd') => (b"date", Self::Date),
            (6, b'a') => (b"accept", Self::Accept),
            (6, b'c') => (b"cookie", Self::Cookie),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (7, b't') => (b"trailer", Self::Trailer),
            (9, b'f') => (b"forwarded", Self::Forwarded),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (12, b'c') => (b"content-type", Self::ContentType),
            (12, b'x') => (b"x-request-id", Self::XRequestId),
            (13, b'a') => (b"authorization", Self::Authorization),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (14, b'h') => (b"http2-settings", Self::Http2Settings),
            (15, b'x') => (b"x-forwarded-for", Self::XForwardedFor),
            (16, b'x') => (b"x-forwarded-host", Self::XForwardedHost),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => (b"x-forwarded-proto", Self::XForwardedProto),
            (18, b'p') => (b"proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => (b"proxy-authorization", Self::ProxyAuthorization),
            _ => return None,
        };
        Some((text, known))
    }

    /// Its place in a set of names.
    pub(crate) fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Concerns one connection only.
    pub(crate) fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
                | Self::Disguised
        )
    }

    /// A `Connection` line must not be able to name it away: it carries meaning to the end.
    pub(crate) fn is_kept(self) -> bool {
        matches!(
            self,
            Self::Host | Self::ContentLength | Self::ContentType | Self::Cookie | Self::Authorization
        )
    }
}

/// Lower case, of every character that a name may have.
const CASE: u8 = 0x20;

/// It is `known` of the same length, in any case: eight bytes at a time, the last ones twice.
fn is_same(name: &[u8], known: &[u8]) -> bool {
    let (Some(end), Some(known_end)) = (name.last_chunk::<8>(), known.last_chunk::<8>()) else {
        return name.iter().zip(known).fold(0, |differs, (byte, known)| differs | (byte | CASE) ^ known) == 0;
    };
    let differs = |byte: &[u8; 8], known: &[u8; 8]| {
        (u64::from_ne_bytes(*byte) | u64::from_ne_bytes([CASE; 8])) ^ u64::from_ne_bytes(*known)
    };
    let pieces = name.as_chunks().0.iter().zip(known.as_chunks().0);
    pieces.fold(differs(end, known_end), |all, (piece, known)| all | differs(piece, known)) == 0
}

/// It is `known` of the same length, with `_` for `-`.
fn is_disguise(name: &[u8], known: &[u8]) -> bool {
    let same =
        |(byte, known): (&u8, &u8)| byte.to_ascii_lowercase() == *known || (*byte, *known) == (b'_', b'-');
    name.iter().zip(known).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_through_a_disguise() {
        assert_eq!(Name::of("Content-LENGTH"), Name::ContentLength);
        assert_eq!(Name::of("te"), Name::Te);
        assert_eq!(Name::of("X-Forwarded-For"), Name::XForwardedFor);
        for disguised in ["Content_Length", "X_Forwarded_For", "x-forwarded_proto", "transfer_encoding"] {
            assert_eq!(Name::of(disguised), Name::Disguised, "{disguised}");
        }
        for other in ["", "x", "X-Custom", "user_id", "content-lengths", "x-forwarded-for-the-longest-time"] {
            assert_eq!(Name::of(other), Name::Other, "{other}");
        }
    }

    #[test]
    fn one_other_character_anywhere_makes_it_another_name() {
        let known =
            (0..32).flat_map(|length| (b'a'..=b'z').filter_map(move |first| Name::candidate(length, first)));
        let mut count = 0;
        for (text, name) in known {
            let text = std::str::from_utf8(text).expect("ASCII");
            assert_eq!((Name::of(text), Name::of(&text.to_ascii_uppercase())), (name, name), "{text}");
            for (place, old) in text.bytes().enumerate() {
                for byte in
                    (0..0x80).filter(|byte| crate::text::is_token(*byte) && !byte.eq_ignore_ascii_case(&old))
                {
                    let mut other = text.as_bytes().to_vec();
                    other[place] = byte;
                    let other = String::from_utf8(other).expect("ASCII");
                    let disguised = (old, byte) == (b'-', b'_');
                    assert_eq!(Name::of(&other) == Name::Disguised, disguised, "{other}");
                    assert!(disguised || Name::of(&other) != name, "{other}");
                }
            }
            count += 1;
        }
        assert_eq!(count, 23);
    }
}
