//! The router of the tests: takes certificates and proofs over the control socket as the real one does, and answers the authority with them.

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use teal_core::{
    certificate::{Certificate, Proof},
    control::{self, Reply, Request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Notify, watch},
};
use tokio_rustls::TlsAcceptor;

/// What it was told last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) proofs: Vec<Proof>,
    /// How often it was told.
    pub(crate) times: usize,
}

pub(crate) struct Edge {
    pub(crate) control: PathBuf,
    pub(crate) http: u16,
    pub(crate) tls: u16,
    pub(crate) told: Arc<watch::Sender<Told>>,
    /// What it can do; a router of before can less.
    pub(crate) capabilities: Arc<Mutex<Vec<String>>>,
    /// Ends all connections.
    pub(crate) hang_up: Arc<Notify>,
}

impl Edge {
    pub(crate) async fn start(directory: &Path) -> Self {
        let control = directory.join("router.sock");
        let told: Arc<watch::Sender<Told>> = Arc::default();
        let capabilities = Arc::new(Mutex::new(vec!["certificates".to_owned()]));
        let listener = UnixListener::bind(&control).expect("listens");
        let hang_up: Arc<Notify> = Arc::default();
        tokio::spawn(serve_control(
            listener,
            Arc::clone(&told),
            Arc::clone(&capabilities),
            Arc::clone(&hang_up),
        ));
        let http = TcpListener::bind(("127.0.0.1", 0)).await.expect("listens");
        let tls = TcpListener::bind(("127.0.0.1", 0)).await.expect("listens");
        let port = |listener: &TcpListener| listener.local_addr().expect("address").port();
        let edge = Self {
            control,
            http: port(&http),
            tls: port(&tls),
            told: Arc::clone(&told),
            capabilities,
            hang_up,
        };
        tokio::spawn(serve_http(http, Arc::clone(&told)));
        tokio::spawn(serve_tls(tls, told));
        edge
    }
}

async fn serve_control(
    listener: UnixListener,
    told: Arc<watch::Sender<Told>>,
    capabilities: Arc<Mutex<Vec<String>>>,
    hang_up: Arc<Notify>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (told, capabilities, hang_up) =
            (Arc::clone(&told), Arc::clone(&capabilities), Arc::clone(&hang_up));
        tokio::spawn(async move {
            tokio::select! {
                // It ends when the server goes, which is what is tried here.
                _ = converse(stream, &told, &capabilities) => {}
                () = hang_up.notified() => {}
            }
        });
    }
}

async fn converse(
    mut stream: UnixStream,
    told: &watch::Sender<Told>,
    capabilities: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    loop {
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await?;
        let mut body = vec![0; control::frame_length(prefix).expect("short")];
        stream.read_exact(&mut body).await?;
        let reply = match control::decode::<Request>(&body).expect("a request") {
            Request::Hello { .. } => Reply::Hello {
                version: control::VERSION,
                capabilities: capabilities.lock().expect("lock").clone(),
                generation: 0,
                http: Vec::new(),
                https: Vec::new(),
                pid: std::process::id(),
            },
            Request::Certificates { certificates, proofs } => {
                told.send_modify(|told| {
                    *told = Told { certificates, proofs, times: told.times + 1 };
                });
                Reply::Acknowledged { generation: 1 }
            }
            _ => Reply::Acknowledged { generation: 1 },
        };
        let mut frame = Vec::new();
        control::encode(&reply, &mut frame).expect("short");
        stream.write_all(&frame).await?;
    }
}

async fn serve_http(listener: TcpListener, told: Arc<watch::Sender<Told>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            let _ = answer(stream, &told).await;
        });
    }
}

async fn answer(mut stream: TcpStream, told: &watch::Sender<Told>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let found = told.borrow().proofs.iter().find_map(|proof| match proof {
        Proof::Http { domain, token, answer } => {
            let path = format!("get /.well-known/acme-challenge/{} ", token.to_lowercase());
            let host = format!("\r\nhost: {domain}");
            (head.starts_with(&path) && head.contains(&host)).then(|| answer.clone())
        }
        Proof::Alpn { .. } => None,
    });
    let (status, body) = found.map_or(("404 Not Found", String::new()), |answer| ("200 OK", answer));
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await
}

#[derive(Debug)]
struct Proofs(Arc<watch::Sender<Told>>);

impl ResolvesServerCert for Proofs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_owned();
        hello.alpn()?.find(|protocol| *protocol == b"acme-tls/1")?;
        let told = self.0.borrow();
        let (chain, key) = told.proofs.iter().find_map(|proof| match proof {
            Proof::Alpn { domain, chain, key } if *domain == name => Some((chain, key)),
            _ => None,
        })?;
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).ok()?];
        let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).ok()?;
        // Not `from_der`: it looks at the certificate and stumbles over the critical extension that the proof is.
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).ok()?;
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }
}

async fn serve_tls(listener: TcpListener, told: Arc<watch::Sender<Told>>) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth();
    let mut config = config.with_cert_resolver(Arc::new(Proofs(told)));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                // The authority looks at the certificate and closes.
                let _ = stream.read_u8().await;
            }
        });
    }
}
