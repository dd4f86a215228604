//! The header lines that every block may name by number (RFC 7541, appendix A), and the numbers of names that answers consist of.

/// Numbers from 1 on.
pub(crate) const LINES: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The number of an answer's header name in lower case, 0 if it has none.
pub(super) fn number(name: &[u8]) -> usize {
    match name {
        b"age" => 21,
        b"via" => 60,
        b"date" => 33,
        b"etag" => 34,
        b"link" => 45,
        b"vary" => 59,
        b"allow" => 22,
        b"server" => 54,
        b"expires" => 36,
        b"refresh" => 52,
        b"location" => 46,
        b"set-cookie" => 55,
        b"retry-after" => 53,
        b"content-type" => 31,
        b"accept-ranges" => 18,
        b"cache-control" => 24,
        b"content-range" => 30,
        b"last-modified" => 44,
        b"content-length" => 28,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-location" => 29,
        b"www-authenticate" => 61,
        b"content-disposition" => 25,
        b"strict-transport-security" => 56,
        b"access-control-allow-origin" => 20,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_table() {
        let mut known = 0;
        for (place, (name, _)) in LINES.iter().enumerate() {
            match number(name.as_bytes()) {
                0 => (),
                number => {
                    assert_eq!(number, place + 1, "{name}");
                    known += 1;
                }
            }
        }
        assert_eq!((known, number(b"x-other")), (26, 0));
    }
}
