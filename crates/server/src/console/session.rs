//! The console's sessions: a cookie that only this server can read or make, and the CSRF token that belongs to it.
//!
//! The cookie holds, sealed, the token that the user logged in with and when it ends. Nothing is kept on the server: a restart logs
//! nobody out, and since the token is looked up at each request, ending the token ends the session.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hmac,
};
use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};

/// How long a session lasts, in seconds.
pub(crate) const LIFETIME_S: i64 = 12 * 60 * 60;
/// The longest cookie that is looked at, in bytes.
const MAX_COOKIE: usize = 4096;

/// Makes and reads sessions.
pub(crate) struct Sessions {
    seal: Result<RandomizedNonceKey, Unspecified>,
    csrf: hmac::Key,
    secure: bool,
}

/// A session that this server made and that has not ended.
pub(crate) struct Session {
    contents: Contents,
    /// What the CSRF token is made from: it belongs to this session and to no other.
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct Contents {
    secret: String,
    ends_at_s: i64,
}

impl Session {
    /// The secret of the token that the user logged in with.
    pub(crate) fn secret(&self) -> &str {
        &self.contents.secret
    }
}

impl Sessions {
    /// Sessions under this key. `secure`: users reach the console over TLS only.
    pub(crate) fn new(key: &[u8; 32], secure: bool) -> Self {
        let seal = derive(key, b"teal console session 1");
        Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, seal.as_ref()),
            csrf: hmac::Key::new(hmac::HMAC_SHA256, derive(key, b"teal console csrf 1").as_ref()),
            secure,
        }
    }

    /// The value of `Set-Cookie` that begins a session with this token's secret.
    ///
    /// # Errors
    /// If it cannot be sealed (no randomness).
    pub(crate) fn begin(&self, secret: &str, now: jiff::Timestamp) -> Result<String, Unspecified> {
        let contents = Contents { secret: secret.into(), ends_at_s: now.as_second() + LIFETIME_S };
        let mut bytes = serde_json::to_vec(&contents).map_err(|_| Unspecified)?;
        let key = self.seal.as_ref().map_err(|_| Unspecified)?;
        let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut bytes)?;
        let sealed = [nonce.as_ref().as_slice(), &bytes].concat();
        Ok(self.cookie(&BASE64.encode(sealed), LIFETIME_S))
    }

    /// The value of `Set-Cookie` that ends the browser's session.
    pub(crate) fn end(&self) -> String {
        self.cookie("", 0)
    }

    /// The session that the request's cookie holds, if it holds one.
    pub(crate) fn open(&self, headers: &HeaderMap, now: jiff::Timestamp) -> Option<Session> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs =
            cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, sealed) = pairs.find(|(name, _)| *name == self.name())?;
        let contents = self.unseal(sealed)?;
        (contents.ends_at_s > now.as_second()).then(|| Session { contents, sealed: sealed.to_owned() })
    }

    /// The token that a page of this session sends along with each change.
    pub(crate) fn csrf(&self, session: &Session) -> String {
        BASE64.encode(hmac::sign(&self.csrf, session.sealed.as_bytes()))
    }

    /// Whether this is the session's CSRF token; compared in constant time.
    pub(crate) fn csrf_matches(&self, session: &Session, given: &str) -> bool {
        let given = BASE64.decode(given).unwrap_or_default();
        hmac::verify(&self.csrf, session.sealed.as_bytes(), &given).is_ok()
    }

    fn unseal(&self, sealed: &str) -> Option<Contents> {
        if sealed.len() > MAX_COOKIE {
            return None;
        }
        let bytes = BASE64.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let plain = self.seal.as_ref().ok()?.open_in_place(nonce, Aad::empty(), &mut body).ok()?;
        serde_json::from_slice(plain).ok()
    }

    /// Browsers keep a name with this prefix to the one host that set it; they accept it over TLS only.
    fn name(&self) -> &'static str {
        if self.secure { "__Host-teal_session" } else { "teal_session" }
    }

    fn cookie(&self, value: &str, age_s: i64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}", self.name())
    }
}

/// A key for one purpose, from the server's.
fn derive(key: &[u8; 32], purpose: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn with_cookie(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().expect("pair");
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("theme=dark; {pair}").parse().expect("header"));
        headers
    }

    #[test]
    fn a_session_survives_a_restart_and_ends_on_time() {
        let key = [7; 32];
        let now = Timestamp::UNIX_EPOCH;
        let cookie = Sessions::new(&key, false).begin("teal_secret", now).expect("sealed");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        assert!(!cookie.contains("teal_secret"), "{cookie}");
        let later = |seconds| Timestamp::from_second(seconds).expect("in range");
        let sessions = Sessions::new(&key, false);
        let session = sessions.open(&with_cookie(&cookie), later(LIFETIME_S - 1)).expect("open");
        assert_eq!(session.secret(), "teal_secret");
        assert!(sessions.open(&with_cookie(&cookie), later(LIFETIME_S)).is_none());
    }

    #[test]
    fn only_this_server_makes_sessions() {
        let now = Timestamp::UNIX_EPOCH;
        let cookie = Sessions::new(&[7; 32], false).begin("teal_secret", now).expect("sealed");
        assert!(Sessions::new(&[8; 32], false).open(&with_cookie(&cookie), now).is_none());
        let sessions = Sessions::new(&[7; 32], false);
        for forged in ["teal_session=", "teal_session=AAAA", "teal_session=!", "other=1"] {
            assert!(sessions.open(&with_cookie(forged), now).is_none(), "{forged}");
        }
        let mut torn: Vec<char> = cookie.chars().collect();
        torn[30] = if torn[30] == 'A' { 'B' } else { 'A' };
        let torn: String = torn.into_iter().collect();
        assert!(sessions.open(&with_cookie(&torn), now).is_none());
    }

    #[test]
    fn a_csrf_token_belongs_to_one_session() {
        let sessions = Sessions::new(&[7; 32], true);
        let open = || {
            let cookie = sessions.begin("teal_secret", Timestamp::UNIX_EPOCH).expect("sealed");
            assert!(cookie.starts_with("__Host-") && cookie.ends_with("; Secure"), "{cookie}");
            sessions.open(&with_cookie(&cookie), Timestamp::UNIX_EPOCH).expect("open")
        };
        let (one, two) = (open(), open());
        assert!(sessions.csrf_matches(&one, &sessions.csrf(&one)));
        assert!(!sessions.csrf_matches(&one, &sessions.csrf(&two)));
        assert!(!sessions.csrf_matches(&one, ""));
    }
}
