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
    /// Which one it is.
    pub(crate) fn of(name: &str) -> Self {
        let known = Self::of_length(name.len());
        let Some(first) = name.bytes().next().filter(|_| !known.is_empty()) else { return Self::Other };
        // Most names are none of these, which their first letter says already.
        let same = |text: &&(&str, Self)| text.0.as_bytes()[0] == first.to_ascii_lowercase();
        for (text, known) in known.iter().filter(same) {
            if text.eq_ignore_ascii_case(name) {
                return *known;
            }
            if is_disguise(name, text) {
                return Self::Disguised;
            }
        }
        Self::Other
    }

    /// The names of this length.
    fn of_length(length: usize) -> &'static [(&'static str, Self)] {
        match length {
            2 => &[("te", Self::Te)],
            4 => &[("host", Self::Host), ("date", Self::Date)],
            6 => &[("accept", Self::Accept), ("cookie", Self::Cookie), ("expect", Self::Expect)],
            7 => &[("upgrade", Self::Upgrade), ("trailer", Self::Trailer)],
            9 => &[("forwarded", Self::Forwarded)],
            10 => &[("connection", Self::Connection), ("keep-alive", Self::KeepAlive)],
            12 => &[("content-type", Self::ContentType), ("x-request-id", Self::XRequestId)],
            13 => &[("authorization", Self::Authorization)],
            14 => &[("content-length", Self::ContentLength), ("http2-settings", Self::Http2Settings)],
            15 => &[("x-forwarded-for", Self::XForwardedFor)],
            16 => &[("x-forwarded-host", Self::XForwardedHost), ("proxy-connection", Self::ProxyConnection)],
            17 => {
                &[("transfer-encoding", Self::TransferEncoding), ("x-forwarded-proto", Self::XForwardedProto)]
            }
            18 => &[("proxy-authenticate", Self::ProxyAuthenticate)],
            19 => &[("proxy-authorization", Self::ProxyAuthorization)],
            _ => &[],
        }
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

/// It is `known` of the same length, with `_` for `-`.
fn is_disguise(name: &str, known: &str) -> bool {
    let same = |(byte, known): (u8, u8)| byte.to_ascii_lowercase() == known || byte == b'_' && known == b'-';
    name.bytes().zip(known.bytes()).all(same)
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
}
