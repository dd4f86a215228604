//! What a mail says: what happened, why, and what to do now. Pure. Everything that a user or an app wrote is escaped, shortened, and kept
//! on its line; it must never become a header, markup or a link.

use std::fmt::Write as _;
use teal_core::deploy::{App, Cause, Mail, Serving};

/// The most lines of evidence.
const MAX_TAIL: usize = 50;
/// Of these, so many from the beginning: the probes come before the log.
const MAX_HEAD: usize = 10;
/// The longest line of evidence, and the longest other text, in characters.
const MAX_LINE: usize = 500;
const MAX_TEXT: usize = 200;
/// The longest list of packages, in characters.
const MAX_NOTE: usize = 2_000;

/// What a mail is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The app's name.
    pub app: String,
    /// The deployment.
    pub deployment: String,
    /// The full hash of the commit, if it was about one.
    pub commit: Option<String>,
    /// The first line of its message.
    pub message: String,
    /// Who wrote the commit.
    pub commit_author: String,
    /// Who asked for the deployment; `None`: the platform did.
    pub author: Option<String>,
    /// The stage that failed.
    pub stage: String,
    /// What happened and why.
    pub cause: String,
    /// Evidence: probes, the last lines of the log.
    pub evidence: Vec<String>,
    /// Production returned to the environment before.
    pub rolled_back: bool,
    /// What users get now, such as `Blue (a1b2c3d)`.
    pub serving: Option<String>,
    /// The platform moved the live commit to another image: what that changes.
    pub maintenance: Option<String>,
    /// Where to read more.
    pub link: String,
}

/// A mail, written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

impl Facts {
    /// The facts of a mail that the machine asks for. `public_url` has no trailing slash.
    #[must_use]
    pub fn of(app: &App, mail: &Mail, public_url: &str) -> Self {
        let commit = mail.commit.as_ref();
        let text = |text: &str| line(text, MAX_TEXT);
        Self {
            app: text(&app.name),
            deployment: mail.deployment.to_string(),
            commit: commit.map(|commit| text(&commit.id)),
            message: commit.map(|commit| text(&commit.message)).unwrap_or_default(),
            commit_author: commit.map(|commit| text(&commit.author)).unwrap_or_default(),
            author: mail.author.as_deref().map(text),
            stage: mail.failure.stage.word().into(),
            cause: line(&mail.failure.message, MAX_LINE),
            evidence: evidence(&mail.failure.details),
            rolled_back: mail.rolled_back,
            serving: mail.serving.as_ref().map(serving),
            maintenance: (mail.cause == Cause::Maintenance)
                .then(|| line(mail.note.as_deref().unwrap_or("another image"), MAX_NOTE)),
            link: format!("{public_url}/apps/{}", app.name),
        }
    }

    fn short(&self) -> &str {
        self.commit.as_deref().map_or("", |commit| commit.get(..7).unwrap_or(commit))
    }

    /// `a1b2c3d "fix cart"`, or `the deployment`.
    fn what(&self) -> String {
        match (&self.commit, self.message.as_str()) {
            (None, _) => "the deployment".into(),
            (Some(_), "") => self.short().to_owned(),
            (Some(_), message) => format!("{} \"{message}\"", self.short()),
        }
    }

    fn subject(&self) -> String {
        let subject = if self.maintenance.is_some() {
            format!("{}: maintenance failed at {}; it stays on its image", self.app, self.stage)
        } else if self.rolled_back {
            format!("{}: {} broke in production and was taken back", self.app, self.what())
        } else {
            format!("{}: {} failed at {}", self.app, self.what(), self.stage)
        };
        line(&subject, MAX_TEXT)
    }

    /// What happened, in a sentence.
    fn happened(&self) -> String {
        if self.maintenance.is_some() {
            let how = if self.rolled_back {
                "went live there and broke within its bake; production went back by itself"
            } else {
                "did not go live there"
            };
            format!(
                "The platform moved {}, as it is live, to a newer image: {} {how}, at {}.",
                self.app,
                self.what(),
                self.stage
            )
        } else if self.rolled_back {
            format!(
                "{} of {} went live and broke within its bake. Production went back by itself.",
                self.what(),
                self.app
            )
        } else {
            format!("{} of {} did not go live: it failed at {}.", self.what(), self.app, self.stage)
        }
    }

