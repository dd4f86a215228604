//! The state of a name as its owner sees it: computed from the row, never stored.

use super::{files, names};
use crate::{config::Config, log::rfc3339, store::CertificateRow};
use teal_core::api::CertificateView;

/// What is to be said of a name. Reads its certificate by file, if it has one.
#[must_use]
pub fn view(config: &Config, name: &str, row: Option<&CertificateRow>) -> CertificateView {
    if let Some(file) = names::file_for(config, name) {
        return by_file(name, files::load(file).map(|loaded| rfc3339(loaded.not_after)));
    }
    let held = row.and_then(|row| row.held.as_ref());
    let real = held.filter(|held| !held.is_self_signed());
    let local = names::is_local(name);
    let asked = names::authority(config, name).is_some();
    let trouble = row.and_then(|row| row.problem.clone()).filter(|_| asked);
    let state = match (&trouble, real) {
        _ if local => "local",
        (Some(_), _) => "failing",
        (None, Some(_)) => "issued",
        (None, None) if asked => "pending",
        (None, None) => "self-signed",
    };
    let remedy = match state {
        "failing" => row.and_then(|row| row.remedy.clone()),
        "self-signed" => {
            Some("set `[acme]` in server.toml, or give a certificate by file (`[[certificates]]`), as wildcards need".into())
        }
        _ => None,
    };
    CertificateView {
        domain: name.to_owned(),
        state: state.into(),
        not_after: held.map(|held| rfc3339(held.not_after)),
        renews_at: real.filter(|_| config.acme.is_some()).map(|held| rfc3339(held.renew_at)),
        problem: trouble
            .or_else(|| (state == "self-signed").then(|| "browsers warn of it: no authority is set".into())),
        remedy,
    }
}

/// The certificate of a domain whose app ends TLS itself.
pub fn passed(domain: &str) -> CertificateView {
    CertificateView {
        domain: domain.to_owned(),
        state: "app".into(),
        not_after: None,
        renews_at: None,
        problem: None,
        remedy: None,
    }
}

fn by_file(name: &str, loaded: Result<String, String>) -> CertificateView {
    let (not_after, problem) = match loaded {
        Ok(not_after) => (Some(not_after), None),
        Err(why) => (None, Some(crate::log::harmless(&why))),
    };
    let remedy = problem.as_ref().map(|_| "mend the files; they are read again within seconds".into());
    CertificateView {
        domain: name.to_owned(),
        state: "file".into(),
        not_after,
        renews_at: None,
        problem,
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Held;
    use teal_core::time::Time;

    fn row(issuer: Option<&str>, problem: Option<&str>) -> CertificateRow {
        let held = Held {
            issuer: issuer.map(String::from),
            not_before: Time(0),
            not_after: Time(90_000),
            renew_at: Time(60_000),
            look_at: None,
        };
        CertificateRow {
            name: "a".into(),
            held: Some(held),
            order: None,
            attempts: 0,
            next_attempt: None,
            problem: problem.map(String::from),
            remedy: problem.map(|_| "mend it".into()),
        }
    }

    #[test]
    fn every_state_has_its_word() {
        let off = Config::default();
        let acme = "[acme]\ndirectory = 'https://acme.example/directory'\nterms_agreed = true\n
            [[certificates]]\nnames = ['*.example.org']\nchain_file = '/nowhere'\nkey_file = '/nowhere'";
        let on: Config = toml::from_str(acme).expect("parses");
        let (own, real) = (None, Some("ca"));
        for (config, name, row, state, has_remedy, renews) in [
            (&off, "shop.localhost", Some(row(own, None)), "local", false, false),
            (&off, "shop.test.example", Some(row(own, None)), "self-signed", true, false),
            (&off, "shop.test.example", Some(row(real, Some("old"))), "issued", false, false),
            (&on, "shop.localhost", Some(row(own, None)), "local", false, false),
            (&on, "shop.test.example", None, "pending", false, false),
            (&on, "*.test.example", Some(row(own, None)), "self-signed", true, false),
            (&on, "shop.test.example", Some(row(own, None)), "pending", false, false),
            (&on, "shop.test.example", Some(row(own, Some("no"))), "failing", true, false),
            (&on, "shop.test.example", Some(row(real, Some("no"))), "failing", true, true),
            (&on, "shop.test.example", Some(row(real, None)), "issued", false, true),
            (&on, "shop.example.org", Some(row(own, None)), "file", true, false),
        ] {
            let view = view(config, name, row.as_ref());
            let found = (view.state.as_str(), view.remedy.is_some(), view.renews_at.is_some());
            assert_eq!(found, (state, has_remedy, renews), "{view:?}");
        }
    }
}
