//! What a request is for: one host and one path, or nothing. Two places name the host; they must agree.

use super::{Name, Refusal, head::Request};

/// A request's destination.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The authority, exactly as the client wrote it.
    pub(crate) authority: &'a str,
    /// Lower case, without port and without the root's dot.
    pub(crate) domain: String,
    /// In origin-form, as it goes on; without its leading slash if the client left the path out.
    pub(crate) path: &'a str,
    /// The client left the path out: it begins with a slash that is not in `path`.
    pub(crate) rootless: bool,
}

impl<'a> Target<'a> {
    /// Of this request.
    pub(crate) fn of(request: &Request<'a>) -> Result<Self, Refusal> {
        if request.method == "CONNECT" {
            return Err(Refusal::Method);
        }
        // A fragment is nobody's business but the browser's: one parser cuts it off, another one does not.
        if request.target.bytes().any(|byte| matches!(byte, b'#' | 0x7f)) {
            return Err(Refusal::Target);
        }
        let host = host(request)?;
        let (authority, path, rootless) = match request.target {
            "*" if request.method == "OPTIONS" => (host.ok_or(Refusal::NoHost)?, "*", false),
            path if path.starts_with('/') => (host.ok_or(Refusal::NoHost)?, path, false),
            absolute => self::absolute(absolute, host, request)?,
        };
        Ok(Self { authority, domain: domain(authority)?, path, rootless })
    }
}

/// The one `Host`; HTTP/1.0 may go without if its target names the host.
fn host<'a>(request: &Request<'a>) -> Result<Option<&'a str>, Refusal> {
    let mut hosts = request.fields.all(Name::Host);
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(Refusal::TwoHosts),
        (Some(b""), None) => Err(Refusal::NoHost),
        (None, None) if request.minor == 0 => Ok(None),
        (None, None) => Err(Refusal::NoHost),
        (Some(host), None) => std::str::from_utf8(host).map(Some).map_err(|_| Refusal::BadHost),
    }
}

/// `http://authority/path`: allowed if its authority is the `Host`.
fn absolute<'a>(
    target: &'a str,
    host: Option<&'a str>,
    request: &Request<'a>,
) -> Result<(&'a str, &'a str, bool), Refusal> {
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::Target)?;
    if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(Refusal::Target);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(Refusal::TwoHosts);
    }
    if path.is_empty() && request.method == "OPTIONS" {
        return Ok((authority, "*", false));
    }
    Ok((authority, path, !path.starts_with('/')))
}

/// The domain of an authority.
pub(crate) fn domain(authority: &str) -> Result<String, Refusal> {
    let colon = authority.bytes().rposition(|byte| byte == b':').filter(|_| !authority.ends_with(']'));
    let (host, port) = colon.map_or((authority, ""), |colon| (&authority[..colon], &authority[colon + 1..]));
    let literal = || host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = is_name(host) || literal().is_some_and(is_address);
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > 253 || !is_host || !is_port(port) {
        return Err(Refusal::BadHost);
    }
    Ok(host.to_ascii_lowercase())
}

/// Labels of letters, digits, hyphens and low lines, between dots. None is empty, but for that of the root: `a..` is no other name for `a.`, and an
/// empty host has none but that.
fn is_name(host: &str) -> bool {
    const LEGAL: [bool; 256] = {
        let (mut legal, mut byte) = ([false; 256], 0_u8);
        while byte < 0x80 {
            legal[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            byte += 1;
        }
        legal
    };
    let mut before = b'.';
    for byte in host.bytes() {
        if !LEGAL[usize::from(byte)] || byte == b'.' && before == b'.' {
            return false;
        }
        before = byte;
    }
    !host.is_empty()
}

fn is_port(port: &str) -> bool {
    port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_address(literal: &str) -> bool {
    literal.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_compared_without_case_port_and_dot() {
        for same in ["A.test", "a.test:8080", "a.TEST.", "a.test.:1", "a.test:"] {
            assert_eq!(domain(same), Ok("a.test".into()), "{same}");
        }
        assert_eq!(domain("[::1]:80"), Ok("[::1]".into()));
        assert_eq!(domain("[::1]"), Ok("[::1]".into()));
        let bad = [
            "a b",
            "a/b",
            "a.test:x",
            ":1",
            "a@b",
            "a\"b",
            "a,b",
            "",
            ".",
            "[::1",
            "::1",
            "[a]",
            "a:1:2",
            "[]:1",
            "a.test:123456",
            "a[",
            "ä.test",
            "a..",
            ".a.test",
            "a..test",
        ];
        for bad in bad {
            assert_eq!(domain(bad), Err(Refusal::BadHost), "{bad}");
        }
    }
}
