//! The mail that says that a rollout halted: one for each halt, queued in the transaction that halts it.

use super::{
    Upkeep,
    images::{for_security, told},
};
use crate::{
    notify::compose::escape,
    start::ADMIN,
    store::{self, QueuedMail},
    world::{now, short_hash},
};
use std::fmt::Write as _;
use teal_core::upkeep::{Progress, Rollout, State};

/// Packages that it names.
const NAMED: usize = 20;
/// Apps that it names.
const APPS: usize = 50;

impl Upkeep {
    /// The mail of this halt, for whoever runs the platform.
    pub(super) async fn halt_mails(&self, rollout: &Rollout) -> Result<Vec<QueuedMail>, store::Error> {
        let mut recipients = self.world.config.mail_to.clone();
        let users = self.store().users().await?;
        let admin = users.iter().find(|user| user.name == ADMIN).and_then(|user| user.email.clone());
        recipients.extend(admin);
        if recipients.is_empty() {
            recipients.extend(users.into_iter().filter_map(|user| user.email));
        }
        recipients.sort();
        recipients.dedup();
        let link = format!("{}/maintenance", self.world.config.public_url());
        let text = text(rollout, &link);
        let html = format!(
            "<!doctype html><html><body style=\"font-family:sans-serif;color:#16302b\"><pre style=\"white-space:pre-wrap\">{}</pre></body></html>",
            escape(&text)
        );
        let letter = |recipient: String| QueuedMail {
            id: format!("{}-{}-{}", rollout.id, rollout.halts, short_hash(&recipient)),
            recipient,
            subject: format!(
                "Maintenance halted: {} apps failed on {}",
                rollout.tally().failed,
                rollout.image
            ),
            text: text.clone(),
            html: html.clone(),
            hook: None,
            queued_at: now(),
            attempts: 0,
        };
        Ok(recipients.into_iter().map(letter).collect())
    }
}

fn text(rollout: &Rollout, link: &str) -> String {
    let tally = rollout.tally();
    let why = match &rollout.state {
        State::Halted { why } => why.as_str(),
        State::Running | State::Aborted { .. } | State::Replaced { .. } | State::Done => "it halted",
    };
    let mut text = format!("The move of all apps to the image {} halted: {why}.\n", rollout.image);
    text.push_str("These apps stay on their image, which serves as before; each has a mail of its own that says why.\n\n");
    for member in rollout.apps.iter().filter(|m| matches!(m.progress, Progress::Failed { .. })).take(APPS) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {}: teal activity {}", member.name, member.name);
    }
    let _ = writeln!(
        text,
        "\nMoved {}, under way {}, waiting {}, left {}.",
        tally.moved, tally.under_way, tally.waiting, tally.left
    );
    if !rollout.changes.is_empty() {
        let named: Vec<String> = rollout.changes.iter().take(NAMED).map(told).collect();
        let _ = writeln!(
            text,
            "\nThe image changes {} packages{}: {}.",
            rollout.changes.len(),
            for_security(&rollout.changes),
            named.join(", ")
        );
    }
    text.push_str("\nWhat now:\n\n  - Look at what failed; then go on with: teal maintenance resume\n");
    let _ = writeln!(
        text,
        "  - Or end it, and everything else stays where it is: teal maintenance abort\n  - {link}"
    );
    text
}
