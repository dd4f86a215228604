//! A small web application of Python's standard library that can be told to misbehave in every way that a health check must tell apart.

/// What the app does.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// Answers at once.
    Good,
    /// Answers after so many seconds.
    Late(f64),
    /// Exits with this code after so many seconds.
    Exits(i32, f64),
    /// Answers well, then exits with this code so many seconds after it began to listen.
    ExitsWhileServing(i32, f64),
    /// Listens on 127.0.0.1 only.
    LoopbackOnly,
    /// Listens on this port instead.
    WrongPort(u16),
    /// Answers with this status.
    Status(u16),
    /// Closes each connection without an answer.
    Empty,
    /// Begins an answer and never ends it.
    SlowBody,
    /// Fills its memory.
    OutOfMemory,
    /// Fills its disk, and exits when it is full.
    DiskFull,
}

/// The application itself; it reads `behaviour.json` beside it.
pub const PYTHON_APP: &str = r#"
import base64, hashlib, http.server, json, os, socketserver, struct, sys, threading, time

what = json.load(open("behaviour.json"))
kind, value, version = what["kind"], what.get("value"), what["version"]
port = int(os.environ["PORT"])
colour = os.environ.get("TEAL_COLOUR", "")
boot = os.urandom(6).hex()
recorded, news = [], threading.Condition()

def later(seconds, code):
    def end():
        time.sleep(seconds)
        print("ending with", code, flush=True)
        os._exit(code)
    threading.Thread(target=end, daemon=True).start()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def head(self, status, *headers):
        self.send_response(status)
        for name, text in (("x-version", version), ("x-colour", colour)) + headers:
            self.send_header(name, text)
        self.end_headers()

    def do_GET(self):
        if kind == "empty":
            self.close_connection = True
        elif self.path == "/events":
            self.events()
        elif self.path == "/ws":
            self.websocket()
        else:
            if self.path.startswith("/slow"):
                time.sleep(float(self.path.split("=")[1]))
            self.answer()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        with news:
            # The log outlives the process: whoever reads it knows what was recorded, however soon this version is replaced.
            print("recorded", boot, len(recorded), body.strip(), flush=True)
            recorded.append(body.strip())
            news.notify_all()
        self.answer()

    def answer(self):
        body = json.dumps({"version": version, "colour": colour, "random": os.urandom(8).hex(),
                           "time": time.time(), "pid": os.getpid(), "environment": dict(os.environ)}).encode()
        status = value if kind == "status" else 200
        headers = [("content-length", str(len(body) + (1000 if kind == "slow-body" else 0)))]
        if 300 <= status < 400:
            headers.append(("location", "/login"))
        self.head(status, *headers)
        self.wfile.write(body)
        if kind == "slow-body":
            self.wfile.flush()
            time.sleep(3600)

    def events(self):
        self.close_connection = True
        self.head(200, ("content-type", "text/event-stream"), ("connection", "close"))
        told = 0
        while True:
            with news:
                if told == len(recorded):
                    news.wait(2)
                fresh, begin = recorded[told:], told
            lines = ["data: recorded %s %d %s\n\n" % (boot, begin + n, one) for n, one in enumerate(fresh)]
            told += len(fresh)
            self.wfile.write("".join(lines or ["data: tick\n\n"]).encode())
            self.wfile.flush()

    def websocket(self):
        self.close_connection = True
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.head(101, ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept))
        while True:
            first, second = self.rfile.read(2)
            size = second & 127
            if size == 126:
                size = struct.unpack(">H", self.rfile.read(2))[0]
            mask, data = self.rfile.read(4), self.rfile.read(size)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
            opcode = first & 15
            if opcode == 8:
                self.frame(8, data)
                return
            if opcode == 9:
                self.frame(10, data)
            if opcode == 1:
                self.frame(1, version.encode() + b" " + data)

    def frame(self, opcode, data):
        size = bytes([len(data)]) if len(data) < 126 else bytes([126]) + struct.pack(">H", len(data))
        self.wfile.write(bytes([128 | opcode]) + size + data)
        self.wfile.flush()

    def log_message(self, *args):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256
    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "app", port
    def handle_error(self, request, address):
        pass

print("version", version, "starts as", kind, flush=True)
if kind == "late":
    time.sleep(value)
if kind == "exits":
    time.sleep(value[1])
    print("this app cannot go on", file=sys.stderr, flush=True)
    sys.exit(value[0])
if kind == "oom":
    hog = []
    while True:
        hog.append(bytearray(b"x") * (8 << 20))
if kind == "disk-full":
    with open("filler", "wb") as f:
        while True:
            f.write(b"x" * (1 << 20))
            f.flush()
            os.fsync(f.fileno())
address = "127.0.0.1" if kind == "loopback" else "0.0.0.0"
server = Server((address, value if kind == "wrong-port" else port), Handler)
print("listening", flush=True)
if kind == "exits-while-serving":
    later(value[1], value[0])
server.serve_forever()
"#;

/// The files of the application with this behaviour; `version` is what it answers with.
#[must_use]
pub fn python_app(version: &str, behaviour: &Behaviour) -> Vec<(String, String)> {
    let (kind, value) = match behaviour {
        Behaviour::Good => ("good", serde_json::Value::Null),
        Behaviour::Late(seconds) => ("late", (*seconds).into()),
        Behaviour::Exits(code, seconds) => ("exits", serde_json::json!([code, seconds])),
        Behaviour::ExitsWhileServing(code, seconds) => {
            ("exits-while-serving", serde_json::json!([code, seconds]))
        }
        Behaviour::LoopbackOnly => ("loopback", serde_json::Value::Null),
        Behaviour::WrongPort(port) => ("wrong-port", (*port).into()),
        Behaviour::Status(status) => ("status", (*status).into()),
        Behaviour::Empty => ("empty", serde_json::Value::Null),
        Behaviour::SlowBody => ("slow-body", serde_json::Value::Null),
        Behaviour::OutOfMemory => ("oom", serde_json::Value::Null),
        Behaviour::DiskFull => ("disk-full", serde_json::Value::Null),
    };
    let what = serde_json::json!({"version": version, "kind": kind, "value": value}).to_string();
    vec![
        ("app.py".into(), PYTHON_APP.into()),
        ("behaviour.json".into(), what),
        ("Procfile".into(), "web: python3 app.py\n".into()),
    ]
}
