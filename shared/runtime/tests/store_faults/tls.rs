//! The embedded store behind TLS, with a certificate of a private authority; and systems without
//! any authorities.

use crate::{KEYS, Server};
use cedm_runtime::{
    chain,
    store::{Body, S3Settings, S3Store, Store, StoreErrorKind},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{path::Path, process::Command, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// Forwards to a server what comes in over TLS; its port, and the certificate of the authority.
async fn behind_tls(server: &Server) -> (u16, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let (acceptor, to) = (
        TlsAcceptor::from(Arc::new(config)),
        server.address().to_owned(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let Ok(mut client) = acceptor.accept(client).await else {
                    return;
                };
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, authority.pem())
}

async fn open(endpoint: &str, ca_file: Option<&Path>) -> Result<S3Store, cedm_runtime::StoreError> {
    let settings = S3Settings {
        endpoint: Some(endpoint.to_owned()),
        bucket: "cedm".to_owned(),
        region: None,
        ca_file: ca_file.map(Path::to_owned),
    };
    let keys = (KEYS.0.to_owned(), KEYS.1.to_owned());
    S3Store::open_with(&settings, Some(keys)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_by_its_file() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path());
    let (port, pem) = behind_tls(&server).await;
    let file = root.path().join("authority.pem");
    std::fs::write(&file, pem).unwrap();
    let endpoint = format!("https://localhost:{port}");

    let store = open(&endpoint, Some(&file)).await.unwrap();
    store.check().await.unwrap();
    store.put("a", Body::Bytes("x".into())).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap(), "x");

    let misconfigured = async |store: S3Store, word: &str| {
        let error = store.check().await.unwrap_err();
        assert_eq!(
            error.kind,
            StoreErrorKind::Misconfigured,
            "{}",
            chain(&error)
        );
        assert!(chain(&error).contains(word), "{}", chain(&error));
    };
    // The certificate names another host.
    let other = format!("https://127.0.0.1:{port}");
    misconfigured(open(&other, Some(&file)).await.unwrap(), "CEDM_S3_CA_FILE").await;
    // Another authority.
    let (_, others) = behind_tls(&server).await;
    let strangers = root.path().join("other.pem");
    std::fs::write(&strangers, others).unwrap();
    let untrusted = open(&endpoint, Some(&strangers)).await.unwrap();
    misconfigured(untrusted, "CEDM_S3_CA_FILE").await;
    // No TLS at all.
    let plain = server.endpoint.replace("http://", "https://");
    misconfigured(open(&plain, Some(&file)).await.unwrap(), "http:// instead").await;
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    for (name, text, expect) in [
        ("missing.pem", None, "No such file"),
        ("empty.pem", Some(""), "found no certificate"),
        ("text.pem", Some("certificate"), "found no certificate"),
        (
            "damaged.pem",
            Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
            "not PEM",
        ),
        (
            "zeros.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "certificate 1",
        ),
    ] {
        let file = root.path().join(name);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = open("https://localhost:1", Some(&file)).await.unwrap_err();
        let text = chain(&error);
        assert_eq!(error.kind, StoreErrorKind::Misconfigured, "{text}");
        for word in [name, expect, "CEDM_S3_CA_FILE"] {
            assert!(text.contains(word), "`{word}` is missing in: {text}");
        }
    }
}

/// Set in a process that runs one of the tests below on a system without authorities.
const WITHOUT_AUTHORITIES: &str = "WITHOUT_AUTHORITIES";

/// Runs this test in a process of its own, where no authority is found; `true` there.
fn is_without_authorities(test: &str) -> bool {
    if std::env::var_os(WITHOUT_AUTHORITIES).is_some() {
        return true;
    }
    let root = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(WITHOUT_AUTHORITIES, "1")
        .env("SSL_CERT_FILE", root.path().join("none.pem"))
        .env("SSL_CERT_DIR", root.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_needs_no_authorities() {
    if is_without_authorities("tls::plain_http_needs_no_authorities") {
        let root = tempfile::tempdir().unwrap();
        let server = Server::start(root.path());
        let store = open(&server.endpoint, None).await.unwrap();
        store.check().await.unwrap();
        store.put("a", Body::Bytes("x".into())).await.unwrap();
        assert_eq!(store.get("a").await.unwrap().unwrap(), "x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_without_authorities_is_an_error_that_names_the_remedy() {
    if is_without_authorities("tls::https_without_authorities_is_an_error_that_names_the_remedy") {
        let error = open("https://localhost:1", None).await.unwrap_err();
        let text = chain(&error);
        assert_eq!(error.kind, StoreErrorKind::Misconfigured, "{text}");
        for word in ["ca-certificates", "SSL_CERT_FILE", "CEDM_S3_CA_FILE"] {
            assert!(text.contains(word), "`{word}` is missing in: {text}");
        }
    }
}
