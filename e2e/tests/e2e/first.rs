//! The main path: push, live, push again, live again; `git push` streams the log and ends with the verdict.

use crate::{app, at_rest, push_well, quick, served, until_status};
use anyhow::Result;
use teal_e2e::{Host, Options};

#[test]
fn a_push_goes_live_and_the_next_one_takes_the_other_place() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    assert_eq!(host.visit("shop", "/")?.0, 404, "never deployed");
    assert_eq!(host.visit("nobody", "/")?.0, 404, "unknown domain");

    let first = push_well(&repository, "one")?;
    assert_eq!(served(&host, "shop")?, "one");
    for line in [
        "Deploying commit ID",
        &first.commit,
        "Build succeeded in",
        "Response from GET / is 200",
        "Application start successful",
        "Successfully deployed in",
    ] {
        assert!(first.output.contains(line), "no `{line}` in:\n{}", first.output);
    }
    let blue = until_status(&host, "shop", "the first is at rest", at_rest)?.live.expect("live").colour;

    push_well(&repository, "two")?;
    assert_eq!(served(&host, "shop")?, "two");
    let status = until_status(&host, "shop", "the spare sleeps", |s| {
        s.spare.as_ref().is_some_and(|spare| spare.state == "asleep")
    })?;
    assert_eq!(status.live.expect("live").colour, blue.other());
    let spare = status.spare.expect("spare");
    assert_eq!((spare.commit.id.as_str(), spare.colour), (first.commit.as_str(), blue));
    assert!(spare.off_at.is_some());
    Ok(())
}

#[test]
fn branches_tags_and_force_are_ruled_in_whole_sentences() -> Result<()> {
    let host = Host::start(&Options::default())?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "one")?;
    let other = repository.push_to("HEAD:refs/heads/feature", &[])?;
    assert!(!other.ok && other.output.contains("main"), "{}", other.output);
    let tag = repository.push_to("HEAD:refs/tags/v1", &[])?;
    assert!(tag.ok, "{}", tag.output);
    assert_eq!(host.api().activity("shop")?.len(), 1, "a tag deploys nothing");
    Ok(())
}
