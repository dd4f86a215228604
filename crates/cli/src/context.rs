//! What every command needs: where output goes, the server, and the app that is meant.

use crate::{
    client::Client,
    credentials,
    error::{Error, Result},
    link::{self, Link},
    out::Out,
};
use std::path::PathBuf;

/// One command's surroundings.
pub(crate) struct Context {
    /// Where output goes.
    pub(crate) out: Out,
    url: Option<String>,
}

impl Context {
    /// Surroundings with these flags.
    pub(crate) fn new(json: bool, url: Option<String>) -> Self {
        let url = url.or_else(|| std::env::var("TEAL_URL").ok()).filter(|url| !url.is_empty());
        Self { out: Out::new(json), url }
    }

    /// The server: `--url`, `TEAL_URL`, the checkout's link, or the one logged in to.
    pub(crate) fn client(&self) -> Result<Client> {
        let linked = || self.link().ok().flatten().and_then(|link| link.url);
        let url = self.url.clone().or_else(linked);
        Ok(Client::new(credentials::find(url.as_deref())?))
    }

    /// The app that was named, or else the one that this checkout is linked to.
    pub(crate) fn app(&self, given: Option<&str>) -> Result<String> {
        if let Some(name) = given {
            return Ok(name.to_owned());
        }
        self.link()?.map(|link| link.app).ok_or_else(|| {
            Error::usage("no app was named, and this directory is not linked to one").hint(
                "name it (`teal apps list` shows what there is), or run `teal link APP` in the checkout",
            )
        })
    }

    /// The top of the checkout that we are in, if we are in one.
    pub(crate) fn checkout(&self) -> Result<Option<PathBuf>> {
        Ok(link::checkout(&here()?))
    }

    fn link(&self) -> Result<Option<Link>> {
        link::find(&here()?)
    }
}

fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::because("the current directory is gone", e))
}
