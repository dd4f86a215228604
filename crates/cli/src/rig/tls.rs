//! TLS and HTTP/2 towards the target: certificates are verified like a browser's, against the authority that the run was given.

use super::{
    Shared,
    ledger::Lane,
    request::{self, Asker, Job, Sender, TIME, Then},
};
use crate::error::{Error, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

/// HTTP/2 connections that requests share.
const CONNECTIONS: usize = 4;

/// Where TLS is spoken, and whose certificates are believed.
#[derive(Debug, Clone)]
pub(crate) struct Secure {
    target: SocketAddr,
    h2: Arc<ClientConfig>,
    h1: Arc<ClientConfig>,
}

impl Secure {
    /// TLS at this address, verified by the authority's certificate in this file.
    pub(crate) fn new(target: SocketAddr, authority: &Path) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| Error::usage(format!("{}: {why}", authority.display()));
        let pem = std::fs::read(authority).map_err(|error| wrong(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        }
        let config = |protocol: &str| {
            let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
            let builder = builder.with_safe_default_protocol_versions().map_err(|error| wrong(&error))?;
            let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            Ok::<_, Error>(Arc::new(config))
        };
        Ok(Self { target, h2: config("h2")?, h1: config("http/1.1")? })
    }

    async fn dial(
        &self,
        config: &Arc<ClientConfig>,
        host: &str,
    ) -> std::result::Result<TlsStream<TcpStream>, String> {
        let name = host.split(':').next().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let dialled = async {
            let stream = TcpStream::connect(self.target).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::clone(config)).connect(name, stream).await
        };
        let dialled = tokio::time::timeout(TIME, dialled).await.map_err(|_| "timed out".to_owned())?;
        dialled.map_err(|error| error.to_string())
    }
}

/// One request over HTTP/1.1 on a TLS connection of its own.
pub(super) async fn fresh(shared: &Arc<Shared>, secure: &Secure, client: usize, job: Job) {
    let sender = async {
        let stream = secure.dial(&secure.h1, &shared.options.host).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| request::describe(&error))?;
        tokio::spawn(async move { connection.await.is_ok() });
        Ok(Sender::H1(sender))
    };
    match sender.await {
        Ok(mut sender) => {
            request::ask(shared, &mut sender, Asker { client, lane: Lane::Fresh }, job).await;
        }
        Err(detail) => lost(shared, Lane::Fresh, detail),
    }
}

/// Connections that one request is offered to.
const ATTEMPTS: u32 = 3;

type Shareable = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// The HTTP/2 connections, each with the client that it stands for.
#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<Vec<Option<(usize, Shareable)>>>,
}

impl Streams {
    /// One request among others on a shared connection.
    pub(super) async fn ask(&self, shared: &Arc<Shared>, secure: &Secure, number: u64, job: Job) {
        let place = number as usize % CONNECTIONS;
        for attempt in 0..ATTEMPTS {
            let kept = self.lock().get(place).cloned().flatten();
            // A connection that has just taken nothing is not asked again.
            let known = kept.filter(|(_, sender)| attempt == 0 && !sender.is_closed());
            let (client, sender) = match known {
                Some(known) => known,
                None => match open(shared, secure).await {
                    Ok(sender) => self.keep(place, shared.ledger().client(), sender),
                    Err(detail) => return lost(shared, Lane::H2, detail),
                },
            };
            let asker = Asker { client, lane: Lane::H2 };
            if request::ask(shared, &mut Sender::H2(sender), asker, job).await != Then::Elsewhere {
                return;
            }
        }
        lost(shared, Lane::H2, format!("{ATTEMPTS} connections took nothing of it"));
    }

    fn keep(&self, place: usize, client: usize, sender: Shareable) -> (usize, Shareable) {
        let mut open = self.lock();
        open.resize_with(CONNECTIONS, || None);
        open[place] = Some((client, sender.clone()));
        (client, sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Option<(usize, Shareable)>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(shared: &Arc<Shared>, secure: &Secure) -> std::result::Result<Shareable, String> {
    let stream = secure.dial(&secure.h2, &shared.options.host).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| request::describe(&error))?;
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // An end that was announced is none that anybody notices; any other one is a failure, also between two requests.
        if let Err(error) = connection.await
            && !shared.is_stopping()
        {
            let now = shared.now();
            shared.ledger().fail(now, Lane::H2, "connection broke", request::describe(&error));
        }
    });
    Ok(sender)
}

fn lost(shared: &Arc<Shared>, lane: Lane, detail: String) {
    let now = shared.now();
    shared.ledger().lost(now, None, lane, "connect", detail);
}
