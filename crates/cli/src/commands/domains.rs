//! `teal domains`: what reaches an app, host names, wildcards, and paths below them.

use crate::{
    cli::{AppName, AppOption},
    context::Context,
    error::Result,
    out::harmless,
    text,
};
use clap::{Args, Subcommand};
use teal_core::api::CertificateView;

#[derive(Debug, Subcommand)]
pub(crate) enum DomainsCommand {
    /// List them, with the state of their certificates.
    #[command(after_help = "Example:\n  teal domains list shop")]
    List(AppName),
    /// Add domains; takes effect at once.
    #[command(
        after_help = "A path sends only what is below it to this app, and the rest to whoever has it; the longest path wins. Requests go on unchanged.

Examples:
  teal domains add shop.example.org --app shop
  teal domains add '*.shop.example.org' --app shop
  teal domains add example.org/shop example.org/cart --app shop"
    )]
    Add(Names),
    /// Remove domains; takes effect at once.
    #[command(after_help = "Example:\n  teal domains remove shop.example.org --app shop")]
    Remove(Names),
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Host names without scheme and port, with or without a path.
    #[arg(value_name = "DOMAIN", required = true)]
    domains: Vec<String>,
    #[command(flatten)]
    app: AppOption,
}

/// Does it.
pub(crate) fn run(context: &Context, command: DomainsCommand) -> Result<()> {
    let client = context.client()?;
    let domains = match command {
        DomainsCommand::List(app) => {
            let certificates = client.certificates(&context.app(app.given())?)?;
            return context.out.show(&certificates, |_| listed(&certificates));
        }
        DomainsCommand::Add(names) => {
            client.set_domains(&context.app(names.app.app.as_deref())?, &names.domains, &[])?
        }
        DomainsCommand::Remove(names) => {
            client.set_domains(&context.app(names.app.app.as_deref())?, &[], &names.domains)?
        }
    };
    context.out.show(&domains, |_| domains.iter().map(|d| harmless(d)).collect::<Vec<_>>().join("\n"))
}

/// The names with the state of their certificates, then what is to be done about those that have a problem.
fn listed(certificates: &[CertificateView]) -> String {
    let at = |at: &Option<String>| at.as_deref().map_or_else(|| "—".into(), text::age);
    let row = |view: &CertificateView| {
        vec![harmless(&view.domain), harmless(&view.state), at(&view.not_after), at(&view.renews_at)]
    };
    let rows: Vec<Vec<String>> = certificates.iter().map(row).collect();
    let mut lines = vec![text::table(&["DOMAIN", "CERTIFICATE", "ENDS", "RENEWED"], &rows)];
    for view in certificates {
        if let Some(problem) = &view.problem {
            lines.push(format!("\n{}: {}", harmless(&view.domain), harmless(problem)));
        }
        if let Some(remedy) = &view.remedy {
            lines.push(format!("  next: {}", harmless(remedy)));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_with_a_problem_says_what_to_do() {
        let view = |domain: &str, state: &str, problem: Option<&str>| CertificateView {
            domain: domain.into(),
            state: state.into(),
            not_after: None,
            renews_at: None,
            problem: problem.map(String::from),
            remedy: problem.map(|_| "open port 80".into()),
        };
        let text = listed(&[
            view("shop.localhost", "local", None),
            view("shop.example", "failing", Some("no\u{1b}[2J")),
        ]);
        assert_eq!(text.lines().next(), Some("DOMAIN          CERTIFICATE  ENDS  RENEWED"));
        assert!(text.ends_with("open port 80") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(text.matches("next:").count(), 1);
    }
}