    /// What users get now.
    fn served(&self) -> String {
        match (&self.serving, self.rolled_back) {
            (Some(serving), true) => format!("{serving} serves again."),
            (Some(serving), false) => format!("{serving} still serves; your users noticed nothing."),
            (None, _) => {
                format!("Nothing serves {}: no version of it has gone live, or it is stopped.", self.app)
            }
        }
    }

    fn what_now(&self) -> [String; 3] {
        let again = if self.maintenance.is_some() {
            format!(
                "It stays on its image, without the newer one's patches. Mend it and push: a push is built on the newer image. To try the same again: \
                 teal maintenance start. To be left alone for a while: teal maintenance pin {} --until DATE",
                self.app
            )
        } else if self.rolled_back {
            format!(
                "Mend it and push. To try the same commit again: teal redeploy {} --app {}",
                self.short(),
                self.app
            )
        } else {
            "Mend it and push. Pushing the same commit again tries it again.".to_owned()
        };
        [
            again,
            format!("The whole log: teal logs {} --deployment {}", self.app, self.deployment),
            format!("The app: {}", self.link),
        ]
    }

    fn table(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("App", self.app.clone())];
        if let Some(commit) = &self.commit {
            rows.push(("Commit", format!("{commit} {}", self.message).trim_end().to_owned()));
            rows.push(("Written by", self.commit_author.clone()));
        }
        rows.push(("Asked for by", self.author.clone().unwrap_or_else(|| "the platform".into())));
        rows.push(("Deployment", self.deployment.clone()));
        rows.extend(self.maintenance.as_ref().map(|changed| ("Maintenance", changed.clone())));
        rows.push(("Stage", self.stage.clone()));
        rows.push(("Cause", self.cause.clone()));
        rows
    }
}

/// `Blue (a1b2c3d)`.
fn serving(serving: &Serving) -> String {
    let word = serving.colour.word();
    let mut letters = word.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let commit = line(&serving.commit.id, MAX_TEXT);
    format!("{}{} ({})", first.unwrap_or_default(), letters.as_str(), commit.get(..7).unwrap_or(&commit))
}

/// Writes a mail.
#[must_use]
pub fn compose(facts: &Facts) -> Letter {
    Letter { subject: facts.subject(), text: text(facts), html: html(facts) }
}

