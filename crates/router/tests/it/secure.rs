//! TLS and HTTP/2 towards clients: certificates by name, proofs for authorities, and the same forwarding behind all of it.

use crate::{
    app::App,
    client::Client,
    rig::{Rig, nowhere, options, route},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Version, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use teal_core::{
    certificate::{Certificate, PrivateKey, Proof},
    control::{Reply, Request as Order},
};
use teal_router::Router;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

/// Certificates of one test, all of which its clients trust.
#[derive(Default)]
pub(crate) struct Trust(Vec<Certificate>);

impl Trust {
    pub(crate) fn make(&mut self, names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names.clone()).expect("makes");
        let key = PrivateKey::new(made.signing_key.serialize_pem());
        let certificate = Certificate { names, chain: made.cert.pem(), key };
        self.0.push(certificate.clone());
        certificate
    }

    pub(crate) fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        self.client_of(rustls::DEFAULT_VERSIONS, protocols)
    }

    fn client_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            let der = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("a certificate");
            roots.add(der).expect("adds");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let mut config = builder.expect("legal").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub(crate) fn secure() -> Rig {
    Rig::with(|options| options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))])
}

pub(crate) fn https(rig: &Rig) -> SocketAddr {
    rig.router.as_ref().expect("runs").https()[0]
}

pub(crate) fn give(rig: &mut Rig, certificates: Vec<Certificate>, proofs: Vec<Proof>) {
    let reply = rig.control.ask(&Order::Certificates { certificates, proofs });
    assert_eq!(reply, Reply::Acknowledged { generation: rig.control.generation });
}

/// A blocking client's connection; the handshake is made with the first byte.
fn dial(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("legal"), stream)
}

