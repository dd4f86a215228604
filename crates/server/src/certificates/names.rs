//! Which names get their certificate from where. Pure; it must never look a name up.

use crate::config::{CertificateFile, Config};
use std::net::IpAddr;

/// A name that no authority certifies: it means this machine, or is no name of the public kind.
#[must_use]
pub(super) fn is_local(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || !name.contains('.')
        || name.parse::<IpAddr>().is_ok()
}

/// One of these names, as certificates have them (`*.example.org` for one label more), covers the host name.
#[must_use]
pub(super) fn covers(names: &[String], name: &str) -> bool {
    names.iter().any(|pattern| {
        pattern == name
            || match pattern.strip_prefix("*.") {
                Some(parent) => {
                    name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
                }
                None => pattern == name,
            }
    })
}

/// The certificate by file that covers the host name; the last one, as for the router.
#[must_use]
pub(super) fn file_for<'a>(config: &'a Config, name: &str) -> Option<&'a CertificateFile> {
    config.certificates.iter().rev().find(|file| covers(&file.names, name))
}

/// The directory of the authority that is asked for this name, if one is.
#[must_use]
pub(super) fn authority<'a>(config: &'a Config, name: &str) -> Option<&'a str> {
    // Both ways to prove a name are for one host; a wildcard's certificate comes by file.
    let asks = !is_local(name) && !name.starts_with("*.") && file_for(config, name).is_none();
    let acme = config.acme.as_ref().filter(|_| asks);
    acme.map(|acme| acme.directory.as_str())
}

/// What is wrong with the configuration of certificates, with what would be right.
///
/// # Errors
/// If there is something.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    if let Some(acme) = &config.acme {
        if !acme.directory.starts_with("https://") {
            let is = crate::log::harmless(&acme.directory);
            return Err(format!(
                "`[acme] directory = \"{is}\"`: give the authority's directory, an https:// address"
            ));
        }
        if !acme.terms_agreed {
            return Err(
                "`[acme]` needs `terms_agreed = true`: read the terms of the certificate authority first"
                    .into(),
            );
        }
        if let Some(contact) = acme.contact.iter().find(|contact| !contact.contains(':')) {
            let is = crate::log::harmless(contact);
            return Err(format!("`[acme] contact`: `{is}` is no address, write it as `mailto:{is}`"));
        }
    }
    config.certificates.iter().try_for_each(check_file)
}

fn check_file(file: &CertificateFile) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let name = |name: &String| name.strip_prefix("*.").unwrap_or(name).chars().all(legal);
    if file.names.is_empty() {
        return Err("`[[certificates]]` needs `names`: the names that the certificate is used for".into());
    }
    match file.names.iter().find(|n| n.is_empty() || !name(n)) {
        None => Ok(()),
        Some(bad) => {
            let bad = crate::log::harmless(bad);
            Err(format!(
                "`[[certificates]] names`: `{bad}` is neither `shop.example.org` nor `*.example.org`"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("parses")
    }

    #[test]
    fn an_authority_is_asked_only_for_public_names_that_no_file_covers() {
        let config = config(
            "[acme]\ndirectory = 'https://acme.example/directory'\nterms_agreed = true\n
             [[certificates]]\nnames = ['*.example.org', 'example.org']\nchain_file = '/c'\nkey_file = '/k'",
        );
        assert!(check(&config).is_ok());
        for (name, asked) in [
            ("shop.example.net", true),
            ("shop.localhost", false),
            ("localhost", false),
            ("localhost.example.net", true),
            ("intranet", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
            ("example.org", false),
            ("shop.example.org", false),
            ("a.shop.example.org", true),
            ("*.example.net", false),
            ("*.example.org", false),
        ] {
            assert_eq!(authority(&config, name).is_some(), asked, "{name}");
        }
    }

    #[test]
    fn wrong_configurations_say_what_would_be_right() {
        for (text, word) in [
            ("[acme]\ndirectory = 'http://a.example'\nterms_agreed = true", "https://"),
            ("[acme]\ndirectory = 'https://a.example'", "terms_agreed = true"),
            ("[acme]\ndirectory = 'https://a.example'\nterms_agreed = true\ncontact = ['a@b']", "mailto:a@b"),
            ("[[certificates]]\nnames = []\nchain_file = '/c'\nkey_file = '/k'", "needs `names`"),
            ("[[certificates]]\nnames = ['A.org']\nchain_file = '/c'\nkey_file = '/k'", "`A.org`"),
        ] {
            let error = check(&config(text)).expect_err(text);
            assert!(error.contains(word), "{error}");
        }
        assert!(toml::from_str::<Config>("[acme]\ndirectory = 'https://a'\nchallenge = 'dns-01'").is_err());
    }
}
