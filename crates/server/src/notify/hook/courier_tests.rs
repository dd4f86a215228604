//! The courier against receivers of every kind on loopback: honest, slow, endless, misleading.

use super::*;
use rcgen::{CertificateParams, KeyPair};
use teal_core::time::Time;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

fn delivery() -> QueuedMail {
    QueuedMail {
        id: "n-1".into(),
        recipient: "shop".into(),
        subject: "GIT_PUSH".into(),
        text: "{\"event\":\"GIT_PUSH\"}".into(),
        html: String::new(),
        hook: Some("h-1".into()),
        queued_at: Time(1),
        attempts: 0,
    }
}

fn target(url: String) -> HookTarget {
    HookTarget { url, secret: "teal_s3cret".into() }
}

fn courier(allow: &[&str]) -> Courier {
    let allow: Vec<String> = allow.iter().map(|range| (*range).to_owned()).collect();
    Courier::new(Ranges::new("10.177.0.0/16", &allow).expect("ranges"))
}

/// Reads a request's head and answers each with these bytes, then `more` for as long as it is taken; says what was asked.
async fn receiver(
    answer: &'static [u8],
    more: &'static [u8],
) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (asked, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&piece[..count]),
                }
            }
            let _ = asked.send(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(answer).await;
            while !more.is_empty() && stream.write_all(more).await.is_ok() {}
        }
    });
    (address, heard)
}

#[tokio::test]
async fn a_delivery_is_signed_named_and_taken_by_any_2xx() {
    let (address, mut heard) = receiver(b"HTTP/1.1 204 No Content\r\n\r\n", b"").await;
    let sent = courier(&["127.0.0.0/8"]).post(&target(format!("http://{address}/in?a=1")), &delivery()).await;
    assert!(matches!(&sent, Sent::Taken(said) if said.starts_with("204 ")), "{sent:?}");
    let request = heard.recv().await.expect("asked");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("POST /in?a=1 HTTP/1.1\r\n"), "{head}");
    let header =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).expect("there").to_owned();
    assert_eq!((header("teal-delivery: "), header("teal-event: ")), ("n-1".into(), "GIT_PUSH".into()));
    let signed = header("teal-signature: ");
    let seconds = signed.strip_prefix("t=").and_then(|rest| rest.split(',').next()).expect("a time");
    assert_eq!(signed, signature("teal_s3cret", seconds.parse().expect("seconds"), body));
    assert!(!head.contains("s3cret"));
}

#[tokio::test]
async fn whatever_else_is_answered_is_tried_again_and_redirects_are_not_followed() {
    let (elsewhere, mut followed) = receiver(b"HTTP/1.1 200 OK\r\n\r\n", b"").await;
    let moved = format!("HTTP/1.1 307 Moved\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let moved: &'static str = moved.leak();
    for (answer, part) in [
        (moved.as_bytes(), "redirects are not followed"),
        (b"HTTP/1.1 500 No\r\n\r\n", "500 after"),
        (b"HTTP/1.1 404 No\r\n\r\n", "404 after"),
        (b"SSH-2.0-x\r\n", "no answer"),
        (b"", "no answer"),
    ] {
        let (address, _heard) = receiver(answer, b"").await;
        let sent = courier(&["127.0.0.0/8"]).post(&target(format!("http://{address}/")), &delivery()).await;
        assert!(matches!(&sent, Sent::Later(why) if why.contains(part)), "{part}: {sent:?}");
    }
    assert!(followed.try_recv().is_err(), "nobody came");
}

#[tokio::test]
async fn endless_answers_cost_a_head_and_no_more() {
    let courier = courier(&["127.0.0.0/8"]);
    // A body without end is not read; a head without end is given up.
    let (address, _heard) = receiver(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65_536]).await;
    let sent = courier.post(&target(format!("http://{address}/")), &delivery()).await;
    assert!(matches!(&sent, Sent::Taken(_)), "{sent:?}");
    let (address, _heard) = receiver(b"HTTP/1.1 200 OK\r\nx: ", &[b'x'; 65_536]).await;
    let sent = courier.post(&target(format!("http://{address}/")), &delivery()).await;
    assert!(matches!(&sent, Sent::Later(why) if why.contains("no answer")), "{sent:?}");
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    // The kernel accepts; nobody ever reads.
    let courier = Courier { patience: Duration::from_millis(100), ..courier(&["127.0.0.0/8"]) };
    let sent = courier.post(&target(format!("http://{address}/")), &delivery()).await;
    assert!(matches!(&sent, Sent::Later(why) if why.contains("no answer within")), "{sent:?}");
}

#[tokio::test]
async fn what_is_not_the_public_internet_is_never_connected() {
    let (address, mut heard) = receiver(b"HTTP/1.1 200 OK\r\n\r\n", b"").await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", address.port());
        let sent = courier(&["10.0.0.0/8"]).post(&target(url), &delivery()).await;
        assert!(matches!(&sent, Sent::Later(why) if why.contains("webhook_allow")), "{host}: {sent:?}");
    }
    assert!(heard.try_recv().is_err(), "nobody came");
}

#[tokio::test]
async fn over_tls_the_receiver_has_to_be_who_it_is_said_to_be() {
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["localhost".to_owned()])
        .expect("legal")
        .self_signed(&key)
        .expect("signed");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let private = key.serialize_der().try_into().expect("a key");
    let served = builder
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)
        .expect("legal");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(served));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 202 OK\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    let mut courier = courier(&["127.0.0.0/8", "::1"]);
    let url = format!("https://localhost:{port}/");
    let sent = courier.post(&target(url.clone()), &delivery()).await;
    assert!(matches!(&sent, Sent::Later(why) if why.contains("TLS failed")), "{sent:?}");
    courier.more = vec![own.der().clone()];
    courier.tls = OnceCell::new();
    let sent = courier.post(&target(url), &delivery()).await;
    assert!(matches!(&sent, Sent::Taken(said) if said.starts_with("202 ")), "{sent:?}");
}
