//! A router's place: the state directory, held by the one that serves. A router that has given it away keeps nothing on disk.

use crate::{
    error::Error,
    state::{Given, Saved},
};
use std::path::PathBuf;
use teal_core::route::Table;

/// The state directory, or the memory of it.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    saved: Option<Saved>,
}

impl Place {
    /// The place of the router that has `saved`.
    pub(crate) fn new(saved: Saved, directory: PathBuf) -> Self {
        Self { directory, saved: Some(saved) }
    }

    /// Lets another router have it.
    pub(crate) fn give_away(&mut self) {
        self.saved = None;
    }

    /// Has it again, with this table.
    pub(crate) fn take_back(&mut self, table: &Table) -> Result<(), Error> {
        let saved = Saved::open(&self.directory)?;
        saved.save(table)?;
        self.saved = Some(saved);
        Ok(())
    }

    /// Another router has it.
    pub(crate) fn is_given_away(&self) -> bool {
        self.saved.is_none()
    }

    /// Makes the table durable, if that is this router's business.
    pub(crate) fn save(&self, table: &Table) -> Result<(), Error> {
        self.saved.as_ref().map_or(Ok(()), |saved| saved.save(table))
    }

    /// Makes certificates durable, if that is this router's business.
    pub(crate) fn save_certificates(&self, given: &Given) -> Result<(), Error> {
        self.saved.as_ref().map_or(Ok(()), |saved| saved.save_certificates(given))
    }
}
