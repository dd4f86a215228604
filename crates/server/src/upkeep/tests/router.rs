//! A router that acknowledges whatever it is given and has no traffic.

use std::{collections::BTreeMap, path::Path};
use teal_core::control::{self, Reply, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// Answers on the control socket in this directory.
pub(super) fn serve(directory: &Path) {
    let listener = UnixListener::bind(directory.join("router.sock")).expect("listens");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream));
        }
    });
}

async fn converse(mut stream: UnixStream) -> std::io::Result<()> {
    loop {
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await?;
        let mut body = vec![0; control::frame_length(prefix).expect("short")];
        stream.read_exact(&mut body).await?;
        let reply = match control::decode::<Request>(&body).expect("a request") {
            Request::Hello { .. } => Reply::Hello {
                version: control::VERSION,
                capabilities: Vec::new(),
                generation: 0,
                http: Vec::new(),
                https: Vec::new(),
                pid: 1,
            },
            Request::Replace { table } => Reply::Acknowledged { generation: table.generation },
            Request::Change { generation, .. } => Reply::Acknowledged { generation },
            Request::Traffic => {
                let (environments, troubles) = (BTreeMap::new(), Vec::new());
                Reply::Traffic { at: crate::world::now(), environments, troubles }
            }
            _ => Reply::Acknowledged { generation: 0 },
        };
        let mut frame = Vec::new();
        control::encode(&reply, &mut frame).expect("encodes");
        stream.write_all(&frame).await?;
    }
}
