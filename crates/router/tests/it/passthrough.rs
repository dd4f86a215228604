//! Apps that end TLS themselves: the handshake tells whose a connection is, and goes on to the app as it came.

use crate::{
    app::App,
    client::{Client, get},
    rig::{Rig, route, until},
    secure::{Trust, https, secure},
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    time::Duration,
};
use teal_core::{certificate::Certificate, route::AppRoute};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// An app that ends TLS with this certificate, says its version and echoes.
fn ending(version: &str, certificate: &Certificate) -> App {
    let chain = CertificateDer::from_pem_slice(certificate.chain.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.reveal().as_bytes()).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("legal").with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(vec![chain], key).expect("fits"));
    let version = version.to_owned();
    App::raw(Arc::default(), move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("legal");
        let mut stream = StreamOwned::new(connection, stream);
        let mut echo = || {
            stream.write_all(version.as_bytes())?;
            let mut byte = [0];
            while stream.read(&mut byte)? > 0 {
                stream.write_all(&byte)?;
            }
            Ok::<_, io::Error>(())
        };
        // A client may go at any time.
        let _ = echo();
    })
}

fn passed(environment: &str, address: SocketAddr) -> AppRoute {
    let domains = vec!["db.test".into(), "*.db.test".into()];
    AppRoute { name: "db".into(), domains, tls_passthrough: true, ..route(environment, &[address]) }
}

/// A socket whose bytes leave one by one.
struct Dripping(TcpStream);

impl Read for Dripping {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }
}

impl Write for Dripping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sets");
    stream.set_nodelay(true).expect("sets");
    stream
}

fn tls<S: Read + Write>(
    stream: S,
    config: &Arc<ClientConfig>,
    name: &str,
) -> StreamOwned<ClientConnection, S> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("legal"), stream)
}

fn hear(stream: &mut impl Read, count: usize) -> io::Result<String> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes)?;
    Ok(String::from_utf8(bytes).expect("text"))
}

#[test]
fn the_app_ends_tls_for_its_names_and_the_router_for_all_others() {
    let (mut rig, web) = (secure(), App::version("web"));
    let (mut ours, mut theirs) = (Trust::default(), Trust::default());
    let one = ending("1", &theirs.make(&["db.test", "a.db.test"]));
    let two = ending("2", &theirs.make(&["db.test"]));
    rig.control.replace(vec![passed("e-1", one.address), route("e-web", &[web.address])]);
    let own = ours.make(&["shop.test", "db.test"]);
    crate::secure::give(&mut rig, vec![own], Vec::new());
    let theirs = theirs.client(&["postgresql"]);
    let address = https(&rig);
    let mut open = tls(connect(address), &theirs, "db.test");
    assert_eq!(hear(&mut open, 1).expect("their certificate"), "1");
    assert_eq!(hear(&mut tls(connect(address), &theirs, "A.db.test"), 1).expect("a wildcard"), "1");
    until("the short one has ended", || rig.control.counts("e-1").upgraded == 1);
    assert_eq!(rig.control.counts("e-1").requests, 2);

    let answer = crate::secure::get(address, &ours.client(&[]), "shop.test").expect("our certificate");
    assert!(answer.ends_with("web"), "{answer}");
    assert!(hear(&mut tls(connect(address), &theirs, "other.test"), 1).is_err(), "nobody's name");

    rig.control.change(Some(passed("e-2", two.address)));
    open.write_all(b"x").expect("writes");
    assert_eq!(hear(&mut open, 1).expect("the old stream"), "x");
    assert_eq!(hear(&mut tls(connect(address), &theirs, "db.test"), 1).expect("the new version"), "2");
    rig.control.change(Some(AppRoute { tls_passthrough: false, ..passed("e-2", two.address) }));
    let refused = hear(&mut tls(connect(address), &theirs, "db.test"), 1).expect_err("not theirs any more");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
}

#[test]
fn a_hello_may_come_byte_by_byte_and_arrives_unchanged() {
    let mut rig = secure();
    let mut theirs = Trust::default();
    let app = ending("1", &theirs.make(&["db.test"]));
    rig.control.replace(vec![passed("e-1", app.address)]);
    let mut slow = tls(Dripping(connect(https(&rig))), &theirs.client(&[]), "db.test");
    assert_eq!(hear(&mut slow, 1).expect("shakes hands"), "1");

    let (said, heard) = mpsc::channel();
    let said = std::sync::Mutex::new(said);
    let recorder = App::raw(Arc::default(), move |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the end");
        said.lock().expect("sound").send(bytes).expect("the test waits");
    });
    rig.control.change(Some(passed("e-2", recorder.address)));
    let name = ServerName::try_from("db.test").expect("a name");
    let mut client = ClientConnection::new(theirs.client(&["x"]), name).expect("legal");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("writes");
    hello.extend_from_slice(b"and what came with it");
    let mut stream = connect(https(&rig));
    stream.write_all(&hello).expect("writes");
    stream.shutdown(Shutdown::Write).expect("shuts");
    assert_eq!(heard.recv_timeout(Duration::from_secs(30)).expect("heard"), hello);
}

#[test]
fn what_is_no_hello_ends_and_costs_nobody_else_anything() {
    let mut rig = Rig::with(|options| {
        options.https = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        options.limits.head = Duration::from_millis(500);
    });
    let mut theirs = Trust::default();
    let app = ending("1", &theirs.make(&["db.test"]));
    rig.control.replace(vec![passed("e-1", app.address)]);
    let address = https(&rig);
    let record = |length: u16, rest: &[u8]| {
        let [high, low] = length.to_be_bytes();
        [&[22, 3, 1, high, low], rest].concat()
    };
    let large = record(16 * 1024, &[&[1, 0, 0x40, 0], [0; 40_000].as_slice()].concat());
    let over = record(16 * 1024, &[1, 0xff, 0xff, 0xff]);
    for (odd, ends) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), false),
        (large, false),
        (over, false),
        // The beginning of a hello, and then the end, or silence.
        (record(300, &[1, 0, 1, 0x28, 3, 3]), true),
        (record(300, &[1, 0, 1, 0x28, 3, 3]), false),
    ] {
        let mut stream = connect(address);
        // It may be refused before all of it is sent.
        let _ = stream.write_all(&odd);
        if ends {
            stream.shutdown(Shutdown::Write).expect("shuts");
        }
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it ends"),
        }
    }
    assert_eq!(app.seen.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert_eq!(hear(&mut tls(connect(address), &theirs.client(&[]), "db.test"), 1).expect("works"), "1");
}

#[test]
fn requests_in_clear_text_are_sent_to_tls_and_by_our_tls_to_nobody() {
    let (mut rig, web) = (secure(), App::version("web"));
    let mut passed = passed("e-1", web.address);
    passed.domains = vec!["shop.test".into()];
    let mut other = route("e-2", &[web.address]);
    other.domains = vec!["web.test".into()];
    rig.control.replace(vec![passed, other]);
    let answer = get(rig.http(), "/a?b");
    assert_eq!((answer.status, answer.headers["location"].as_str()), (308, "https://shop.test/a?b"));
    let mut client = Client::connect(rig.http()).expect("connects");
    assert_eq!(client.get("/").expect("an answer").status, 308);

    let mut ours = Trust::default();
    let own = ours.make(&["web.test"]);
    crate::secure::give(&mut rig, vec![own], Vec::new());
    // Asks for `shop.test` on a connection that is for `web.test`.
    let answer = crate::secure::get(https(&rig), &ours.client(&[]), "web.test").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{answer}");
}
