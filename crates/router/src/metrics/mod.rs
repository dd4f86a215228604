//! Counting what clients get: per environment, and beside them. Relaxed additions to what a worker has mostly to itself.
//!
//! Nothing here may wait, lock or allocate on the way of a request, except once per environment and worker.

mod edge;
mod meter;
mod observer;
mod own;
mod visit;

pub(crate) use edge::{Edge, Open};
pub(crate) use meter::{Meter, OpenSocket};
pub(crate) use observer::Observer;
pub(crate) use own::Own;
pub(crate) use visit::Visit;
