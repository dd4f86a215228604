//! How the demo tells what happens: chapters, what happened in them and when.

use super::stage::Stage;
use crate::out::{Out, Paint, harmless};
use std::time::Instant;

/// Where the demo tells.
pub(super) struct Show {
    out: Out,
    began: Instant,
}

impl Show {
    /// Begins now.
    pub(super) fn new(out: Out) -> Self {
        Self { out, began: Instant::now() }
    }

    /// How things are painted here.
    pub(super) fn out(&self) -> Out {
        self.out.clone()
    }

    fn line(&self, mark: String, text: &str) {
        let at = self.out.paint(Paint::Dim, format!("{:6.1} s", self.began.elapsed().as_secs_f64()));
        self.out.tell(format!("{at}  {mark} {text}"));
    }

    /// A new chapter.
    pub(super) fn chapter(&self, text: &str) {
        self.out.tell("");
        self.line(self.out.paint(Paint::Bold, "▶"), &self.out.paint(Paint::Bold, text));
    }

    /// Something that happened.
    pub(super) fn step(&self, text: impl AsRef<str>) {
        self.line(self.out.paint(Paint::Dim, "·"), text.as_ref());
    }

    /// Something that went as it should.
    pub(super) fn good(&self, text: impl AsRef<str>) {
        self.line(self.out.paint(Paint::Good, "✓"), text.as_ref());
    }

    /// Something that did not.
    pub(super) fn bad(&self, text: impl AsRef<str>) {
        self.line(self.out.paint(Paint::Bad, "✗"), text.as_ref());
    }

    /// Something to know.
    pub(super) fn warn(&self, text: impl AsRef<str>) {
        self.line(self.out.paint(Paint::Warn, "!"), text.as_ref());
    }

    /// A line of somebody else: git, a mail.
    pub(super) fn quote(&self, text: &str) {
        self.out.tell(format!("          {}", self.out.paint(Paint::Dim, format!("│ {}", harmless(text)))));
    }

    /// Somebody else's lines as they come, the same one again and again shown once.
    pub(super) fn quotes(&self) -> Quotes<'_> {
        Quotes { show: self, last: String::new(), more: 0 }
    }

    /// After a failure: the last lines of both processes' logs.
    pub(super) fn trouble(&self, stage: &Stage) {
        for (name, lines) in stage.logs() {
            self.warn(format!("the last lines of the {name}'s log:"));
            lines.iter().for_each(|line| self.quote(line));
        }
    }
}

/// Lines as they come; see [`Show::quotes`].
pub(super) struct Quotes<'a> {
    show: &'a Show,
    last: String,
    more: u64,
}

impl Quotes<'_> {
    /// One more line.
    pub(super) fn line(&mut self, text: &str) {
        if text == self.last {
            self.more += 1;
            return;
        }
        self.flush();
        self.show.quote(text);
        text.clone_into(&mut self.last);
    }

    fn flush(&mut self) {
        if self.more > 0 {
            self.show.quote(&format!("… and {} times more", self.more));
        }
        self.more = 0;
    }
}

impl Drop for Quotes<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