pub(crate) fn get(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> std::io::Result<String> {
    let mut stream = dial(address, config, name);
    write!(stream, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn each_name_gets_its_certificate_and_a_new_one_at_once() {
    let (mut rig, app) = (secure(), App::version("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut trust = Trust::default();
    let (own, wildcard) = (trust.make(&["shop.test"]), trust.make(&["*.shop.test"]));
    give(&mut rig, vec![own, wildcard], Vec::new());
    let client = trust.client(&[]);
    // `read_to_string` ends well only if the end was said: nothing was cut short.
    let answer = get(https(&rig), &client, "shop.test").expect("answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("one"), "{answer}");
    assert!(get(https(&rig), &client, "a.shop.test").is_ok());
    assert!(get(https(&rig), &client, "other.test").is_err(), "no certificate, no handshake");
    let head = app.seen.heads.lock().expect("sound")[0].clone();
    assert!(head.contains("x-forwarded-proto: https\n") && head.contains(";proto=https\n"), "{head}");

    let mut newer = Trust::default();
    let renewed = newer.make(&["shop.test"]);
    give(&mut rig, vec![renewed], Vec::new());
    assert!(get(https(&rig), &newer.client(&[]), "shop.test").is_ok());
    // A new client: one that was there before would resume its session, and look at no certificate.
    assert!(get(https(&rig), &trust.client(&[]), "shop.test").is_err(), "the old one is not used any more");
}

#[test]
fn a_client_that_comes_back_resumes_its_session() {
    let (mut rig, app) = (secure(), App::version("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    give(&mut rig, vec![own], Vec::new());
    for version in rustls::DEFAULT_VERSIONS {
        let client = trust.client_of(&[version], &[]);
        let handshake = || {
            let mut stream = dial(https(&rig), &client, "shop.test");
            write!(stream, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").expect("sends");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("answers");
            (stream.conn.protocol_version(), stream.conn.handshake_kind())
        };
        assert_eq!(handshake(), (Some(version.version), Some(HandshakeKind::Full)));
        for _ in 0..4 {
            assert_eq!(handshake(), (Some(version.version), Some(HandshakeKind::Resumed)));
        }
    }
}

#[test]
fn certificates_survive_a_restart_without_a_server() {
    let (mut rig, app) = (secure(), App::version("one"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    give(&mut rig, vec![own], Vec::new());
    rig.router.take().expect("runs").stop();
    let mut again = options(rig.directory.path());
    again.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    rig.router = Some(Router::start(again).expect("starts"));
    assert!(get(https(&rig), &trust.client(&[]), "shop.test").is_ok());
}

#[test]
fn proofs_are_shown_to_authorities_and_to_nobody_else() {
    let (mut rig, app) = (secure(), App::version("the app's own"));
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut trust = Trust::default();
    let (own, proving) = (trust.make(&["shop.test"]), trust.make(&["new.test"]));
    let proofs = vec![
        Proof::Http { domain: "shop.test".into(), token: "tok".into(), answer: "tok.print".into() },
        Proof::Alpn { domain: "new.test".into(), chain: proving.chain, key: proving.key },
    ];
    give(&mut rig, vec![own], proofs);
    let mut plain = Client::connect(rig.http()).expect("connects");
    let body = |path: &str, plain: &mut Client| plain.get(path).expect("answers").text().to_owned();
    assert_eq!(body("/.well-known/acme-challenge/tok", &mut plain).trim(), "tok.print");
    assert_eq!(body("/.well-known/acme-challenge/other", &mut plain), "the app's own");

    let mut authority = dial(https(&rig), &trust.client(&["acme-tls/1"]), "new.test");
    authority.flush().expect("shakes hands");
    while authority.conn.is_handshaking() {
        authority.conn.complete_io(&mut authority.sock).expect("shakes hands");
    }
    assert_eq!(authority.conn.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert!(
        get(https(&rig), &trust.client(&["h2", "http/1.1"]), "new.test").is_err(),
        "a proof is no certificate"
    );
}

#[test]
fn an_app_can_be_had_by_tls_only_and_by_every_name_of_its_wildcard() {
    let (mut rig, app) = (secure(), App::version("one"));
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    let proof = Proof::Http { domain: "shop.test".into(), token: "tok".into(), answer: "tok.print".into() };
    give(&mut rig, vec![own], vec![proof]);
    let mut forced = route("e-1", &[app.address]);
    forced.force_https = true;
    forced.domains.push("*.shop.test".into());
    rig.control.replace(vec![forced]);
    let mut plain = Client::connect(rig.http()).expect("connects");
    let answer = plain.get("/path?q").expect("answers");
    assert_eq!((answer.status, answer.headers["location"].as_str()), (308, "https://shop.test/path?q"));
    assert_eq!(plain.get("/.well-known/acme-challenge/tok").expect("answers").text().trim(), "tok.print");
    let tls = get(https(&rig), &trust.client(&[]), "shop.test").expect("answers");
    assert!(tls.ends_with("one"), "{tls}");
    for (host, status) in
        [("a.shop.test", 308), ("A.SHOP.test", 308), ("a.b.shop.test", 404), ("hop.test", 404)]
    {
        let mut client = Client::connect(rig.http()).expect("connects");
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).expect("sends");
        assert_eq!(client.answer().expect("answers").status, status, "{host}");
    }
}

#[test]
fn large_bodies_and_upgrades_go_through_tls() {
    let mut rig = secure();
    let app = App::answering(|asked| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", asked.body.len());
        asked.stream.send(head.as_bytes())?;
        asked.stream.send(&asked.body)
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    give(&mut rig, vec![own], Vec::new());
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut stream = dial(https(&rig), &trust.client(&["http/1.1"]), "shop.test");
    for round in 0..3 {
        write!(stream, "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {}\r\n\r\n", body.len())
            .expect("sends");
        stream.write_all(&body).expect("sends");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("reads");
            head.push(byte[0]);
        }
        let mut back = vec![0; body.len()];
        stream.read_exact(&mut back).expect("reads");
        assert!(back == body, "round {round}");
    }
}

#[test]
fn a_client_that_never_shakes_hands_is_let_go() {
    let rig = Rig::with(|options| {
        options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        options.limits.head = Duration::from_millis(200);
    });
    let mut silent = TcpStream::connect(https(&rig)).expect("connects");
    silent.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
    assert_eq!(silent.read(&mut [0]).expect("ends"), 0);
    let mut odd = TcpStream::connect(https(&rig)).expect("connects");
    odd.set_read_timeout(Some(Duration::from_secs(20))).expect("sets");
    odd.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").expect("sends");
    let mut answer = Vec::new();
    let _ = odd.read_to_end(&mut answer);
    assert_ne!(answer.get(..5), Some(&b"HTTP/"[..]), "no plain answer on a TLS port");
}

pub(crate) type H2<B = Full<Bytes>> = hyper::client::conn::http2::SendRequest<B>;

pub(crate) async fn h2(address: SocketAddr, trust: &Trust) -> H2 {
    h2_with(address, trust.client(&["h2"])).await
}

/// With a body of any kind.
pub(crate) async fn h2_with<B>(address: SocketAddr, config: Arc<ClientConfig>) -> H2<B>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    let name = ServerName::try_from("shop.test").expect("a name");
    let stream: TlsStream<_> = TlsConnector::from(config).connect(name, stream).await.expect("shakes hands");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("speaks");
    tokio::spawn(async move { connection.await.is_ok() });
    sender
}

pub(crate) fn request(method: &str, body: &[u8]) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri("https://shop.test/path?q").version(Version::HTTP_2);
    let request = request.header("cookie", "a=1").header("cookie", "b=2");
    request.body(Full::new(Bytes::copy_from_slice(body))).expect("legal")
}

pub(crate) async fn ask(sender: &H2, request: Request<Full<Bytes>>) -> (u16, Vec<u8>) {
    let response = sender.clone().send_request(request).await.expect("answers");
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.expect("whole").to_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_goes_the_same_way_as_everybody() {
    let mut rig = secure();
    let app = App::answering(|asked| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n",
            asked.body.len()
        );
        asked.stream.send(head.as_bytes())?;
        asked.stream.send(&asked.body)
    });
    rig.control.replace(vec![route("e-1", &[app.address])]);
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    give(&mut rig, vec![own], Vec::new());
    let sender = h2(https(&rig), &trust).await;
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 253) as u8).collect();
    let many = (0..40).map(|number| {
        let (sender, body) = (sender.clone(), body[..number * 25_000].to_vec());
        tokio::spawn(async move { (ask(&sender, request("POST", &body)).await, body) })
    });
    for asked in many.collect::<Vec<_>>() {
        let ((status, back), body) = asked.await.expect("no panic");
        assert!(status == 200 && back == body, "{status}, {} of {} bytes", back.len(), body.len());
    }
    let head = app.seen.heads.lock().expect("sound")[0].clone();
    assert!(head.starts_with("POST /path?q HTTP/1.1\nhost: shop.test\n"), "{head}");
    assert!(head.contains("cookie: a=1; b=2\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: https\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_seen_by_the_next_request_on_the_same_http2_connection() {
    let mut rig = secure();
    let (one, two) = (App::version("one"), App::version("two"));
    rig.control.replace(vec![route("e-1", &[one.address])]);
    let mut trust = Trust::default();
    let own = trust.make(&["shop.test"]);
    give(&mut rig, vec![own], Vec::new());
    let sender = h2(https(&rig), &trust).await;
    for flip in 0..100 {
        let (environment, app, says) =
            if flip % 2 == 0 { ("e-1", &one, "one") } else { ("e-2", &two, "two") };
        rig.control.change(Some(route(environment, &[app.address])));
        let (status, body) = ask(&sender, request("GET", b"")).await;
        assert_eq!((status, body.as_slice()), (200, says.as_bytes()), "flip {flip}");
    }
    rig.control.change(Some(route("e-3", &[nowhere()])));
    assert_eq!(ask(&sender, request("GET", b"")).await.0, 502);
    rig.control.change(None);
    assert_eq!(ask(&sender, request("GET", b"")).await.0, 404);
}
