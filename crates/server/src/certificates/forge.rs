//! What this server makes itself: keys, requests for certificates, self-signed certificates, and certificates that only prove a domain.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, date_time_ymd};
use teal_core::{certificate::PrivateKey, time::Time};

/// How long a self-signed certificate is valid, in days; browsers refuse much longer ones.
const DAYS: u64 = 365;
const DAY_MS: u64 = 24 * 3_600_000;

/// A certificate with its key.
pub(super) struct Forged {
    /// As PEM.
    pub(super) chain: String,
    /// As PEM.
    pub(super) key: PrivateKey,
}

/// A new key.
///
/// # Errors
/// If the system has no random numbers.
pub(super) fn key() -> Result<PrivateKey, rcgen::Error> {
    Ok(PrivateKey::new(KeyPair::generate()?.serialize_pem()))
}

/// The request (DER) for a certificate of this name with this key.
///
/// # Errors
/// If the name or the key is none.
pub(super) fn request(name: &str, key: &PrivateKey) -> Result<Vec<u8>, rcgen::Error> {
    let request = params(name)?.serialize_request(&KeyPair::from_pem(key.reveal())?)?;
    Ok(request.der().to_vec())
}

/// A certificate that nobody else vouches for.
///
/// # Errors
/// If the name is none.
pub(super) fn self_signed(name: &str, now: Time) -> Result<Forged, rcgen::Error> {
    let mut params = params(name)?;
    params.distinguished_name.push(DnType::CommonName, "Teal, self-signed");
    let day = |at: Time| {
        let date = jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(0)).unwrap_or_default();
        let date = date.to_zoned(jiff::tz::TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month().cast_unsigned(), date.day().cast_unsigned())
    };
    // A day early: clocks differ.
    params.not_before = day(Time(now.0.saturating_sub(DAY_MS)));
    params.not_after = day(now.plus(DAYS * DAY_MS));
    signed(&params)
}

/// The certificate that proves a domain in a handshake (RFC 8737). `digest`: of the key authorisation, SHA-256.
///
/// # Errors
/// If the name is none.
pub(super) fn proof(name: &str, digest: &[u8]) -> Result<Forged, rcgen::Error> {
    let mut params = params(name)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    signed(&params)
}

fn params(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params)
}

fn signed(params: &CertificateParams) -> Result<Forged, rcgen::Error> {
    let key = KeyPair::generate()?;
    let chain = params.self_signed(&key)?.pem();
    Ok(Forged { chain, key: PrivateKey::new(key.serialize_pem()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificates::facts, world::now};

    #[test]
    fn a_self_signed_certificate_is_valid_from_yesterday_for_a_year() {
        let now = now();
        let forged = self_signed("shop.localhost", now).expect("made");
        let dates = facts::validity(&forged.chain).expect("parses");
        assert!(dates.not_before < now && now.since(dates.not_before) <= 2 * DAY_MS);
        let days = dates.not_after.since(now) / DAY_MS;
        assert!((364..=365).contains(&days), "{days}");
        assert!(forged.key.reveal().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert!(facts::identifier(&forged.chain).is_none());
    }

    #[test]
    fn a_request_can_be_made_again_with_the_stored_key() {
        let key = key().expect("key");
        assert!(!request("shop.example.org", &key).expect("made").is_empty());
        assert!(request("shop.example.org", &PrivateKey::new("none".into())).is_err());
    }
}
