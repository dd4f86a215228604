//! Tells open pages that something changed, so that they ask for what they show. The message itself says nothing.

use super::visitor::{Refusal, Visitor};
use crate::api::{Over, TheApp, Web, Writer, open_stream};
use axum::{extract::State, response::Response};
use teal_core::id::AppId;
use tokio::sync::broadcast::error::RecvError;

/// Changes of any app.
pub(crate) async fn all(State(web): State<Web>, visitor: Visitor) -> Result<Response, Refusal> {
    follow(&web, visitor, None)
}

/// Changes of one app.
pub(crate) async fn of_app(
    State(web): State<Web>,
    visitor: Visitor,
    TheApp(app): TheApp,
) -> Result<Response, Refusal> {
    follow(&web, visitor, Some(app))
}

fn follow(web: &Web, visitor: Visitor, app: Option<AppId>) -> Result<Response, Refusal> {
    let mut changes = web.platform.changes();
    let stream = open_stream(web, visitor.caller.proof, move |mut writer: Writer| async move {
        // Once at the beginning: something may have changed since the page was made.
        writer.nudge();
        loop {
            let next: Result<(), Over> = tokio::select! {
                alive = writer.alive() => alive,
                changed = changes.recv() => match changed {
                    Ok(changed) => {
                        if app.as_ref().is_none_or(|app| changed.app == *app) { writer.nudge() }
                        Ok(())
                    }
                    Err(RecvError::Lagged(_)) => { writer.nudge(); Ok(()) }
                    Err(RecvError::Closed) => Err(Over),
                },
            };
            if next.is_err() {
                return;
            }
        }
    })?;
    Ok(stream)
}
