//! `teal keys`: SSH public keys that may push.

use crate::{
    context::Context,
    error::{Error, Result},
    out::harmless,
    text,
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// The longest public key file that is read, in bytes.
const MAX_KEY: usize = 16 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List them.
    #[command(after_help = "Example:\n  teal keys list")]
    List,
    /// Register a public key.
    Add(AddArgs),
    /// Remove a key.
    #[command(after_help = "Example:\n  teal keys remove SHA256:0Zc…")]
    Remove {
        /// Its fingerprint, as `teal keys list` shows it.
        #[arg(value_name = "FINGERPRINT")]
        fingerprint: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  teal keys add laptop ~/.ssh/id_ed25519.pub")]
pub(crate) struct AddArgs {
    /// What you call it.
    #[arg(value_name = "NAME")]
    name: String,
    /// The public key's file [default: ~/.ssh/id_ed25519.pub].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(context: &Context, command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::List => {
            let keys = context.client()?.keys()?;
            let rows: Vec<_> = keys
                .iter()
                .map(|k| vec![harmless(&k.fingerprint), harmless(&k.user), harmless(&k.name)])
                .collect();
            context.out.show(&keys, |_| text::table(&["FINGERPRINT", "USER", "NAME"], &rows))
        }
        KeysCommand::Add(args) => {
            let text = read(&args.file.map_or_else(default, Ok)?)?;
            let key = context.client()?.add_key(&args.name, &text)?;
            context.out.show(&key, |_| {
                format!("{} may push as {}.", harmless(&key.fingerprint), harmless(&key.user))
            })
        }
        KeysCommand::Remove { fingerprint } => {
            context.client()?.remove_key(&fingerprint)?;
            let view = serde_json::json!({ "removed": fingerprint });
            context.out.show(&view, |_| format!("{fingerprint} may no longer push."))
        }
    }
}

fn default() -> Result<PathBuf> {
    let home =
        std::env::var_os("HOME").ok_or_else(|| Error::usage("HOME is not set: name the key's file"))?;
    Ok(PathBuf::from(home).join(".ssh/id_ed25519.pub"))
}

/// The key's text. A private key given by mistake is refused here, before it leaves the machine.
fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::usage(format!("{} cannot be read: {e}", path.display()))
            .hint("name the public key's file, or make one with `ssh-keygen -t ed25519`")
    })?;
    if text.contains("PRIVATE KEY") {
        return Err(Error::usage(format!("{} is a private key: it was not sent", path.display()))
            .hint("give the file that ends in .pub"));
    }
    if text.len() > MAX_KEY {
        return Err(Error::usage(format!("{} is too long for a public key", path.display())));
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_never_leaves() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("id");
        std::fs::write(&path, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").expect("writes");
        assert!(read(&path).expect_err("refused").message.contains("private key"));
    }
}
