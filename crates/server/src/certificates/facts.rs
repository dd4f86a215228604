//! What a certificate says of itself. It must never judge whether a certificate is to be trusted.

use instant_acme::CertificateIdentifier;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use teal_core::time::Time;

/// From when and until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    /// Valid from.
    pub(super) not_before: Time,
    /// Valid until.
    pub(super) not_after: Time,
}

/// The dates of the first certificate of a PEM chain.
///
/// # Errors
/// If there is none, or it does not parse.
pub(super) fn validity(chain: &str) -> Result<Validity, String> {
    let der = first(chain)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der)
        .map_err(|error| format!("the certificate does not parse: {error}"))?;
    let dates = certificate.validity();
    let time = |seconds: i64| Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000));
    Ok(Validity {
        not_before: time(dates.not_before.timestamp()),
        not_after: time(dates.not_after.timestamp()),
    })
}

/// How an authority knows the certificate again (RFC 9773); `None` if it does not say who signed it.
#[must_use]
pub(super) fn identifier(chain: &str) -> Option<CertificateIdentifier<'static>> {
    let der = first(chain).ok()?;
    CertificateIdentifier::try_from(&der).ok().map(CertificateIdentifier::into_owned)
}

fn first(chain: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(chain.as_bytes())
        .map_err(|error| format!("there is no certificate in it: {error}"))
}
