//! What one worker counts and logs with. It must never keep a request waiting.

use super::Edge;
use crate::access::{Log, Noted, Outcome, Sheet};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// A worker's own.
#[derive(Debug)]
pub(crate) struct Observer {
    /// Which worker.
    pub(crate) worker: usize,
    /// Counts of the whole router.
    pub(crate) edge: Arc<Edge>,
    /// Proxies of the operator's: the client is whoever came to them.
    pub(crate) trusted: Vec<IpAddr>,
    sheet: Option<Sheet>,
}

impl Observer {
    /// For this worker.
    pub(crate) fn new(worker: usize, edge: Arc<Edge>, trusted: Vec<IpAddr>, log: Option<Log>) -> Self {
        let sheet = log.map(|log| Sheet::new(log, Arc::clone(&edge)));
        Self { worker, edge, trusted, sheet }
    }

    /// There is an access log.
    pub(crate) fn logs(&self) -> bool {
        self.sheet.is_some()
    }

    /// Writes a line of the access log, if there is one and it has room.
    pub(crate) fn log(&self, noted: &Noted, outcome: &Outcome<'_>) {
        if let Some(sheet) = &self.sheet {
            sheet.write(noted, outcome);
        }
    }

    /// Every now and then: lines do not wait for more lines for ever, and those that were dropped are spoken of.
    pub(crate) fn tick(&self) {
        let Some(sheet) = &self.sheet else { return };
        sheet.hand_on();
        if self.worker == 0
            && let Some(lines) = self.edge.to_speak_of(Instant::now())
        {
            tracing::warn!(
                lines,
                "lines of the access log were dropped: whoever takes them does not keep up"
            );
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if let Some(sheet) = &self.sheet {
            sheet.hand_on();
        }
    }
}
