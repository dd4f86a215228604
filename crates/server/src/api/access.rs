//! Who asks: a token in `Authorization`, or the console's session. It must never let a request through that proves neither, nor a change
//! through a session without its CSRF token.

use super::{Problem, Web, rules};
use crate::{
    console::{Refusal, session},
    platform::{Principal, Way},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::time::Instant;

/// The header in which a session proves that a change was asked for by a page of the console.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// Whoever asks, after they proved it.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The user and the way.
    pub(crate) who: Principal,
    /// What proved it: long answers look at it again, so that a token that was ended ends them too.
    pub(crate) proof: Proof,
    /// The id of the token that proved it.
    pub(crate) token: String,
}

/// A token's secret. It is never shown.
#[derive(Clone)]
pub(crate) struct Proof(Arc<str>);

impl Proof {
    /// Whether it still proves anything. Trouble of the server's own proves nothing either way: the answer may go on.
    pub(crate) async fn still_holds(&self, web: &Web) -> bool {
        !matches!(web.platform.holder_of_token(&self.0, Way::Api).await, Ok(None))
    }
}

/// Where a request comes from, as far as it can be known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Peer {
    fn of(parts: &Parts) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
        // Only somebody on this host may speak for others: a proxy with TLS in front. It appends the address that it saw.
        let forwarded = parts.headers.get("x-forwarded-for").filter(|_| address.is_loopback());
        let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Self(last.unwrap_or(address))
    }

    /// Refuses a peer that failed too often.
    pub(crate) fn admit(self, web: &Web) -> Result<(), Problem> {
        let Some(wait) = web.failures.wait(self.0, Instant::now()) else { return Ok(()) };
        Err(Problem::too_many(
            "too many failed attempts to authenticate from your address",
            wait.as_secs() + 1,
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::unauthorised("this needs a token"))
    }
}

/// Stands before every route of the API: what is behind it can rely on a [`Caller`] who may ask for it.
pub(crate) async fn require(
    State(web): State<Web>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = identify(&web, &parts).await?;
    rules::permit(&web, &caller.who, &mut parts).await?;
    parts.extensions.insert(caller);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Stands before every page of the console: whoever is logged in sees and does only what they may. Others are sent to log in by the page itself.
pub(crate) async fn watch(State(web): State<Web>, request: Request, next: Next) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    if let Some((caller, _)) = session_of(&web, &parts.headers).await? {
        rules::permit(&web, &caller.who, &mut parts).await?;
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

async fn identify(web: &Web, parts: &Parts) -> Result<Caller, Problem> {
    if let Some(given) = parts.headers.get(header::AUTHORIZATION) {
        let secret = given.to_str().ok().and_then(bearer);
        let secret = secret.ok_or_else(|| Problem::unauthorised("`Authorization` holds no bearer token"))?;
        let way = way_of(&parts.headers);
        return authenticate(web, Peer::of(parts), secret, way).await;
    }
    let Some((caller, session)) = session_of(web, &parts.headers).await? else {
        return Err(Problem::unauthorised("this needs a token"));
    };
    if !parts.method.is_safe() {
        let given = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
        if !given.is_some_and(|given| web.sessions.csrf_matches(&session, given)) {
            return Err(no_csrf());
        }
    }
    Ok(caller)
}

/// Who asks, if that is proved and whatever they ask for; nothing is counted against anybody.
pub(super) async fn holder(web: &Web, headers: &HeaderMap) -> Option<Principal> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Some(session_of(web, headers).await.ok()??.0.who);
    };
    let way = way_of(headers);
    Some(web.platform.holder_of_token(bearer(given.to_str().ok()?)?, way).await.ok()??.0)
}

fn way_of(headers: &HeaderMap) -> Way {
    if headers.get("x-teal-client").is_some_and(|client| client == "cli") { Way::Cli } else { Way::Api }
}

/// The way's word for people.
pub(super) fn way_word(way: Way) -> &'static str {
    match way {
        Way::Git => "Git",
        Way::Console => "Console",
        Way::Cli => "CLI",
        Way::Api => "API",
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// Whose token this is. Each wrong one counts against the peer.
pub(crate) async fn authenticate(web: &Web, peer: Peer, secret: &str, way: Way) -> Result<Caller, Problem> {
    peer.admit(web)?;
    let Some((who, token)) = web.platform.holder_of_token(secret, way).await? else {
        web.failures.failed(peer.0, Instant::now());
        return Err(Problem::unauthorised("no such token"));
    };
    Ok(Caller { who, proof: Proof(secret.into()), token })
}

/// Whose session the request's cookie holds, if it holds one that still counts.
pub(crate) async fn session_of(
    web: &Web,
    headers: &HeaderMap,
) -> Result<Option<(Caller, session::Session)>, Problem> {
    let Some(session) = web.sessions.open(headers, jiff::Timestamp::now()) else { return Ok(None) };
    // The token is looked up each time: ending it ends every session that began with it.
    let holder = web.platform.holder_of_token(session.secret(), Way::Console).await?;
    let Some((who, token)) = holder else { return Ok(None) };
    let proof = Proof(session.secret().into());
    Ok(Some((Caller { who, proof, token }, session)))
}

/// A change was asked for by something that is no page of the console.
pub(crate) fn no_csrf() -> Problem {
    let message = "this change was not asked for by a page of the console, or the page is too old";
    Problem::new(StatusCode::FORBIDDEN, message, Some("load the page again and repeat it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(connected: [u8; 4], forwarded: Option<&str>) -> IpAddr {
        let mut request = Request::new(());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((connected, 1))));
        if let Some(forwarded) = forwarded {
            request.headers_mut().insert("x-forwarded-for", forwarded.parse().expect("header"));
        }
        Peer::of(&request.into_parts().0).0
    }

    #[test]
    fn only_a_proxy_on_this_host_speaks_for_others() {
        let stranger = IpAddr::from([192, 0, 2, 7]);
        assert_eq!(peer([127, 0, 0, 1], Some("10.0.0.1, 192.0.2.7")), stranger);
        assert_eq!(peer([127, 0, 0, 1], Some("nonsense")), IpAddr::from([127, 0, 0, 1]));
        assert_eq!(peer([192, 0, 2, 7], Some("10.0.0.1")), stranger);
    }

    #[test]
    fn bearer_tokens_are_read_strictly() {
        assert_eq!(bearer("Bearer teal_x"), Some("teal_x"));
        assert_eq!(bearer("bearer  teal_x "), Some("teal_x"));
        assert_eq!(bearer("Basic dGVhbA=="), None);
        assert_eq!(bearer("teal_x"), None);
    }
}
