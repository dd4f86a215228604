//! Turning views into text for people: tables, ages, short commits. Pure; everything from outside is made harmless here.

use crate::out::{Out, Paint, harmless};
use teal_core::{
    api::{CommitView, DeploymentView, FailureView, StatusView},
    route::Colour,
};

/// The first seven characters of a hash.
pub(crate) fn short(commit: &str) -> String {
    harmless(commit).chars().take(7).collect()
}

/// At most so many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `a1b2c3d fix cart`.
pub(crate) fn commit(commit: &CommitView) -> String {
    format!("{} {}", short(&commit.id), harmless(&commit.message))
}

/// The colour's word in its colour.
pub(crate) fn colour(out: &Out, colour: Colour) -> String {
    match colour {
        Colour::Blue => out.paint(Paint::Blue, "Blue"),
        Colour::Green => out.paint(Paint::Green, "Green"),
    }
}

/// How long ago an instant was, or how far away it is: `3 min ago`, `in 8 min`.
pub(crate) fn age(at: &str) -> String {
    let Ok(then) = at.parse::<jiff::Timestamp>() else { return harmless(at) };
    let seconds = jiff::Timestamp::now().as_second() - then.as_second();
    // What is to come is rounded up, what was is rounded down: neither is ever promised too early.
    if seconds < 0 {
        let away = seconds.unsigned_abs();
        let unit = if away < 60 { 1 } else { 60 };
        return format!("in {}", span(away.div_ceil(unit) * unit));
    }
    format!("{} ago", span(seconds.unsigned_abs()))
}

/// A span in its largest unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Rows as columns, two spaces apart. Widths count characters, and paint must not be inside: give it to the last column only.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let last = cells.len().saturating_sub(1);
        let padded = cells.iter().enumerate().map(|(i, cell)| match widths.get(i) {
            Some(width) if i < last => format!("{cell:width$}  "),
            _ => cell.clone(),
        });
        padded.collect::<String>().trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let lines = std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row)));
    lines.collect::<Vec<_>>().join("\n")
}

/// What `teal status` prints.
pub(crate) fn status(out: &Out, view: &StatusView) -> String {
    let paint = match view.status.as_str() {
        "running" => Paint::Good,
        "stopped" => Paint::Dim,
        "restarting" | "starting" => Paint::Warn,
        _ => Paint::Bad,
    };
    let none = || out.paint(Paint::Dim, "—");
    let head = format!(
        "{}  {}",
        out.paint(Paint::Bold, harmless(&view.app)),
        out.paint(paint, harmless(&view.status))
    );
    let mut lines = vec![head];
    lines.push(format!("  head       {}", view.head.as_ref().map_or_else(none, commit)));
    lines.push(format!("  live       {}", view.live.as_ref().map_or_else(none, |live| live_line(out, live))));
    lines.push(format!(
        "  spare      {}",
        view.spare.as_ref().map_or_else(none, |spare| spare_line(out, spare))
    ));
    if let Some(deploying) = &view.deploying {
        lines.push(format!("  deploying  {}", deployment_line(deploying)));
    }
    if let Some(button) = &view.button {
        lines.push(format!("  wake       {}", harmless(&button.label)));
    }
    if let Some(url) = &view.url {
        lines.push(format!("  open       {}", harmless(url)));
    }
    if let Some(tcp) = &view.tcp {
        lines.push(format!("  tcp        {}", harmless(tcp)));
    }
    if let Some(tls) = &view.tls {
        lines.push(format!("  tls        {}", harmless(tls)));
    }
    lines.push(format!("  runtime    {}", harmless(&view.runtime)));
    if let Some(until) = &view.pinned_until {
        lines.push(format!("  pinned     maintenance leaves it alone until {}", harmless(until)));
    }
    lines.extend(
        view.warnings.iter().map(|w| format!("  {} {}", out.paint(Paint::Warn, "warning:"), harmless(w))),
    );
    lines.join("\n")
}

fn live_line(out: &Out, live: &teal_core::api::LiveView) -> String {
    let baking = if live.baking { " · still watched" } else { "" };
    let plural = if live.instances == 1 { "" } else { "s" };
    let (colour, commit) = (colour(out, live.colour), commit(&live.commit));
    format!("{colour} · {commit} · {} instance{plural} · since {}{baking}", live.instances, age(&live.since))
}

fn spare_line(out: &Out, spare: &teal_core::api::SpareView) -> String {
    let off = spare.off_at.as_ref().map(|at| format!(", off {}", age(at))).unwrap_or_default();
    format!("{} · {} · {}{off}", colour(out, spare.colour), commit(&spare.commit), harmless(&spare.state))
}

fn deployment_line(view: &DeploymentView) -> String {
    let commit = view.commit.as_ref().map(commit).unwrap_or_default();
    format!("{commit} · {} · {} · began {}", harmless(&view.phase), view.deployment, age(&view.started_at))
}

/// Why a deployment failed, with what helps to mend it.
pub(crate) fn failure(view: &FailureView) -> String {
    let details = view.details.iter().map(|line| format!("\n  {}", harmless(line)));
    format!("{}: {}{}", harmless(&view.stage), harmless(&view.message), details.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = vec![vec!["a".into(), "bbbb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&["ONE", "TWO"], &rows), "ONE  TWO\na    bbbb\nccc  d");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!([cut("a → b", 3), cut("a → b", 5), cut("", 3)], ["a →…", "a → b", ""]);
    }

    #[test]
    fn spans_are_short() {
        assert_eq!([span(5), span(125), span(7300), span(200_000)], ["5 s", "2 min", "2 h", "2 d"]);
    }

    #[test]
    fn escapes_of_a_commit_message_do_not_reach_the_terminal() {
        let view = CommitView { id: "a".repeat(40), message: "x\u{1b}[31mred".into(), author: String::new() };
        assert_eq!(commit(&view), "aaaaaaa xred");
    }
}
