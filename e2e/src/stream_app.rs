//! Small servers of Python's standard library: one that says its version and echoes lines, in clear text or behind TLS of its own. Where it has a port of its
//! own for that, it speaks HTTP on the usual one.

use anyhow::Result;

/// The server: TLS if there is a certificate beside it.
const SERVER: &str = r#"
import http.server, json, os, socketserver, ssl, threading

version = open("version").read().strip()
tls = None
if os.path.exists("edge.pem"):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain("edge.pem", "edge.key")

class Handler(socketserver.StreamRequestHandler):
    def setup(self):
        if tls:
            self.request = tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self):
        self.wfile.write(version.encode() + b"\n")
        for line in self.rfile:
            self.wfile.write(version.encode() + b" " + line)

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    def handle_error(self, request, address):
        pass

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"version": version}).encode())

port = int(os.environ["PORT"])
if "TCP_PORT" in os.environ:
    pages = http.server.ThreadingHTTPServer(("0.0.0.0", port), Page)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    port = int(os.environ["TCP_PORT"])
print("listening on", port, flush=True)
Server(("0.0.0.0", port), Handler).serve_forever()
"#;

/// The files of such a server with this version.
#[must_use]
pub fn stream_app(version: &str) -> Vec<(String, String)> {
    vec![
        ("app.py".into(), SERVER.into()),
        ("version".into(), version.into()),
        ("Procfile".into(), "web: python3 app.py\n".into()),
    ]
}

/// The same with a certificate of its own for this name, which is the second value.
///
/// # Errors
/// If no certificate can be made.
pub fn sealed_app(version: &str, name: &str) -> Result<(Vec<(String, String)>, String)> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut files = stream_app(version);
    files.extend([("edge.pem".to_owned(), chain.clone()), ("edge.key".to_owned(), key)]);
    Ok((files, chain))
}
