//! A small web app: a page that says what runs. `PORT` says where it listens.

use std::{env, error::Error};
use tiny_http::{Header, Response, Server};

const VERSION: &str = "1.0.0";

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let colour = env::var("TEAL_COLOUR").unwrap_or_default();
    let server = Server::http(format!("0.0.0.0:{port}"))?;
    println!("listening on port {port}");
    let header = Header::from_bytes("x-version", VERSION).map_err(|()| "no header")?;
    for request in server.incoming_requests() {
        let text = format!("Hello from Rust, version {VERSION}, in the place called {colour}\n");
        let _ = request.respond(Response::from_string(text).with_header(header.clone()));
    }
    Ok(())
}
