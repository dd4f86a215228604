//! One delivery: resolve, check, connect to what was checked, post, read the head of the answer. Time and memory are bounded, whatever the receiver does.

use super::{Address, Ranges, sign::signature};
use crate::{
    notify::outbox::Sent,
    store::{HookTarget, QueuedMail},
    world::now,
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use teal_core::error::in_full;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    sync::OnceCell,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

/// How long all of it may take, from the name to the head of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one of several addresses may take to be connected.
const CONNECT: Duration = Duration::from_secs(4);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// The longest head of an answer, in bytes. Its body is never read.
const MAX_HEAD: usize = 16 * 1024;
/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 300;

/// Posts deliveries. One per server.
pub struct Courier {
    ranges: Ranges,
    patience: Duration,
    /// Certificate authorities besides those that this host trusts.
    more: Vec<CertificateDer<'static>>,
    tls: OnceCell<Arc<ClientConfig>>,
}

impl Courier {
    /// A courier that keeps away from these ranges.
    #[must_use]
    pub fn new(ranges: Ranges) -> Self {
        Self { ranges, patience: PATIENCE, more: Vec::new(), tls: OnceCell::new() }
    }

    /// Why nothing may be posted to this address, where that can be told without asking anybody.
    #[must_use]
    pub fn refusal(&self, address: &Address) -> Option<&'static str> {
        address.literal().and_then(|literal| self.ranges.refusal(literal))
    }

    /// Tries one delivery.
    pub async fn post(&self, target: &HookTarget, delivery: &QueuedMail) -> Sent {
        let begun = Instant::now();
        let address = match Address::parse(&target.url) {
            Ok(address) => address,
            Err(why) => return Sent::Never(format!("the address {why}")),
        };
        let answered = timeout(self.patience, self.exchange(&address, target, delivery)).await;
        let status = match answered {
            Err(_) => return Sent::Later(format!("no answer within {} s", self.patience.as_secs())),
            Ok(Err(why)) => return Sent::Later(why.chars().take(MAX_REASON).collect()),
            Ok(Ok(status)) => status,
        };
        judge(status, begun.elapsed())
    }

    async fn exchange(
        &self,
        address: &Address,
        target: &HookTarget,
        delivery: &QueuedMail,
    ) -> Result<StatusCode, String> {
        let request = request(address, target, delivery)?;
        let stream = self.connect(address).await?;
        if !address.tls {
            return ask(stream, request).await;
        }
        let name =
            ServerName::try_from(address.host.clone()).map_err(|_| "the host is no name".to_owned())?;
        let connector = TlsConnector::from(self.trust().await?);
        let stream = connector.connect(name, stream).await;
        ask(stream.map_err(|error| format!("TLS failed: {}", in_full(&error)))?, request).await
    }

    /// A connection to an address that was checked: the name is not asked for again.
    async fn connect(&self, address: &Address) -> Result<TcpStream, String> {
        let found = lookup_host((address.host.as_str(), address.port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|_| format!("{} has no address", address.host))?.take(64).collect();
        let refused = found.iter().find_map(|found| Some((found.ip(), self.ranges.refusal(found.ip())?)));
        let mut last = match refused {
            Some((ip, why)) => {
                format!(
                    "{} is {ip}, which is {why}: the operator may allow it with `webhook_allow`",
                    address.host
                )
            }
            None => format!("{} has no address", address.host),
        };
        let legal = found.iter().filter(|found| self.ranges.refusal(found.ip()).is_none());
        for address in legal.take(MAX_ADDRESSES) {
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = format!("{address} cannot be connected: {error}"),
                Err(_) => last = format!("{address} cannot be connected within {} s", CONNECT.as_secs()),
            }
        }
        Err(last)
    }

    /// What this host trusts, read once.
    async fn trust(&self) -> Result<Arc<ClientConfig>, String> {
        let more = self.more.clone();
        let made = || async {
            let read = tokio::task::spawn_blocking(move || trusting(more)).await;
            read.map_err(|_| "the authorities that this host trusts cannot be read".to_owned())?
        };
        self.tls.get_or_try_init(made).await.cloned()
    }
}

fn trusting(more: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(more);
    if roots.is_empty() {
        return Err("this host trusts no certificate authority: install `ca-certificates`".into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn request(
    address: &Address,
    target: &HookTarget,
    delivery: &QueuedMail,
) -> Result<Request<Full<Bytes>>, String> {
    let request = Request::post(&address.path)
        .header("host", &address.authority)
        .header("user-agent", concat!("Teal/", env!("CARGO_PKG_VERSION")))
        .header("content-type", "application/json")
        .header("accept", "*/*")
        .header("connection", "close")
        .header("teal-event", &delivery.subject)
        .header("teal-delivery", &delivery.id)
        .header("teal-signature", signature(&target.secret, now().0 / 1_000, &delivery.text));
    let body = Full::new(Bytes::copy_from_slice(delivery.text.as_bytes()));
    request.body(body).map_err(|_| "the delivery could not be put together".to_owned())
}

async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Dropped with this call, whenever that is: nothing of the connection outlives it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer =
        sender.send_request(request).await.map_err(|error| format!("no answer: {}", in_full(&error)))?;
    Ok(answer.status())
}

fn judge(status: StatusCode, took: Duration) -> Sent {
    let said = format!("{} after {} ms", status.as_u16(), took.as_millis());
    if status.is_success() {
        return Sent::Taken(said);
    }
    if status.is_redirection() {
        return Sent::Later(format!("{said}: redirects are not followed, give the address that it leads to"));
    }
    Sent::Later(said)
}

#[cfg(test)]
#[path = "courier_tests.rs"]
mod tests;
