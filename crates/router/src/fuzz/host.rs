//! Bytes as the authority that a request names: what we take for a domain is one, and the one that the `http` crate reads.

use super::Found;
use crate::codec::target::domain;

/// Reads an authority both ways.
pub(crate) fn check(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let Ok(text) = std::str::from_utf8(bytes) else { return found };
    let Ok(domain) = domain(text) else { return found };
    assert!((1..=253).contains(&domain.len()), "{text:?}");
    assert_eq!(self::domain(&domain).as_ref(), Ok(&domain), "{text:?} is not what it says");
    // It is written into header lines, one of them between quotes.
    let safe = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,;/@ ".contains(&byte);
    assert!(text.bytes().all(safe), "{text:?}");
    found.written += 1;
    if let Ok(authority) = text.parse::<http::uri::Authority>() {
        let host = authority.host().to_ascii_lowercase();
        assert_eq!(domain, host.strip_suffix('.').unwrap_or(&host), "{text:?}");
        found.compared += 1;
    }
    found
}
