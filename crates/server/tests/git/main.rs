//! Real git and real ssh against both of Teal's git servers, over a gate made of facts.

#![allow(missing_docs, unreachable_pub, reason = "a test program has no readers of its documentation")]
#![allow(clippy::print_stdout, reason = "a test prints what it measured")]

mod desk;
mod facts;
mod pushes;
mod refusals;
mod verdicts;

/// Not a test: this very program is the hook when git runs it as one (see `desk::hook_program`).
#[test]
#[allow(clippy::exit, reason = "the exit status is the hook's verdict")]
fn hook_process() {
    let (Ok(name), Some(socket)) = (std::env::var("TEAL_TEST_HOOK"), std::env::var_os("TEAL_HOOK_SOCKET"))
    else {
        return;
    };
    let mut output = std::fs::OpenOptions::new().write(true).open("/proc/self/fd/3").expect("descriptor 3");
    let mut input = std::io::stdin().lock();
    let ran = teal_server::git::run_hook(
        &name,
        std::path::Path::new(&socket),
        &mut input,
        &mut output,
        &mut std::io::stderr(),
    );
    std::process::exit(i32::from(!ran.unwrap_or(false)));
}
