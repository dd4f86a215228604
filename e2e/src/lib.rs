//! What the end-to-end tests stand on: a whole Teal in a temporary directory, repositories pushed by real git, a load client that counts every
//! request, a real mail server. Nothing in here fakes anything, and everything is cleaned up when its value is dropped.
#![allow(clippy::print_stderr, reason = "what a host logged is shown where a test fails")]

mod api;
mod app;
mod authority;
mod browser;
mod host;
pub mod image;
mod instance;
mod mail;
mod repository;
mod rig;
mod stream_app;
mod visit;
mod wait;
mod witness;

pub use api::Api;
pub use app::{Behaviour, PYTHON_APP, python_app};
pub use authority::Authority;
pub use browser::{Browser, Element};
pub use host::{Host, Options, Shown};
pub use instance::{Instance, kill};
pub use mail::{Mail, MailServer};
pub use repository::{Pushed, Repository};
pub use rig::{Report, Rig};
pub use stream_app::{sealed_app, stream_app};
pub use visit::{Answer, Held};
pub use wait::{slowness, until, within};
