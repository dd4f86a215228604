//! The hook process: `teal __hook <name>`, run by git inside a push. It hands what git says to the server over the push's own socket
//! and prints what comes back, line by line; the verdict is git's report. It decides nothing, knows no store, and needs no tokio.

use super::{
    pktline,
    wire::{self, Hook, Reply, Request, Update},
};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::Path,
    process::{Command, ExitCode, Stdio},
};

/// `teal __hook <name>`: what git runs. Standard output belongs to git's protocol, standard error to the user.
#[must_use]
pub fn hook_main(args: &[String]) -> ExitCode {
    let mut errors = io::stderr();
    let outcome = match (args.first(), std::env::var_os(wire::SOCKET)) {
        (Some(name), Some(socket)) => {
            run(name, Path::new(&socket), &mut io::stdin().lock(), &mut io::stdout(), &mut errors)
        }
        _ => Err(io::Error::other("this command is run by git inside a push, never by hand")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell if this fails, too.
            let _ = writeln!(errors, "Teal could not take part in this push: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The hook of this name over the given streams; `false`: the push is refused.
///
/// # Errors
/// If git or the server stops talking before the push was handed over.
pub fn run(
    name: &str,
    socket: &Path,
    input: &mut impl Read,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<bool> {
    match name {
        "pre-receive" => pre_receive(socket, input, errors),
        "proc-receive" => proc_receive(socket, input, output, errors).map(|()| true),
        _ => Err(io::Error::other(format!("there is no hook named {name}"))),
    }
}

fn pre_receive(socket: &Path, input: &mut impl Read, errors: &mut impl Write) -> io::Result<bool> {
    let mut updates = Vec::new();
    for line in BufReader::new(input.take(wire::MAX_LINE)).lines() {
        updates.push(Update::parse(&line?).ok_or_else(unreadable)?);
    }
    let shallow = std::env::var_os("GIT_SHALLOW_FILE").is_some() && !is_complete(&updates)?;
    let refused = ask(socket, &Request { hook: Hook::PreReceive, updates, shallow }, errors)?;
    if let Some(quarantine) = std::env::var_os("GIT_QUARANTINE_PATH") {
        unlock_packs(&Path::new(&quarantine).join("pack"))?;
    }
    Ok(refused.is_some_and(|refused| refused.is_empty()))
}

/// Removes git's locks beside the packs that are about to be taken in. They hold the number of the process, so two pushes of the same
/// pack would have two different files of the same name, and git refuses the second push. The locks guard against a repack that drops what
/// nothing names yet; ours keeps everything.
fn unlock_packs(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "keep") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn proc_receive(
    socket: &Path,
    input: &mut impl Read,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> io::Result<()> {
    while pktline::read(input)?.is_some() {}
    pktline::write(output, b"version=1")?;
    pktline::flush(output)?;
    let mut updates = Vec::new();
    while let Some(packet) = pktline::read(input)? {
        let line = String::from_utf8(packet).map_err(|_| unreadable())?;
        updates.push(Update::parse(&line).ok_or_else(unreadable)?);
    }
    let names: Vec<String> = updates.iter().map(|update| update.name.clone()).collect();
    let refused = ask(socket, &Request { hook: Hook::ProcReceive, updates, shallow: false }, errors)?;
    let refused = match refused {
        Some(refused) => refused,
        None => {
            writeln!(
                errors,
                "Teal was interrupted before the verdict; what was accepted goes on: see teal activity"
            )?;
            names.iter().map(|name| (name.clone(), "no verdict: Teal was interrupted".to_owned())).collect()
        }
    };
    for name in names {
        let report =
            refused.get(&name).map_or_else(|| format!("ok {name}"), |reason| format!("ng {name} {reason}"));
        pktline::write(output, report.as_bytes())?;
    }
    pktline::flush(output)
}

/// Sends the request and prints lines until the verdict. `None`: the server went away first.
fn ask(
    socket: &Path,
    request: &Request,
    errors: &mut impl Write,
) -> io::Result<Option<BTreeMap<String, String>>> {
    let mut stream = connect(socket)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        if (&mut lines).take(wire::MAX_LINE).read_until(b'\n', &mut line).is_err() || !line.ends_with(b"\n") {
            return Ok(None);
        }
        match serde_json::from_slice(&line)? {
            Reply::Say(text) => errors.write_all(format!("{text}\n").as_bytes())?,
            Reply::Done(refused) => return Ok(Some(refused)),
        }
    }
}

/// Connects by way of the open directory: a socket's address has room for 108 bytes only, a data directory's path may be longer.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::Error::other("the push's socket has no name"));
    };
    let directory = std::fs::File::open(directory)?;
    UnixStream::connect(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

/// Whether the pushed history is whole here although the client's is not. Without the client's list of cut commits git walks the
/// real parents, and fails where one is missing.
fn is_complete(updates: &[Update]) -> io::Result<bool> {
    let mut git = Command::new("git")
        .args(["rev-list", "--quiet", "--objects", "--stdin", "--not", "--all"])
        .env_remove("GIT_SHALLOW_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let wanted = updates.iter().filter(|update| !update.deletes());
    let wanted: String = wanted.map(|update| format!("{}\n", update.new)).collect();
    if let Some(mut stdin) = git.stdin.take() {
        stdin.write_all(wanted.as_bytes())?;
    }
    Ok(git.wait()?.success())
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "git named a reference that cannot be read")
}
