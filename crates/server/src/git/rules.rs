//! What a push may do: pure, so that every rule is tested as data. Refusals are whole sentences that say what to push instead.

use super::wire::Update;

/// The most references that one push may change.
pub(super) const MAX_UPDATES: usize = 1_000;

/// A push that is allowed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Updates of branches that deploy; all of the same commit.
    pub(super) deploys: Vec<Update>,
    /// Tags, and branches to delete: kept or done, and nothing more.
    pub(super) others: Vec<Update>,
}

/// Decides about a whole push: one refused update refuses all, so that nothing half-meant happens. `Err` holds lines for the user.
pub(super) fn judge(app: &str, branches: &[String], updates: &[Update]) -> Result<Allowed, Vec<String>> {
    if updates.len() > MAX_UPDATES {
        return Err(vec![format!(
            "This push changes more than {MAX_UPDATES} references: push fewer at once."
        )]);
    }
    let mut allowed = Allowed::default();
    let mut refused = Vec::new();
    for update in updates {
        match judge_one(app, branches, update) {
            Ok(true) => allowed.deploys.push(update.clone()),
            Ok(false) => allowed.others.push(update.clone()),
            Err(sentence) => refused.push(sentence),
        }
    }
    let mut commits = allowed.deploys.iter().map(|update| &update.new);
    let first = commits.next();
    if commits.any(|commit| Some(commit) != first) {
        refused.push(format!(
            "This push brings two different commits for {}: {} goes live with one of them. Push that one.",
            listed(branches),
            app
        ));
    }
    if refused.is_empty() { Ok(allowed) } else { Err(refused) }
}

/// `true` if the update deploys.
fn judge_one(app: &str, branches: &[String], update: &Update) -> Result<bool, String> {
    if update.name.starts_with("refs/tags/") {
        return Ok(false);
    }
    let Some(branch) = update.name.strip_prefix("refs/heads/") else {
        return Err(format!("Teal keeps branches and tags only, not {}.", update.name));
    };
    let deploys = branches.iter().any(|name| name == branch);
    match (deploys, update.deletes()) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        (true, true) => Err(format!(
            "{branch} is what {app} deploys, so it cannot be deleted. To take {app} out of production: teal stop {app}"
        )),
        (false, false) => Err(format!(
            "{app} deploys {}, not {branch}. To deploy this commit: git push REMOTE {branch}:{}",
            listed(branches),
            branches.first().map_or("main", String::as_str)
        )),
    }
}

fn listed(branches: &[String]) -> String {
    match branches {
        [] => "no branch".into(),
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        [last, ..] => last.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: &str = "0000000000000000000000000000000000000000";
    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn update(name: &str, old: &str, new: &str) -> Update {
        Update { name: name.into(), old: old.into(), new: new.into() }
    }

    fn judged(updates: &[Update]) -> Result<(usize, usize), String> {
        let branches = ["main".to_owned(), "master".to_owned()];
        let judged = judge("shop", &branches, updates);
        judged.map(|allowed| (allowed.deploys.len(), allowed.others.len())).map_err(|lines| lines.join("\n"))
    }

    #[test]
    fn both_main_and_master_deploy_and_tags_do_not() {
        assert_eq!(judged(&[update("refs/heads/main", ZERO, ONE)]), Ok((1, 0)));
        assert_eq!(judged(&[update("refs/heads/master", ONE, TWO)]), Ok((1, 0)));
        assert_eq!(judged(&[update("refs/tags/v1", ZERO, ONE)]), Ok((0, 1)));
        let both = [update("refs/heads/main", ZERO, ONE), update("refs/heads/master", ZERO, ONE)];
        assert_eq!(judged(&both), Ok((2, 0)));
        assert_eq!(judged(&[update("refs/heads/old", ONE, ZERO)]), Ok((0, 1)));
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (update, words) in [
            (update("refs/heads/fix", ZERO, ONE), "git push REMOTE fix:main"),
            (update("refs/heads/main", ONE, ZERO), "teal stop shop"),
            (update("refs/notes/commits", ZERO, ONE), "branches and tags only"),
        ] {
            let sentence = judged(&[update]).expect_err("refused");
            assert!(sentence.contains(words), "{sentence}");
        }
        let two = [update("refs/heads/main", ZERO, ONE), update("refs/heads/master", ZERO, TWO)];
        assert!(judged(&two).expect_err("refused").contains("two different commits"));
    }

    #[test]
    fn one_refused_branch_refuses_the_push() {
        let updates = [update("refs/heads/main", ZERO, ONE), update("refs/heads/fix", ZERO, ONE)];
        assert!(judged(&updates).is_err());
    }
}
