//! Which of an owner's variables are secrets of production that a build does not get: it runs code of hundreds of strangers' packages, and
//! writes a log. Pure. It goes by names and forms, so it names what it keeps out, and the owner has the last word.
//!
//! It never keeps out what package managers need to fetch, or what is compiled into pages for everybody.

use super::detect::Variables;

/// The variable that lets some in, by their names, or `all`.
pub(super) const ASK: &str = "TEAL_BUILD_SECRETS";

/// Words of a name that say that its value is a secret.
const SECRET: [&str; 9] =
    ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "SECRETS", "CREDENTIALS", "TOKEN", "DSN", "APIKEY"];
/// Words before a last word `KEY` that say so.
const KEYS: [&str; 8] = ["API", "PRIVATE", "ACCESS", "ENCRYPTION", "SIGNING", "MASTER", "AUTH", "APP"];
/// Beginnings of names that builds need: variables of Teal and CONTRACT, and what package managers are told.
const TOOLS: [&str; 24] = [
    "CC_",
    "TEAL_",
    "NPM_",
    "NODE_AUTH_",
    "YARN_",
    "PNPM_",
    "BUN_",
    "PIP_",
    "UV_",
    "POETRY_",
    "PDM_",
    "TWINE_",
    "BUNDLE_",
    "GEM_",
    "COMPOSER_",
    "CARGO_",
    "GOPROXY",
    "GOPRIVATE",
    "GOAUTH",
    "MAVEN_",
    "GRADLE_",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
];
/// Beginnings of names whose values frameworks compile into pages for everybody.
const PAGES: [&str; 5] = ["VITE_", "REACT_APP_", "GATSBY_", "VUE_APP_", "EXPO_PUBLIC_"];

/// What a build gets, and the names of what it does not get.
pub(super) fn split(owner: Variables) -> (Variables, Vec<String>) {
    let asked = owner.get(ASK).cloned().unwrap_or_default();
    let asked: Vec<&str> = asked.split([',', ' ', ';', '\n']).filter(|name| !name.is_empty()).collect();
    if asked.contains(&"all") {
        return (owner, Vec::new());
    }
    let given =
        |name: &str, value: &str| asked.contains(&name) || !is_secret(&name.to_ascii_uppercase(), value);
    let (given, kept): (Variables, Variables) =
        owner.into_iter().partition(|(name, value)| given(name, value));
    (given, kept.into_keys().collect())
}

fn is_secret(name: &str, value: &str) -> bool {
    let begins = |all: &[&str]| all.iter().any(|start| name.starts_with(start));
    let words: Vec<&str> = name.split('_').collect();
    if begins(&TOOLS) || begins(&PAGES) || name.ends_with("_PROXY") || words.contains(&"PUBLIC") {
        return false;
    }
    let key = matches!(words[..], [.., before, "KEY"] if KEYS.contains(&before));
    let key = key || matches!(words[..], [.., before, "KEY", "BASE"] if SECRET.contains(&before));
    key || words.iter().any(|word| SECRET.contains(word)) || holds_password(value)
}

/// An address with a password in it, or a private key.
fn holds_password(value: &str) -> bool {
    let login = value.split_once("://").and_then(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit_once('@').map(|(login, _)| login)
    });
    login.is_some_and(|login| login.contains(':')) || value.contains("PRIVATE KEY-----")
}

/// A line for the log; `None` if nothing is kept out.
pub(super) fn note(kept_out: &[String]) -> Option<String> {
    (!kept_out.is_empty()).then(|| {
        format!(
            "The build does not get {}: secrets of production (let some in with `teal env set {ASK}=NAME,NAME`, or all with `{ASK}=all`)",
            kept_out.join(", ")
        )
    })
}

/// What a failed build may lack: a variable that was kept out and that its last lines speak of.
pub(super) fn missed(kept_out: &[String], lines: &[&str]) -> Option<String> {
    let speaks = |name: &&String| {
        let name = name.to_ascii_uppercase();
        lines.iter().any(|line| line.to_ascii_uppercase().contains(&name))
    };
    let name = kept_out.iter().find(speaks)?;
    Some(format!(
        "`{name}` is a secret of production that the build does not get: if it needs it, let it in with `teal env set {ASK}={name}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pairs: &[(&str, &str)]) -> Vec<String> {
        split(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()).1
    }

    #[test]
    fn secrets_of_production_are_told_from_what_builds_need() {
        for name in [
            "DB_PASSWORD",
            "SECRET_KEY",
            "SECRET_KEY_BASE",
            "STRIPE_API_KEY",
            "RAILS_MASTER_KEY",
            "SENTRY_DSN",
            "jwt_secret",
        ] {
            assert_eq!(kept(&[(name, "x")]), [name]);
        }
        for (name, value) in [
            ("NPM_TOKEN", "x"),
            ("UV_INDEX_HOUSE_PASSWORD", "x"),
            ("PIP_INDEX_URL", "https://me:secret@mirror.test/simple"),
            ("HTTPS_PROXY", "http://me:secret@proxy.test"),
            ("NEXT_PUBLIC_API_KEY", "x"),
            ("VITE_SENTRY_DSN", "x"),
            ("NODE_ENV", "production"),
            ("CACHE_KEY", "x"),
            ("MONKEY", "x"),
            ("HOME_PAGE", "https://shop.test/a:b@c"),
        ] {
            assert_eq!(kept(&[(name, value)]), [""; 0], "{name}");
        }
        for value in ["postgres://me:secret@db.test/shop", "-----BEGIN EC PRIVATE KEY-----\nx"] {
            assert_eq!(kept(&[("SETTING", value)]), ["SETTING"]);
        }
    }

    #[test]
    fn the_owner_has_the_last_word() {
        let pairs = |asked| [("A_TOKEN", "1"), ("B_TOKEN", "2"), ("PLAIN", "3"), (ASK, asked)];
        assert_eq!(kept(&pairs("")), ["A_TOKEN", "B_TOKEN"]);
        assert_eq!(kept(&pairs("B_TOKEN, C")), ["A_TOKEN"]);
        assert_eq!(kept(&pairs("all")), [""; 0]);
        let told = note(&["A_TOKEN".to_owned()]).expect("told");
        assert!(told.contains("A_TOKEN") && told.contains(ASK), "{told}");
        assert_eq!(note(&[]), None);
    }

    #[test]
    fn a_failure_names_what_it_speaks_of() {
        let kept = ["A_TOKEN".to_owned(), "SECRET_KEY_BASE".to_owned()];
        let told =
            missed(&kept, &["ArgumentError: Missing `secret_key_base` for 'production'"]).expect("told");
        assert!(told.contains("TEAL_BUILD_SECRETS=SECRET_KEY_BASE"), "{told}");
        assert_eq!(missed(&kept, &["cc: error"]), None);
    }
}
