//! Upkeep: moving every app to a newer image, a few at a time. Pure.
//!
//! A *rollout* is one such move. It deploys nothing itself: for each app it chooses a deployment's id, writes it down, asks the machine for the live
//! commit on the new image under that id, and reads the verdict from the deployment's row. Whoever performs it may die between any two of these:
//! what was written down says what is left to do.
//!
//! ```text
//! ROLLOUT  Running ⇄ Halted{why}          Running ─► Done     Running | Halted ─► Aborted | Replaced{by}
//! APP      Waiting ─► UnderWay{deployment} ─► Moved | Failed | Left{why}       superseded by a user's deployment: Waiting again
//! ```
//!
//! Where the newer image comes from without anybody asking says [`patch`].
//!
//! Nothing in here may know a clock, a file or how a deployment is done; the machine in [`crate::deploy`] has the last word on each.

mod advance;
mod begin;
pub mod chance;
mod command;
pub mod patch;
mod rollout;
mod seen;
mod start;
mod window;

pub use self::{
    advance::{Advance, advance, asks},
    begin::Limits,
    command::{Refusal, abort, hurry, resume},
    rollout::{Member, Progress, Reason, Rollout, State, Tally},
    seen::{Apps, Look, Ours, Seen},
    start::{Due, New, due, replace, start},
    window::Window,
};
