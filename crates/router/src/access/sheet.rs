//! One worker's lines until there are enough to hand on. It is bounded: a line that finds no room is dropped and counted.

use super::{
    Noted, Outcome, line,
    writer::{Batch, Log},
};
use crate::metrics::Edge;
use std::{
    cell::RefCell,
    sync::{Arc, mpsc::TrySendError},
    time::SystemTime,
};

/// So many bytes are worth to be handed on.
const WORTH: usize = 16 * 1024;

/// Beyond this nothing is written any more; one line may go over it.
const FULL: usize = 128 * 1024;

/// The lines.
#[derive(Debug)]
pub(crate) struct Sheet {
    log: Log,
    edge: Arc<Edge>,
    batch: RefCell<Batch>,
}

impl Sheet {
    /// An empty one.
    pub(crate) fn new(log: Log, edge: Arc<Edge>) -> Self {
        Self { log, edge, batch: RefCell::default() }
    }

    /// Writes one line, or drops it.
    pub(crate) fn write(&self, noted: &Noted, outcome: &Outcome<'_>) {
        let mut batch = self.batch.borrow_mut();
        if batch.text.len() >= FULL {
            self.hand(&mut batch);
        }
        if batch.text.len() >= FULL {
            return self.edge.log_dropped(1);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        line::write(&mut batch.text, self.log.form, noted, outcome, now);
        batch.lines += 1;
        if (WORTH..FULL).contains(&batch.text.len()) {
            self.hand(&mut batch);
        }
    }

    /// Hands on what there is, if there is room for it.
    pub(crate) fn hand_on(&self) {
        self.hand(&mut self.batch.borrow_mut());
    }

    fn hand(&self, batch: &mut Batch) {
        if batch.lines == 0 {
            return;
        }
        let lines = batch.lines;
        match self.log.batches.try_send(std::mem::take(batch)) {
            Ok(()) => self.edge.logged(lines),
            Err(TrySendError::Full(back)) => *batch = back,
            // The thread that writes is gone: nobody will take them any more.
            Err(TrySendError::Disconnected(_)) => self.edge.log_dropped(lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;
    use teal_core::access::LogForm;

    #[test]
    fn lines_without_room_are_dropped_and_counted_and_the_rest_arrives() {
        let (batches, received) = sync_channel(2);
        let edge = Arc::new(Edge::default());
        let sheet = Sheet::new(Log { form: LogForm::Json, batches }, Arc::clone(&edge));
        let written = 10_000;
        for _ in 0..written {
            sheet.write(&Noted::default(), &Outcome::default());
        }
        let held: u64 = sheet.batch.borrow().lines;
        let (handed, dropped) = (edge.report().log_lines, edge.report().log_dropped);
        assert!(handed > 0 && dropped > 0, "{handed} handed on, {dropped} dropped");
        assert_eq!(handed + dropped + held, written);
        assert!(sheet.batch.borrow().text.len() < FULL + 1024);
        let first = received.try_recv().expect("a batch");
        sheet.hand_on();
        let rest: u64 = received.try_iter().map(|batch| batch.lines).sum();
        assert_eq!(first.lines + rest + dropped, written);
    }
}
