//! A webhook's address as its owner writes it: pure, and strict. What is shown of it never has its path: that often is a secret.

use http::{Uri, uri::Scheme};
use std::net::IpAddr;

/// The longest address.
const MAX_URL: usize = 2_000;

/// Where a webhook is posted to. It has no `Debug`: nothing may log its path.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// With TLS.
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// `host`, or `host:port` where that is not the scheme's own: the header.
    pub authority: String,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with "the address".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_URL {
            return Err("is longer than 2000 characters");
        }
        let uri: Uri = text.parse().map_err(|_| "is not one such as https://hooks.example.org/teal")?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("must begin with https:// or http://"),
        };
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("has a user in it, who would be sent nowhere: leave that out");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host");
        }
        let own = if tls { 443 } else { 80 };
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, digits)) if !digits.ends_with(']') => {
                authority.port_u16().ok_or("has no port behind its `:`")?
            }
            _ => own,
        };
        if port == 0 {
            return Err("has the port 0");
        }
        let named = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = if port == own { named } else { format!("{named}:{port}") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { tls, host, port, path, authority })
    }

    /// The address itself, where the host is one.
    #[must_use]
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// What may be shown: `https://hooks.example.org/…`.
    #[must_use]
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let rest = if self.path == "/" { "/" } else { "/…" };
        format!("{scheme}://{}{rest}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_path() {
        let address =
            Address::parse("https://hooks.example.org/services/T0/secret?x=1").map_err(str::to_owned);
        let address = address.expect("legal");
        assert_eq!(address.shown(), "https://hooks.example.org/…");
        assert_eq!(
            (address.port, address.path.as_str(), address.tls),
            (443, "/services/T0/secret?x=1", true)
        );
        let address = Address::parse("http://[::1]:8080").map_err(str::to_owned).expect("legal");
        assert_eq!((address.host.as_str(), address.port, address.path.as_str()), ("::1", 8080, "/"));
        assert_eq!((address.authority.as_str(), address.literal().is_some()), ("[::1]:8080", true));
        assert_eq!(address.shown(), "http://[::1]:8080/");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("https://example.org/{}", "a".repeat(2_000));
        for bad in [
            "",
            "example.org",
            "/hook",
            "ftp://example.org/",
            "file:///etc/passwd",
            "gopher://x/",
            "https://",
            "https://user:pass@example.org/",
            "https://example.org:0/",
            "https://example.org:99999/",
            "https://exa mple.org/",
            "https://example.org/\r\nHost: x",
            &long,
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
