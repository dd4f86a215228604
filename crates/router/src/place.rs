//! A router's place: the state directory, held by the one that serves. A router that has given it away keeps nothing on disk.

use crate::{
    error::Error,
    state::{Given, Saved},
};
use std::path::PathBuf;
use teal_core::{id::AppId, route::Table};

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
        let mut saved = Saved::open(&self.directory)?;
        saved.save(table)?;
        self.saved = Some(saved);
        Ok(())
    }

    /// Another router has it.
    pub(crate) fn is_given_away(&self) -> bool {
        self.saved.is_none()
    }

    /// Makes the table durable, if that is this router's business.
    pub(crate) fn save(&mut self, table: &Table) -> Result<(), Error> {
        self.saved.as_mut().map_or(Ok(()), |saved| saved.save(table))
    }

    /// The same for a change that made `table` of generation `base`, by these apps.
    pub(crate) fn change(&mut self, table: &Table, base: u64, ids: &[AppId]) -> Result<(), Error> {
        self.saved.as_mut().map_or(Ok(()), |saved| saved.change(table, base, ids))
    }

    /// Makes certificates durable, if that is this router's business.
    pub(crate) fn save_certificates(&self, given: &Given) -> Result<(), Error> {
        self.saved.as_ref().map_or(Ok(()), |saved| saved.save_certificates(given))
    }
}
