//! The machine: two kinds of rows and a pure function.
//!
//! A *deployment* is an attempt to change what is in production; an *environment* is a thing that runs. `plan` looks at all rows of an app
//! and says which steps are due; an effect performs one; one transaction stores the outcome and the event. What each environment is *for* and
//! where the traffic goes are computed from the rows, so resuming after a crash, cancelling, undoing, starting after a stop and falling back are
//! no features: they are the same loop. Nothing in here knows a clock, I/O or async.

mod answer;
mod app;
mod apply;
mod ask;
mod attempt;
mod deployment;
mod draft;
mod environment;
mod event;
pub mod failure;
mod notice;
pub mod phases;
mod plan;
mod release_command;
mod request;
mod roles;
mod route;
pub mod settings;
mod settle;
pub mod states;
mod step;
mod view;
mod words;

pub use self::{
    answer::back_off_ms,
    app::{App, Head, Routing, Rows, Singletons},
    apply::{Rejection, answered, observed, requested, settled},
    deployment::{Commit, Deployment, End, Kind, Phase, Times},
    environment::{Environment, Health, Instance, State},
    event::{Change, Event, EventKind, Mail, Serving, Transition},
    failure::{Failure, Stage},
    plan::{Plan, plan},
    release_command::runs_release_command,
    request::{Accepted, Act, Refusal, Request},
    roles::{Level, Role},
    route::{mentions, route},
    settings::Settings,
    step::{Fact, Lane, Observation, Outcome, Step},
    view::{WakeTarget, wake_target},
    words::{Cause, Status, Verdict},
};
