//! How many idle instances fit: computed from what one holds, and checked with some that are up together.

use super::{
    Instances, app,
    kind::{Bench, done},
    look,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;
use teal_runtime::Runtime;

/// What some that are up together hold.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fit {
    /// So many were up, and each answered.
    pub(super) started: u32,
    /// What one of them holds by its control group, in bytes, on average.
    pub(super) each_bytes: u64,
    /// By how much less memory was available here for each of them: pages that they share count once.
    pub(super) host_bytes: u64,
    /// What is available with none of them.
    pub(super) available_bytes: u64,
}

/// Starts them, looks, and removes them.
pub(super) async fn check(wanted: &Instances, bench: &Bench, release: &Path) -> Result<Fit> {
    let available_bytes = look::available()?;
    let (mut ids, mut addresses) = (Vec::new(), Vec::new());
    for number in 0..wanted.fit {
        let spec = app::spec(&format!("f-{number}-0"), release, wanted.limit_mib, bench.image.clone())?;
        let started = done("start", bench.runtime.ensure(&spec).await)?;
        addresses.push(started.address.context("an app has an address")?);
        ids.push(spec.id);
    }
    for (id, address) in ids.iter().zip(addresses) {
        look::listening(bench, id).await?;
        look::answered(address).await?;
    }
    let mut held = 0;
    for id in &ids {
        held += look::memory(bench, id).await?;
    }
    let taken = available_bytes.saturating_sub(look::available()?);
    for id in &ids {
        done("remove", bench.runtime.remove(id).await)?;
    }
    let count = u64::from(wanted.fit.max(1));
    Ok(Fit { started: wanted.fit, each_bytes: held / count, host_bytes: taken / count, available_bytes })
}
