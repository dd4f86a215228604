//! `teal webhooks`: who is told of deployments by HTTP, and whether it arrives.

use crate::{client::Client, context::Context, error::Result, out::harmless, text};
use clap::{Args, Subcommand};
use teal_core::{
    api::{HookDeliveryView, HookView, NewHook},
    hook::{HookEvent, HookFormat},
};

/// What a receiver said is shown up to so many characters; `--json` has all of it.
const DETAIL: usize = 80;

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List them, without their secrets.
    #[command(after_help = "Example:\n  teal webhooks list")]
    List,
    /// Make a webhook; the secret that signs its deliveries is shown this once.
    Add(AddArgs),
    /// Remove a webhook with what waits for it.
    #[command(after_help = "Example:\n  teal webhooks remove h-01jx0000000000000000000000")]
    Remove(Id),
    /// Post a test now, and say what the receiver said.
    #[command(after_help = "Example:\n  teal webhooks test h-01jx0000000000000000000000")]
    Test(Id),
    /// Show the last 100 deliveries, newest first.
    #[command(after_help = "Example:\n  teal webhooks log h-01jx0000000000000000000000")]
    Log(Id),
}

#[derive(Debug, Args)]
pub(crate) struct Id {
    /// Its id, as `teal webhooks list` shows it.
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Events: GIT_PUSH, DEPLOYMENT_ACTION_BEGIN, DEPLOYMENT_ACTION_END, DEPLOYMENT_SUCCESS, DEPLOYMENT_FAIL, APPLICATION_REDEPLOY, APPLICATION_STOP.
Only public addresses are posted to, unless the operator allows others (`webhook_allow`).

Examples:
  teal webhooks add ci https://ci.example.org/teal --app shop
  teal webhooks add chat https://hooks.example.org/services/T0/B0/x --format slack --event DEPLOYMENT_FAIL --event DEPLOYMENT_SUCCESS
  teal webhooks add ci https://ci.example.org/teal --json | jq -r .secret > ci-secret"
)]
pub(crate) struct AddArgs {
    /// What it is for.
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the events are posted to.
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// One app's events only [default: all apps'].
    #[arg(long, short = 'a', value_name = "APP")]
    app: Option<String>,
    /// This event only; may be given several times [default: all].
    #[arg(long = "event", short = 'e', value_name = "EVENT", value_parser = str::parse::<HookEvent>)]
    events: Vec<HookEvent>,
    /// `raw` (Teal's own JSON) or `slack`.
    #[arg(long, value_name = "FORMAT", default_value = "raw", value_parser = str::parse::<HookFormat>)]
    format: HookFormat,
}

/// Does it.
pub(crate) fn run(context: &Context, command: WebhooksCommand) -> Result<()> {
    let client = context.client()?;
    match command {
        WebhooksCommand::List => {
            let hooks = client.hooks()?;
            context.out.show(&hooks, |_| list(&hooks))
        }
        WebhooksCommand::Add(args) => add(context, &client, args),
        WebhooksCommand::Remove(Id { id }) => {
            client.remove_hook(&id)?;
            context.out.show(&serde_json::json!({ "removed": id }), |_| {
                format!("{} is told nothing any more.", harmless(&id))
            })
        }
        WebhooksCommand::Test(Id { id }) => {
            let accepted = client.test_hook(&id)?;
            context.out.show(&accepted, |_| harmless(&accepted.message))
        }
        WebhooksCommand::Log(Id { id }) => {
            let deliveries = client.hook_deliveries(&id)?;
            context.out.show(&deliveries, |_| log(&deliveries))
        }
    }
}

fn add(context: &Context, client: &Client, args: AddArgs) -> Result<()> {
    let AddArgs { name, address, app, events, format } = args;
    let made = client.add_hook(&NewHook { name, url: address, app, events, format })?;
    context.out.show(&made, |_| {
        let (id, secret) = (harmless(&made.hook.id), harmless(&made.secret));
        format!(
            "Webhook {id} is made. Try it: teal webhooks test {id}\nIts deliveries are signed with this secret, which is shown only now:\n{secret}"
        )
    })
}

fn list(hooks: &[HookView]) -> String {
    if hooks.is_empty() {
        return "Nobody is told by HTTP. `teal webhooks add NAME ADDRESS` makes a webhook.".into();
    }
    let row = |hook: &HookView| {
        let events = hook.events.iter().map(|event| event.word()).collect::<Vec<_>>().join(",");
        vec![
            harmless(&hook.id),
            harmless(&hook.name),
            hook.app.as_deref().map_or_else(|| "all".into(), harmless),
            hook.format.word().into(),
            harmless(&hook.address),
            if events.is_empty() { "all".into() } else { events },
        ]
    };
    let rows: Vec<_> = hooks.iter().map(row).collect();
    text::table(&["ID", "NAME", "APP", "FORMAT", "ADDRESS", "EVENTS"], &rows)
}

fn log(deliveries: &[HookDeliveryView]) -> String {
    if deliveries.is_empty() {
        return "Nothing was delivered yet. `teal webhooks test ID` posts a test.".into();
    }
    let row = |delivery: &HookDeliveryView| {
        let next = delivery.at.as_deref().filter(|_| delivery.state == "waiting");
        let next = next.map(|at| format!("  (again {})", text::age(at))).unwrap_or_default();
        let detail = delivery.detail.as_deref().map_or_else(|| "—".into(), harmless);
        vec![
            text::age(&delivery.queued_at),
            harmless(&delivery.event),
            delivery.app.as_deref().map_or_else(|| "—".into(), harmless),
            harmless(&delivery.state),
            delivery.attempts.to_string(),
            format!("{}{next}", text::cut(&detail, DETAIL)),
        ]
    };
    let rows: Vec<_> = deliveries.iter().map(row).collect();
    text::table(&["QUEUED", "EVENT", "APP", "STATE", "TRIED", "SAID"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_waits_says_when_it_is_tried_again_and_what_was_said_steers_no_terminal() {
        let delivery = |state: &str| HookDeliveryView {
            id: "n-1".into(),
            event: "GIT_PUSH".into(),
            app: Some("shop".into()),
            queued_at: "2020-01-01T00:00:00Z".into(),
            attempts: 3,
            state: state.into(),
            at: Some("2999-01-01T00:00:00Z".into()),
            detail: Some("500\u{1b}[2J".into()),
        };
        let shown = log(&[delivery("waiting"), delivery("delivered")]);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].contains("(again in ") && !lines[2].contains("(again"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
