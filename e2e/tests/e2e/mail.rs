//! Behaviour 14: the failure mail always arrives, once.

use crate::{app, push, push_well, quick};
use anyhow::Result;
use std::net::TcpListener;
use teal_e2e::{Behaviour, Host, MailServer, Options, until};

#[test]
fn one_mail_for_a_failure_though_the_mail_server_was_down_and_teal_was_killed() -> Result<()> {
    // An address on which nobody listens yet.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut host = Host::start(&Options { smtp: Some(address), ..Options::default() })?;
    let repository = app(&host, "shop", quick())?;
    push_well(&repository, "good")?;
    let bad = push(&repository, "bad", &Behaviour::Exits(4, 0.0))?;
    assert!(!bad.ok);
    host.kill_server()?;
    host.start_server(&[])?;
    let server = MailServer::start_on(address)?;
    let mails = until("the mail", || Some(server.mails()).filter(|mails| !mails.is_empty()))?;
    let text = &mails[0].text;
    for word in [
        "shop",
        &bad.commit[..7],
        "exited with code 4",
        "this app cannot go on",
        "still serves",
        "/apps/shop",
    ] {
        assert!(text.replace("=\r\n", "").contains(word), "no `{word}` in\n{text}");
    }
    assert_eq!(mails[0].to, ["team@example.org"]);
    push_well(&repository, "good again")?;
    host.kill_server()?;
    host.start_server(&[])?;
    push(&repository, "bad again", &Behaviour::Exits(5, 0.0))?;
    let mails = until("the second failure's mail", || Some(server.mails()).filter(|mails| mails.len() > 1))?;
    assert_eq!(mails.len(), 2, "one each");
    Ok(())
}
