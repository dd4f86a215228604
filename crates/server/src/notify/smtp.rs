//! One delivery. The only file that knows lettre.

use super::outbox::Sent;
use crate::{config::Smtp, store::QueuedMail};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    address::AddressError,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
        response::Response,
    },
};
use std::{
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};
use teal_core::error::in_full;

/// How long the mail server may take for one answer, and for all of it.
const ANSWER: Duration = Duration::from_secs(30);
const ALL: Duration = Duration::from_secs(180);
/// The longest subject, in characters.
const MAX_SUBJECT: usize = 200;
/// The longest answer of a mail server that is kept, in characters.
const MAX_ANSWER: usize = 500;
/// Refusals of the login or for want of TLS. They end in 5, but the operator can mend them.
const MENDABLE: [&str; 5] = ["530", "534", "535", "538", "454"];

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `encryption` is none of the words.
    #[error("`encryption = \"{0}\"` is not one of none, starttls, tls")]
    Encryption(String),
    /// A password would go over the network in clear text.
    #[error(
        "with `encryption = \"none\"` the password would travel in clear text to {0}: use starttls or tls"
    )]
    ClearPassword(String),
    /// A user without a password.
    #[error("`user` is set and `password_file` is not: set both or none")]
    NoPassword,
    /// The password file.
    #[error("the password file {path} cannot be read")]
    PasswordFile {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The sender.
    #[error("the sender `{0}` is not a mail address: set `from` in [smtp]")]
    Sender(String),
    /// The recipient.
    #[error("`{0}` is not a mail address")]
    Recipient(String),
    /// The mail could not be put together.
    #[error("the mail could not be put together: {0}")]
    Form(String),
    /// The mail server or the way to it.
    #[error("{0}")]
    Server(String),
}

/// Sends a test mail to `to` and returns what the mail server said to it.
///
/// # Errors
/// If the configuration is wrong, the mail server cannot be reached, or it refuses.
pub async fn test(smtp: &Smtp, to: &str) -> Result<String, Error> {
    let mail = QueuedMail {
        id: format!("test-{}", ulid::Ulid::generate().to_string().to_lowercase()),
        recipient: to.to_owned(),
        subject: "Teal: test mail".into(),
        text: "Mail from Teal arrives. You get one when a deployment fails, and nothing else.\n".into(),
        html: "<p>Mail from Teal arrives. You get one when a deployment fails, and nothing else.</p>".into(),
        hook: None,
        queued_at: crate::world::now(),
        attempts: 0,
    };
    match exchange(smtp, &mail).await? {
        Ok(said) => Ok(said),
        Err(error) => Err(Error::Server(chain(&error))),
    }
}

/// Tries to deliver a mail.
pub(super) async fn send(smtp: &Smtp, mail: &QueuedMail) -> Sent {
    match exchange(smtp, mail).await {
        Ok(Ok(said)) => Sent::Taken(said),
        Ok(Err(error)) => judge(&error),
        // An address that is none never becomes one; everything else the operator can mend.
        Err(error @ (Error::Recipient(_) | Error::Form(_))) => Sent::Never(chain(&error)),
        Err(error) => Sent::Later(chain(&error)),
    }
}

fn judge(error: &lettre::transport::smtp::Error) -> Sent {
    let code = error.status().map(|code| code.to_string()).unwrap_or_default();
    if error.is_permanent() && !MENDABLE.contains(&code.as_str()) {
        return Sent::Never(chain(error));
    }
    Sent::Later(chain(error))
}

async fn exchange(
    smtp: &Smtp,
    mail: &QueuedMail,
) -> Result<Result<String, lettre::transport::smtp::Error>, Error> {
    let message = message(smtp, mail)?;
    let transport = transport(smtp).await?;
    match tokio::time::timeout(ALL, transport.send(message)).await {
        Ok(sent) => Ok(sent.map(|response| said(&response))),
        Err(_) => Err(Error::Server(format!("{} took longer than {} s", smtp.host, ALL.as_secs()))),
    }
}

fn said(response: &Response) -> String {
    let lines: Vec<&str> = response.message().collect();
    shorten(&format!("{} {}", response.code(), lines.join(" ")))
}

/// lettre says the reason only in an error's causes.
fn chain(error: &dyn std::error::Error) -> String {
    shorten(&in_full(error))
}

fn shorten(text: &str) -> String {
    crate::log::harmless(&text.replace(['\r', '\n'], " ")).chars().take(MAX_ANSWER).collect()
}

async fn transport(smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, Error> {
    let parameters = || {
        TlsParameters::builder(smtp.host.clone()).build_rustls().map_err(|error| Error::Server(chain(&error)))
    };
    let tls = match smtp.encryption.as_str() {
        "none" => Tls::None,
        "starttls" => Tls::Required(parameters()?),
        "tls" => Tls::Wrapper(parameters()?),
        other => return Err(Error::Encryption(other.into())),
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host);
    let mut builder = builder.port(smtp.port).tls(tls).timeout(Some(ANSWER));
    if let Some(user) = &smtp.user {
        if smtp.encryption == "none" && !is_loopback(&smtp.host) {
            return Err(Error::ClearPassword(smtp.host.clone()));
        }
        let path = smtp.password_file.clone().ok_or(Error::NoPassword)?;
        let password = match tokio::fs::read_to_string(&path).await {
            Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Err(source) => return Err(Error::PasswordFile { path, source }),
        };
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The same mail makes the same headers at every attempt.
fn message(smtp: &Smtp, mail: &QueuedMail) -> Result<Message, Error> {
    let from = smtp.from.parse::<Mailbox>().map_err(|_: AddressError| Error::Sender(smtp.from.clone()))?;
    let to = mail.recipient.parse::<Mailbox>().map_err(|_| Error::Recipient(mail.recipient.clone()))?;
    let id = format!("<{}@{}>", id(&mail.id), from.email.domain());
    let subject: String = mail.subject.chars().filter(|c| !c.is_control()).take(MAX_SUBJECT).collect();
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    Message::builder()
        .from(from)
        .to(to)
        .subject(subject)
        .date(UNIX_EPOCH + Duration::from_millis(mail.queued_at.0))
        .message_id(Some(id))
        .raw_header(HeaderValue::new(automatic, "auto-generated".into()))
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(|error| Error::Form(error.to_string()))
}

/// Only what is legal on the left of a Message-ID.
fn id(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}
