//! The HTTP client below the store: certificates are read where TLS is used, and nowhere else.

use super::{S3Settings, StoreError, settings::misconfigured};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::path::Path;

/// The client for these settings. `has_keys` says that the access key needs no request of its own.
///
/// # Errors
/// When TLS is needed and no certificate of an authority can be read.
pub(super) fn http_client(
    settings: &S3Settings,
    has_keys: bool,
) -> Result<SharedHttpClient, StoreError> {
    let is_plain = settings
        .endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    if is_plain && has_keys {
        return Ok(Builder::new().build_http());
    }
    let trusted = match &settings.ca_file {
        Some(file) if !is_plain => from_file(file),
        _ => from_system(),
    };
    match trusted {
        Ok(trusted) => {
            let context = TlsContext::builder().with_trust_store(trusted).build();
            let context = context
                .map_err(|error| misconfigured("CEDM_S3_CA_FILE", format!("TLS: {error}")))?;
            Ok(Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(context)
                .build_https())
        }
        // The keys may come from a service of the machine, which speaks plain HTTP.
        Err(_) if is_plain => Ok(Builder::new().build_http()),
        Err(error) => Err(error),
    }
}

/// The system's authorities. The client reads them again; here it is made sure that there are any,
/// since it does not say so itself.
fn from_system() -> Result<TrustStore, StoreError> {
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(TrustStore::default());
    }
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    let errors = match errors.as_slice() {
        [] => String::new(),
        errors => format!(" ({})", errors.join("; ")),
    };
    Err(misconfigured(
        "CEDM_S3_CA_FILE",
        format!(
            "this system has no certificates of authorities{errors}, so that no https endpoint can be \
             trusted: install the package ca-certificates, correct SSL_CERT_FILE, or name a PEM file \
             in CEDM_S3_CA_FILE (--s3-ca-file)"
        ),
    ))
}

/// The authorities in this file, and no others.
fn from_file(file: &Path) -> Result<TrustStore, StoreError> {
    let fail = |reason: String| {
        Err(misconfigured(
            "CEDM_S3_CA_FILE",
            format!("{}: {reason}", file.display()),
        ))
    };
    let pem = match std::fs::read(file) {
        Ok(pem) => pem,
        Err(error) => return fail(error.to_string()),
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = match certificates {
        Ok(certificates) if certificates.is_empty() => {
            return fail("found no certificate, expected PEM with BEGIN CERTIFICATE".to_owned());
        }
        Ok(certificates) => certificates,
        Err(error) => return fail(format!("not PEM: {error}")),
    };
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        if let Err(error) = roots.add(certificate) {
            return fail(format!("certificate {}: {error}", index + 1));
        }
    }
    Ok(TrustStore::empty().with_pem_certificate(pem))
}