fn text(facts: &Facts) -> String {
    let mut text = format!("{}\n{}\n\n", facts.happened(), facts.served());
    for (name, value) in facts.table() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<13} {value}");
    }
    if !facts.evidence.is_empty() {
        text.push_str("\nWhat was seen:\n\n");
        for line in &facts.evidence {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push_str("\nWhat now:\n\n");
    for line in facts.what_now() {
        let _ = writeln!(text, "  - {line}");
    }
    text
}

fn html(facts: &Facts) -> String {
    let mut html = String::from("<!doctype html><html><body style=\"font-family:sans-serif;color:#16302b\">");
    let _ =
        write!(html, "<p><strong>{}</strong><br>{}</p>", escape(&facts.happened()), escape(&facts.served()));
    html.push_str("<table cellpadding=\"3\" style=\"border-collapse:collapse\">");
    for (name, value) in facts.table() {
        let _ = write!(html, "<tr><td style=\"color:#5b7a74\">{name}</td><td>{}</td></tr>", escape(&value));
    }
    html.push_str("</table>");
    if !facts.evidence.is_empty() {
        html.push_str(
            "<p>What was seen:</p><pre style=\"background:#f0f5f4;padding:8px;white-space:pre-wrap\">",
        );
        for line in &facts.evidence {
            let _ = writeln!(html, "{}", escape(line));
        }
        html.push_str("</pre>");
    }
    html.push_str("<p>What now:</p><ul>");
    let [again, log, _] = facts.what_now();
    let _ = write!(html, "<li>{}</li><li>{}</li>", escape(&again), escape(&log));
    let link = escape(&facts.link);
    let _ = write!(html, "<li>The app: <a href=\"{link}\">{link}</a></li></ul></body></html>");
    html
}

/// The probes at the beginning, and the end of the log.
fn evidence(details: &[String]) -> Vec<String> {
    let lines = details.iter().map(|detail| line(detail, MAX_LINE));
    if details.len() <= MAX_TAIL {
        return lines.collect();
    }
    let mut kept: Vec<String> = lines.clone().take(MAX_HEAD).collect();
    kept.push("…".into());
    kept.extend(lines.skip(details.len() - (MAX_TAIL - MAX_HEAD)));
    kept
}

/// One harmless line of at most `most` characters.
fn line(text: &str, most: usize) -> String {
    let text = crate::log::harmless(&text.replace(['\r', '\n'], " "));
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            app: "shop".into(),
            deployment: "d-01".into(),
            commit: Some("a1b2c3d4e5f60718293a4b5c6d7e8f9001020304".into()),
            message: "fix cart".into(),
            commit_author: "Ada".into(),
            author: Some("alice".into()),
            stage: "check".into(),
            cause: "GET / returned 500".into(),
            evidence: vec!["probe 1: 500 in 3 ms".into(), "stdout: boom".into()],
            rolled_back: false,
            serving: Some("Blue (0a0b0c0)".into()),
            maintenance: None,
            link: "https://teal.example.org/apps/shop".into(),
        }
    }

    #[test]
    fn a_failure_says_what_why_and_what_now() {
        let letter = compose(&facts());
        assert_eq!(letter.subject, "shop: a1b2c3d \"fix cart\" failed at check");
        for part in [&letter.text, &letter.html] {
            for words in [
                "did not go live",
                "Blue (0a0b0c0) still serves",
                "a1b2c3d4e5f60718293a4b5c6d7e8f9001020304",
                "Ada",
                "alice",
                "GET / returned 500",
                "stdout: boom",
                "Pushing the same commit again",
                "https://teal.example.org/apps/shop",
            ] {
                assert!(part.contains(words), "{words:?} is not in {part}");
            }
        }
    }

    #[test]
    fn a_rollback_says_that_production_went_back() {
        let letter = compose(&Facts { rolled_back: true, author: None, ..facts() });
        assert!(letter.subject.ends_with("broke in production and was taken back"), "{}", letter.subject);
        assert!(letter.text.contains("Blue (0a0b0c0) serves again."), "{}", letter.text);
        assert!(letter.text.contains("the platform"), "{}", letter.text);
    }

    #[test]
    fn a_maintenance_that_failed_says_what_the_image_changed_and_that_the_app_stays() {
        let note = Some("image debian-12-a → debian-12-b: openssl 3.0.1 → 3.0.2".to_owned());
        let letter = compose(&Facts { maintenance: note.clone(), author: None, ..facts() });
        assert_eq!(letter.subject, "shop: maintenance failed at check; it stays on its image");
        for words in [
            "did not go live there",
            "Blue (0a0b0c0) still serves",
            "openssl 3.0.1 → 3.0.2",
            "maintenance pin shop",
            "the platform",
        ] {
            assert!(letter.text.contains(words) && letter.html.contains(words), "{words}: {}", letter.text);
        }
        let letter = compose(&Facts { maintenance: note, rolled_back: true, ..facts() });
        assert!(letter.text.contains("broke within its bake"), "{}", letter.text);
    }

    #[test]
    fn a_first_failure_says_that_nothing_serves() {
        let letter = compose(&Facts { serving: None, commit: None, ..facts() });
        assert!(letter.text.starts_with("the deployment of shop did not go live"), "{}", letter.text);
        assert!(letter.text.contains("Nothing serves shop"), "{}", letter.text);
    }

    #[test]
    fn what_others_wrote_is_neither_markup_nor_a_line_of_its_own() {
        let evil = "<script>\"x\"</script>\r\nBcc: all@example.org";
        let facts = Facts { message: line(evil, MAX_TEXT), evidence: evidence(&[evil.into()]), ..facts() };
        let letter = compose(&facts);
        assert!(!letter.subject.contains(['\r', '\n']), "{:?}", letter.subject);
        assert!(!letter.html.contains("<script>"), "{}", letter.html);
        assert!(!letter.text.contains("\nBcc:") && !letter.html.contains("\nBcc:"));
    }

    #[test]
    fn long_evidence_keeps_both_ends() {
        let details: Vec<String> = (0..200).map(|number| format!("line {number}")).collect();
        let kept = evidence(&details);
        assert_eq!(kept.len(), MAX_TAIL + 1);
        assert_eq!((kept[0].as_str(), kept[MAX_TAIL].as_str()), ("line 0", "line 199"));
    }
}
