//! `teal login`: remembers a server and a token, after the server has accepted it.

use crate::{
    client::Client,
    context::Context,
    credentials::{self, Credentials},
    error::{Error, Result},
};
use clap::Args;
use std::{io::IsTerminal, path::PathBuf};

/// The longest token that is read, in bytes.
const MAX_TOKEN: usize = 4096;

#[derive(Debug, Args)]
#[command(
    after_help = "The token is asked for, or read from standard input or --token-file; never from the command line.

Example:
  sudo cat /var/lib/teal/admin.token | teal login http://127.0.0.1:8600"
)]
pub(crate) struct LoginArgs {
    /// The server's address.
    #[arg(value_name = "URL")]
    server: String,
    /// Read the token from this file.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Checks the token with the server, then stores both.
pub(crate) fn run(context: &Context, args: LoginArgs) -> Result<()> {
    let url = credentials::normal(&args.server)?;
    let token = token(context, args.token_file.as_deref())?;
    let credentials = Credentials { url: url.clone(), token };
    let user = Client::new(credentials.clone()).whoami()?.user;
    let path = credentials::store(&credentials)?;
    let view = serde_json::json!({ "url": url, "user": user, "stored": path });
    context.out.show(&view, |_| format!("Logged in to {url} as {user}. Stored in {}.", path.display()))
}

fn token(context: &Context, file: Option<&std::path::Path>) -> Result<String> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Error::usage(format!("the token file {} cannot be read: {e}", path.display())))?,
        None if std::io::stdin().is_terminal() => hidden_line(context)?,
        None => {
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|e| Error::because("standard input cannot be read", e))?;
            line
        }
    };
    let token = text.trim();
    let legal = !token.is_empty() && token.len() <= MAX_TOKEN && token.chars().all(|c| c.is_ascii_graphic());
    if legal {
        return Ok(token.to_owned());
    }
    Err(Error::usage("that is no token: it is empty, too long, or has spaces in it")
        .hint("the server's first token is in the file `admin.token` of its data directory; `teal tokens create` makes more"))
}

/// One line from the terminal that is not shown while it is typed.
fn hidden_line(context: &Context) -> Result<String> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| Error::because("the terminal cannot be set", e))?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSANOW, &silent)
        .map_err(|e| Error::because("the terminal cannot be set", e))?;
    let line = context.out.ask("Token:");
    let restored = tcsetattr(&stdin, SetArg::TCSANOW, &before);
    context.out.say("");
    restored.map_err(|e| Error::because("the terminal cannot be set back (run `stty echo`)", e))?;
    line.ok_or_else(|| Error::usage("no token was given"))
}
