//! One call per instance at a time: effects on the same id never interleave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use teal_core::id::InstanceId;
use tokio::sync::OwnedMutexGuard;

/// The instances that something is being done to.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    busy: Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Holds {
    /// Waits until nothing else is done to `id`; that is so until the answer is dropped.
    pub(crate) async fn hold(&self, id: &InstanceId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(busy.entry(id.clone()).or_default())
        };
        lock.lock_owned().await
    }
}
