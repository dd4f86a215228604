//! Over a real socket.

use super::*;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{collections::BTreeMap, fs};

struct Site {
    address: SocketAddr,
    #[allow(dead_code, reason = "removed when the test ends")]
    directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Site {
    async fn with(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, bytes) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, bytes).expect("written");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let root = directory.path().to_owned();
        tokio::spawn(async move { serve(listener, &root, std::future::pending()).await });
        Self { address, directory }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let mut request = http::Request::builder().uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = client.request(request.body(Empty::new()).expect("a request")).await.expect("an answer");
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()))
            .collect();
        let body = answer.into_body().collect().await.expect("a body").to_bytes().to_vec();
        Answer { status, headers, body }
    }
}

#[tokio::test]
async fn pages_have_tags_ranges_and_types() {
    let site = Site::with(&[("index.html", b"<h1>Hi</h1>"), ("app.css", b"0123456789")]).await;
    let page = site.get("/", &[]).await;
    assert_eq!((page.status, page.body.as_slice()), (200, b"<h1>Hi</h1>".as_slice()));
    assert!(page.headers["content-type"].starts_with("text/html"));
    let again = site.get("/", &[("if-none-match", &page.headers["etag"])]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let part = site.get("/app.css", &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, b"234".as_slice()));
    assert_eq!(part.headers["content-range"], "bytes 2-4/10");
    assert_eq!(site.get("/app.css", &[("range", "bytes=99-")]).await.status, 416);
}

#[tokio::test]
async fn what_is_not_there_is_a_404_with_the_sites_own_page() {
    let site = Site::with(&[("index.html", b"x"), ("404.html", b"<p>lost</p>")]).await;
    let missing = site.get("/no/such", &[("range", "bytes=0-1"), ("if-none-match", "*")]).await;
    assert_eq!((missing.status, missing.body.as_slice()), (404, b"<p>lost</p>".as_slice()));
    assert!(!missing.headers.contains_key("etag"));
    let site = Site::with(&[("index.html", b"x")]).await;
    assert_eq!(site.get("/no", &[]).await.status, 404);
}

#[tokio::test]
async fn hidden_files_stay_hidden() {
    let site =
        Site::with(&[(".env", b"SECRET=1"), ("a/.git/config", b"x"), (".well-known/ok", b"yes")]).await;
    for path in ["/.env", "/%2eenv", "/%2Eenv", "/a/.git/config", "/a/../.env"] {
        let answer = site.get(path, &[]).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(site.get("/.well-known/ok", &[]).await.body, b"yes");
}

#[tokio::test]
async fn text_is_compressed_and_its_tag_is_weak_then() {
    let text = "all work and no play ".repeat(500);
    let site =
        Site::with(&[("big.txt", text.as_bytes()), ("pre.js", b"plain"), ("pre.js.gz", b"zipped")]).await;
    let zipped = site.get("/big.txt", &[("accept-encoding", "gzip")]).await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.headers["etag"].starts_with("W/") && zipped.body.len() < text.len() / 10);
    let again = [("accept-encoding", "gzip"), ("if-none-match", zipped.headers["etag"].as_str())];
    assert_eq!(site.get("/big.txt", &again).await.status, 304);
    let plain = site.get("/big.txt", &[]).await;
    assert!(!plain.headers.contains_key("content-encoding") && !plain.headers["etag"].starts_with("W/"));
    assert_eq!(site.get("/pre.js", &[("accept-encoding", "gzip")]).await.body, b"zipped");
}
