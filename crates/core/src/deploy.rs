//! The machine: two kinds of rows and a pure function.
//!
//! A *deployment* is an attempt to change what is in production; an *environment* is a thing that runs. `plan` looks at all rows of an app
//! and says which steps are due; an effect performs one; one transaction stores the outcome and the event. What each environment is *for* and
//! where the traffic goes are computed from the rows, so resuming after a crash, cancelling, undoing, starting after a stop and falling back are
//! no features: they are the same loop. Nothing in here knows a clock, I/O or async.

mod app;
mod deployment;
mod environment;
mod event;
pub mod failure;
mod request;
pub mod settings;
mod step;
mod words;

pub use self::{
    app::{App, Head, Routing, Rows, Singletons},
    deployment::{Commit, Deployment, End, Kind, Phase, Times},
    environment::{Environment, Health, Instance, State},
    event::{Change, Event, EventKind, Mail, Serving},
    failure::{Failure, Stage},
    request::{Act, Refusal, Request},
    settings::Settings,
    step::{Fact, Lane, Observation, Outcome, Step},
    words::{Cause, Status, Verdict},
};
