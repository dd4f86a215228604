//! Behaviour 11: cancel works in every state, and its answer matches what happened.

use crate::{app, at_rest, push_well, quick, served, until_status};
use anyhow::Result;
use serde_json::json;
use std::time::Duration;
use teal_core::api::Action;
use teal_e2e::{Behaviour, Host, Options, python_app, within};

#[test]
fn cancel_ends_a_build_a_start_and_a_hold() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "good")?;
    until_status(&host, "shop", "at rest", at_rest)?;
    let cases = [
        ("building", Behaviour::Good, json!({}), json!({"CC_PRE_BUILD_HOOK": "echo building; sleep 1000"})),
        ("checking", Behaviour::Late(1000.0), json!({}), json!({"CC_PRE_BUILD_HOOK": null})),
        ("held", Behaviour::Good, json!({"hold": true}), json!({})),
    ];
    for (phase, behaviour, config, variables) in cases {
        host.api().send::<serde_json::Value>("PATCH", "/apps/shop/config", &config)?;
        host.api().send::<serde_json::Value>("PATCH", "/apps/shop/variables", &variables)?;
        let files = python_app(phase, &behaviour);
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        repository.commit(&files, phase)?;
        let mut push = repository.push_command("HEAD:main", &["-q", "--force"]).spawn()?;
        until_status(&host, "shop", phase, |s| s.deploying.as_ref().is_some_and(|d| d.phase == phase))?;
        host.api().act("shop", &Action::Cancel { deployment: None })?;
        let nothing_left = || host.processes_saying("sleep\x001000").is_empty().then_some(());
        within(Duration::from_secs(5), &format!("{phase}: processes are gone within 5 s"), nothing_left)?;
        let status = until_status(&host, "shop", "at rest", at_rest)?;
        assert_eq!(status.live.expect("live").commit.message, "good", "{phase}");
        assert_eq!(served(&host, "shop")?, "good", "{phase}");
        let ended = host.api().activity("shop")?.remove(0);
        assert_eq!(ended.state, "CANCELLED", "{phase}: {ended:#?}");
        // A push whose deployment is held ends at once and well, with a sentence: nobody waits for a colleague's word.
        assert_eq!(push.wait()?.success(), phase == "held", "{phase}: git push told the wrong verdict");
    }
    let refused = host.api().act("shop", &Action::Cancel { deployment: None });
    assert!(refused.is_err(), "nothing is under way");
    assert!(host.mail().mails().is_empty(), "no mail for cancelled ones");
    Ok(())
}
