//! Everything that Teal prints, and the only file that may print: data on standard output, words about it on standard error.
//!
//! Colours and moving progress only where a terminal reads them (`NO_COLOR` respected); plain lines everywhere else. A reader that
//! goes away (`teal logs | head`) is no error. What comes from apps and servers is made harmless before it reaches a terminal.

use crate::error::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Heavy: names and headings.
    Bold,
    /// Pale: what is of less weight.
    Dim,
    /// Went well.
    Good,
    /// Went wrong.
    Bad,
    /// Ought to be looked at.
    Warn,
    /// The place called Blue.
    Blue,
    /// The place called Green.
    Green,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good | Self::Green => "32",
            Self::Bad => "31",
            Self::Warn => "33",
            Self::Blue => "34",
        }
    }
}

/// Where output goes and how it looks. One per command.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    json: bool,
    colour: bool,
    moving: bool,
    live: bool,
}

impl Out {
    /// As the terminal, `NO_COLOR` and `--json` want it.
    pub(crate) fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let colour = std::io::stdout().is_terminal() && !plain && !json;
        let moving = std::io::stderr().is_terminal() && !json;
        let dumb = std::env::var_os("TERM").is_none_or(|v| v == "dumb");
        let live = std::io::stdout().is_terminal() && !dumb && !json;
        Self { json, colour, moving, live }
    }

    /// Whether the caller asked for JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a terminal reads the answer, on which it can be drawn anew.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Draws a text over the last one, which had `above` lines; says how many lines this one has. Nothing of the terminal's state is changed: whoever
    /// interrupts finds it as it was.
    pub(crate) fn redraw(&self, above: usize, text: &str) -> Result<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        // A terminal that does not know its size says 0.
        let known = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (width, height) = known.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        let (frame, lines) = frame(above, text, width, height);
        print(&frame)?;
        Ok(lines)
    }

    /// The text in this paint, if a terminal reads it.
    pub(crate) fn paint(&self, paint: Paint, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", paint.code()) } else { text.to_owned() }
    }

    /// The command's answer: as JSON, or as the human text that `human` makes of it.
    pub(crate) fn show<T: Serialize>(&self, value: &T, human: impl FnOnce(&Self) -> String) -> Result<()> {
        if self.json {
            let text = serde_json::to_string_pretty(value)
                .map_err(|e| Error::because("the answer does not turn into JSON", e))?;
            return print(&text);
        }
        let text = human(self);
        if text.is_empty() { Ok(()) } else { print(text.trim_end_matches('\n')) }
    }

    /// One value of a stream: a line of JSON, or the human line.
    pub(crate) fn stream<T: Serialize>(&self, value: &T, human: impl FnOnce(&Self) -> String) -> Result<()> {
        if self.json {
            let text = serde_json::to_string(value)
                .map_err(|e| Error::because("a line does not turn into JSON", e))?;
            return print(&text);
        }
        print(&human(self))
    }

    /// A line of plain data, the same for people and machines (a completion script).
    pub(crate) fn raw(&self, text: &str) -> Result<()> {
        print(text)
    }

    /// A line of a story that is told while it happens. Silent with `--json`, and never an error: the story goes on without its reader.
    pub(crate) fn tell(&self, text: impl AsRef<str>) {
        if !self.json {
            let _ = print(text.as_ref());
        }
    }

    /// A remark on standard error, which never disturbs data. Silent with `--json`.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if !self.json {
            complain(text.as_ref());
        }
    }

    /// The error that ended the command.
    pub(crate) fn fail(&self, error: &Error) {
        if self.json {
            let view = serde_json::json!({
                "error": { "kind": error.kind.word(), "message": error.message, "hint": error.hint, "exit": error.kind.code() }
            });
            complain(&view.to_string());
            return;
        }
        let red = std::io::stderr().is_terminal() && self.colour;
        let head = if red { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
        complain(&format!("{head} {}", error.message));
        if let Some(hint) = &error.hint {
            complain(&format!("  next: {hint}"));
        }
    }

    /// A progress line: moves on a terminal, and is a plain line for each new text elsewhere.
    pub(crate) fn progress(&self) -> Progress {
        let bar = self.moving.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed:.dim}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Progress { bar, out: self.clone(), last: String::new() }
    }

    /// Asks on the terminal; the answer without its line end. `None` if nobody is there to answer.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question} ").ok()?;
        stderr.flush().ok()?;
        drop(stderr);
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    }
}

/// A progress line of a command that waits.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    out: Out,
    last: String,
}

impl Progress {
    /// What is going on now.
    pub(crate) fn now(&mut self, text: &str) {
        if text == self.last {
            return;
        }
        text.clone_into(&mut self.last);
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.out.say(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The text without control characters, so that what an app or a server wrote cannot steer the terminal.
pub(crate) fn harmless(text: &str) -> String {
    teal_server::log::harmless(text)
}

/// What draws a text over `above` lines, no line wrapped and none beyond the screen; and how many lines it has.
fn frame(above: usize, text: &str, width: usize, height: usize) -> (String, usize) {
    let room = height.saturating_sub(1).max(1);
    let cut = |line: &str| line.chars().take(width.max(1)).collect::<String>();
    let lines: Vec<String> = text.lines().take(room).map(cut).collect();
    let up = if above == 0 { String::new() } else { format!("\u{1b}[{above}A") };
    // Each line is cleared to its end, and then what is left of a longer text: nothing flickers. Printing ends the last line.
    (format!("{up}\r{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\n")), lines.len())
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(reader_left()),
        Err(error) => Err(Error::because("standard output cannot be written", error)),
        Ok(()) => Ok(()),
    }
}

fn complain(text: &str) {
    // Nobody can be told that standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Ends the command quietly when the reader of a pipe has seen enough; `main` knows it by its empty message.
fn reader_left() -> Error {
    Error::new(crate::error::Kind::Other, String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_covers_the_last_one_and_stays_on_the_screen() {
        let (first, lines) = frame(0, "one\ntwo", 80, 24);
        assert_eq!((first.as_str(), lines), ("\rone\u{1b}[K\ntwo\u{1b}[K\u{1b}[J", 2));
        let (next, lines) = frame(lines, "wide line\nb\nc\nd", 4, 4);
        assert_eq!((next.as_str(), lines), ("\u{1b}[2A\rwide\u{1b}[K\nb\u{1b}[K\nc\u{1b}[K\u{1b}[J", 3));
    }
}
