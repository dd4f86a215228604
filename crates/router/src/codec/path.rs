//! How a request's path is read where it decides which app answers. The path itself goes on as the client wrote it.
//!
//! Two readings: the plain one, which decides; and the one of somebody who takes everything for something else that could be. If they lead to
//! different apps the request is refused, because whoever stands before or behind the router may read it in the other way.

/// The path as RFC 3986 has it: without its query, letters and the like that were written as `%61` for what they are (6.2.2.2). `%2f` is no slash.
pub(crate) fn plain(target: &[u8]) -> Vec<u8> {
    decoded(path(target), |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// The path as the most obliging of servers has it: everything decoded, `\` for `/`, no parameters behind `;`, no empty segments, `.` and `..` obeyed.
pub(crate) fn obliging(target: &[u8]) -> Vec<u8> {
    let decoded = decoded(path(target), |_| true);
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" | b"." => (),
            b".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    segments
        .iter()
        .fold(Vec::with_capacity(decoded.len()), |whole, segment| [&whole, &b"/"[..], segment].concat())
}

/// Nobody can read it but in one way.
pub(crate) fn is_certain(target: &[u8]) -> bool {
    let path = path(target);
    let odd = |byte: &u8| matches!(byte, b'%' | b'\\' | b';');
    !path.iter().any(odd) && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

/// `path` is `prefix`, or below it.
pub(crate) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    // All is below the whole, `*` too.
    prefix.is_empty()
        || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Without the query.
pub(crate) fn path(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}

/// With those of the `%` triplets decoded that stand for a byte that `fits`.
fn decoded(path: &[u8], fits: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let triplet = after.get(..2).filter(|_| *first == b'%').and_then(byte).filter(|byte| fits(*byte));
        bytes.push(triplet.unwrap_or(*first));
        rest = if triplet.is_some() { &after[2..] } else { after };
    }
    bytes
}

fn byte(digits: &[u8]) -> Option<u8> {
    let plain = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_of_a_path() {
        for (target, read, obliged) in [
            ("/api/x?y=/../z", "/api/x", "/api/x"),
            ("/", "/", ""),
            ("?x", "", ""),
            ("*", "*", "/*"),
            ("/%61pi/%7Ex", "/api/~x", "/api/~x"),
            ("/api%2fx", "/api%2fx", "/api/x"),
            ("/api/../admin", "/api/../admin", "/admin"),
            ("/api/%2e%2E/admin", "/api/../admin", "/admin"),
            ("/api/..;a=b/admin", "/api/..;a=b/admin", "/admin"),
            ("/api;x/y", "/api;x/y", "/api/y"),
            ("//api", "//api", "/api"),
            ("/a\\api", "/a\\api", "/a/api"),
            ("/../../api/.", "/../../api/.", "/api"),
            ("/a%", "/a%", "/a%"),
            ("/a%+1%2", "/a%+1%2", "/a%+1%2"),
            ("/%2561", "/%2561", "/%61"),
        ] {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
            assert_eq!(text(plain(target.as_bytes())), read, "{target}");
            assert_eq!(text(obliging(target.as_bytes())), obliged, "{target}");
            let slash = |path: &str| if path == "/" { String::new() } else { path.to_owned() };
            if is_certain(target.as_bytes()) && target.starts_with('/') {
                assert_eq!((slash(read), obliged), (slash(obliged), obliged), "{target}");
            }
        }
    }

    #[test]
    fn prefixes_end_where_segments_end() {
        for (path, below) in [
            ("/api", true),
            ("/api/", true),
            ("/api/x", true),
            ("/apix", false),
            ("/ap", false),
            ("/API", false),
        ] {
            assert_eq!(is_below(path.as_bytes(), b"/api"), below, "{path}");
        }
        assert!(is_below(b"/x", b"") && is_below(b"", b"") && is_below(b"*", b""));
        assert!(!is_below(b"*", b"/api"));
    }
}
