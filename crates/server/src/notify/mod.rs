//! Mails and webhooks: one outbox that is retried until it is delivered, and two carriers.
//!
//! A mail's row is inserted in the very transaction that fails the deployment, so no failure is without its mail and no crash loses one. The
//! row is marked *after* the mail server took the mail: marked before, a crash in between would lose it. The price is that a crash, or a
//! lost answer, can send a mail twice; it carries the same Message-ID then, by which mail servers and readers know it. More than that
//! SMTP does not allow, nor HTTP: a delivery of a webhook carries the same id in a header. It must never send what is not in the outbox (but for the test that a user asks for), nor decide who gets mail.

pub mod compose;
pub mod hook;
mod outbox;
mod smtp;

pub use outbox::{Carry, Outbox, Post, Sent, Telling, attempt, deliver};
pub use smtp::{Error, test};
