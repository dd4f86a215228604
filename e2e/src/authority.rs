//! A certificate authority of the host's own: the real Pebble, which refuses good nonces at random, and a name server that knows every name.

use crate::wait::until;
use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/pebble";

/// The authority; it ends with this value.
pub struct Authority {
    child: Child,
    address: SocketAddr,
    trust: PathBuf,
}

impl Authority {
    /// Starts one that looks for proofs at these addresses of the loopback.
    ///
    /// # Errors
    /// If it is not installed or does not start; its words are in `pebble.log` of the directory.
    pub fn start(directory: &Path, http: SocketAddr, https: SocketAddr) -> Result<Self> {
        let trust = certificates(directory)?;
        let names = name_server()?;
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let config = serde_json::json!({"pebble": {
            "listenAddress": address, "managementListenAddress": "",
            "certificate": directory.join("pebble.pem"), "privateKey": directory.join("pebble.key"),
            "httpPort": http.port(), "tlsPort": https.port(), "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        let file = directory.join("pebble.json");
        fs::write(&file, config.to_string())?;
        let log = fs::File::create(directory.join("pebble.log"))?;
        let mut command = Command::new(PROGRAM);
        command.arg("-config").arg(file).args(["-dnsserver", &names.to_string()]);
        command.env("PEBBLE_WFE_NONCEREJECT", "15").env("PEBBLE_VA_NOSLEEP", "1");
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.with_context(|| format!("{PROGRAM}: `cargo xtask packages` installs it"))?;
        let mut this = Self { child, address, trust };
        let listens = until("Pebble listens", || {
            let ended = !this.child.try_wait().is_ok_and(|ended| ended.is_none());
            if ended { Some(false) } else { TcpStream::connect(address).ok().map(|_| true) }
        })?;
        if !listens {
            bail!("Pebble ended: {}", fs::read_to_string(directory.join("pebble.log"))?);
        }
        Ok(this)
    }

    /// The lines of `server.toml` by which a server gets its certificates here.
    #[must_use]
    pub fn configuration(&self, challenge: &str) -> String {
        format!(
            "\n[acme]\ndirectory = \"https://{}/dir\"\nterms_agreed = true\nchallenge = \"{challenge}\"\nca_file = {:?}\n",
            self.address, self.trust
        )
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority for Pebble's own certificate, and that.
fn certificates(directory: &Path) -> Result<PathBuf> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let trust = directory.join("pebble-ca.pem");
    fs::write(&trust, ca.self_signed(&ca_key)?.pem())?;
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    fs::write(directory.join("pebble.pem"), own.signed_by(&key, &Issuer::new(ca, ca_key))?.pem())?;
    fs::write(directory.join("pebble.key"), key.serialize_pem())?;
    Ok(trust)
}

/// Every name is on this machine: RFC 1035, the header, the question again, and one address if one of version 4 was asked for.
fn name_server() -> Result<SocketAddr> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let address = socket.local_addr()?;
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length]) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    Ok(address)
}

fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let end = question.iter().position(|byte| *byte == 0)? + 1;
    let question = question.get(..end + 4)?;
    let wants_address = question[end..end + 2] == [0, 1];
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(wants_address), 0, 0, 0, 0]);
    answer.extend(question);
    if wants_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
