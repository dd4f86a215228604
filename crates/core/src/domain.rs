//! Domains: where an app is reached. A host name, or `*.` and a host name for one label more, and behind it maybe a path: `example.org/api` is that path and
//! all that is below it.
//!
//! Several apps may share one host by different paths. A certificate is always the host's: no path may get into one.

/// Segments that a path may have.
const MAX_SEGMENTS: usize = 16;
/// A path is no longer than this, in bytes.
const MAX_PATH: usize = 255;
/// A host name is no longer than this.
const MAX_HOST: usize = 253;

/// What a text is instead of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its first part is no host name.
    #[error("is not a host name")]
    Host,
    /// What follows the host is no path that could be told apart from others.
    #[error("has a path that is none")]
    Path,
}

impl Error {
    /// What would be right.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Host => {
                "give it as shop.example.org, *.shop.example.org or example.org/shop, international names in their xn-- form"
            }
            Self::Path => {
                "give it as example.org/shop or example.org/shop/v2: up to 16 segments of letters, digits, `-`, `.`, `_` and `~`, none of them `.` or `..`"
            }
        }
    }
}

/// The domain in the one form in which it is kept: the host in lower case, no dot or slash at the end. Paths keep their case.
///
/// # Errors
/// If it is none.
pub fn parse(text: &str) -> Result<String, Error> {
    let (name, path) = text.split_at(text.find('/').unwrap_or(text.len()));
    let host = name.trim_end_matches('.').to_ascii_lowercase();
    if !is_host(&host) {
        return Err(Error::Host);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    if is_path(path) { Ok(host + path) } else { Err(Error::Path) }
}

/// The host of a domain, or `*.` and a host.
#[must_use]
pub fn host(domain: &str) -> &str {
    domain.split_once('/').map_or(domain, |(host, _)| host)
}

/// The path of a domain, with its slash; empty for all of the host.
#[must_use]
pub fn path(domain: &str) -> &str {
    &domain[host(domain).len()..]
}

/// The domain by which an app is named where one must do: the first that is no wildcard.
#[must_use]
pub fn first(domains: &[String]) -> Option<&str> {
    domains.iter().map(String::as_str).find(|domain| !domain.starts_with("*."))
}

fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let whole = plain.len() == name.len() || plain.contains('.');
    name.len() <= MAX_HOST && whole && plain.split('.').all(label)
}

/// This can be a domain's path, if it is not empty. Only characters that nobody has reason to write in another way, so that requests name the path as it
/// is here.
#[must_use]
pub fn is_path(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else { return path.is_empty() };
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    path.len() <= MAX_PATH && segments.split('/').count() <= MAX_SEGMENTS && segments.split('/').all(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_have_one_form() {
        for (text, kept) in [
            ("Shop.Example.org.", "shop.example.org"),
            ("*.Shop.test", "*.shop.test"),
            ("Example.org/Shop", "example.org/Shop"),
            ("example.org./shop/", "example.org/shop"),
            ("*.example.org/a/b_c~1.2-x", "*.example.org/a/b_c~1.2-x"),
            ("example.org/", "example.org"),
            ("localhost/.well-known", "localhost/.well-known"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(kept), "{text}");
            assert_eq!(parse(kept).as_deref(), Ok(kept), "{kept}");
            assert_eq!(format!("{}{}", host(kept), path(kept)), kept);
        }
        assert_eq!((host("*.a.test/b/c"), path("*.a.test/b/c")), ("*.a.test", "/b/c"));
        assert_eq!((host("a.test"), path("a.test")), ("a.test", ""));
    }

    #[test]
    fn what_is_none_is_refused() {
        let bad = [
            "",
            "*",
            "*.test",
            "a.*.test",
            "**.a.test",
            "a..b",
            "-a.org",
            "a b",
            "exa_mple.org",
            "a.org:80",
            "ä.org",
            "/a",
        ];
        for host in bad {
            assert_eq!(parse(host), Err(Error::Host), "{host}");
        }
        let many = format!("a.org{}", "/a".repeat(MAX_SEGMENTS + 1));
        let long = format!("a.org/{}", "a".repeat(MAX_PATH));
        let bad = [
            "a.org//",
            "a.org//b",
            "a.org/b//",
            "a.org/.",
            "a.org/b/../c",
            "a.org/%61",
            "a.org/a?b",
            "a.org/a b",
        ];
        for path in bad.into_iter().chain([many.as_str(), &long, "a.org/ä", "a.org/a;b", "a.org/*"]) {
            assert_eq!(parse(path), Err(Error::Path), "{path}");
        }
    }

    #[test]
    fn an_app_is_named_by_what_can_be_asked_for() {
        let domains = ["*.a.test", "b.test/x"].map(String::from);
        assert_eq!(first(&domains), Some("b.test/x"));
        assert_eq!(first(&domains[..1]), None);
    }
}
