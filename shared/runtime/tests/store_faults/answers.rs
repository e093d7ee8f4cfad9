//! Stores that refuse for a reason in the settings: the reason is said within seconds, with the
//! name of the setting. What the embedded store can answer it answers itself; the rest are error
//! documents as the S3 API reference shows them, sent by a server that knows nothing else.

use crate::{KEYS, Server, open, raw::answering};
use cedm_runtime::{
    chain, create_only,
    store::{Body, S3Settings, S3Store, Store, StoreError, StoreErrorKind},
};
use std::time::{Duration, Instant};

/// The error of a check, which has to come at the start and not after minutes of tries.
async fn refusal(store: &S3Store) -> StoreError {
    let begun = Instant::now();
    let refused = store.check().await.expect_err("this store is of no use");
    assert!(begun.elapsed() < Duration::from_secs(5));
    refused
}

fn assert_says(error: &StoreError, kind: StoreErrorKind, words: &[&str]) {
    let text = chain(error);
    assert_eq!(error.kind, kind, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
    assert!(!text.contains(KEYS.1), "the secret shows in: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_buckets_are_named_by_the_setting() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path());
    let with = async |access: &str, secret: &str, bucket: &str| {
        let settings = S3Settings {
            endpoint: Some(server.endpoint.clone()),
            bucket: bucket.to_owned(),
            ..S3Settings::default()
        };
        let keys = (access.to_owned(), secret.to_owned());
        S3Store::open_with(&settings, Some(keys)).await.unwrap()
    };
    let sound = with(KEYS.0, KEYS.1, "cedm").await;
    sound.check().await.unwrap();
    assert!(sound.list("").await.unwrap().is_empty(), "nothing is left");

    for (store, words) in [
        (
            with("stranger", KEYS.1, "cedm").await,
            ["AWS_ACCESS_KEY_ID", &server.endpoint],
        ),
        (
            with(KEYS.0, "wrong", "cedm").await,
            ["AWS_SECRET_ACCESS_KEY", &server.endpoint],
        ),
        (
            with(KEYS.0, KEYS.1, "other").await,
            ["CEDM_S3_BUCKET", "bucket `other`"],
        ),
    ] {
        let refused = refusal(&store).await;
        assert_says(&refused, StoreErrorKind::Misconfigured, &words);
        // Later too, when keys are changed while a system runs.
        let put = store.put("object/a", Body::Bytes("x".into())).await;
        assert_says(
            &put.unwrap_err(),
            StoreErrorKind::Misconfigured,
            &words[..1],
        );
        let created = create_only(&store, "manifest/a", "x".into()).await;
        assert_says(
            &created.unwrap_err(),
            StoreErrorKind::Misconfigured,
            &words[..1],
        );
    }
}

/// Status, headers and body of an answer, then the kind of error and what has to be said.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    StoreErrorKind,
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "400 Bad Request",
        "",
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is \
         malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>\
         <Region>eu-west-1</Region><RequestId>1</RequestId></Error>",
        StoreErrorKind::Misconfigured,
        &["CEDM_S3_REGION=eu-west-1"],
    ),
    (
        "301 Moved Permanently",
        "x-amz-bucket-region: ap-south-1\r\n",
        "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be \
         addressed using the specified endpoint.</Message><Endpoint>cedm.s3.ap-south-1.amazonaws.com\
         </Endpoint><Bucket>cedm</Bucket></Error>",
        StoreErrorKind::Misconfigured,
        &["CEDM_S3_REGION=ap-south-1"],
    ),
    (
        "301 Moved Permanently",
        "",
        "<Error><Code>PermanentRedirect</Code><Message>m</Message>\
         <Endpoint>cedm.s3-eu-west-1.amazonaws.com</Endpoint></Error>",
        StoreErrorKind::Misconfigured,
        &["cedm.s3-eu-west-1.amazonaws.com", "CEDM_S3_REGION"],
    ),
    (
        "403 Forbidden",
        "",
        "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and \
         the current time is too large.</Message><RequestTime>20261128T101500Z</RequestTime>\
         <ServerTime>2026-11-28T12:00:00Z</ServerTime></Error>",
        StoreErrorKind::Misconfigured,
        &["clock", "2026-11-28T12:00:00Z"],
    ),
    // A missing object, for keys without the right to list.
    (
        "403 Forbidden",
        "",
        "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
        StoreErrorKind::Misconfigured,
        &["s3:ListBucket", "403 instead of 404", "bucket `cedm`"],
    ),
    (
        "400 Bad Request",
        "",
        "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>",
        StoreErrorKind::Misconfigured,
        &["AWS_SESSION_TOKEN"],
    ),
    (
        "404 Not Found",
        "content-type: text/html\r\n",
        "<html><body>nginx</body></html>",
        StoreErrorKind::Unavailable,
        &["404", "none of an S3 store", "CEDM_S3_ENDPOINT"],
    ),
    (
        "400 Bad Request",
        "",
        "Client sent an HTTP request to an HTTPS server.\n",
        StoreErrorKind::Unavailable,
        &["400", "none of an S3 store", "CEDM_S3_ENDPOINT"],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_answers_is_put_in_plain_words() {
    for (status, headers, body, kind, words) in CASES {
        let (endpoint, requests) = answering(status, headers, body).await;
        let refused = refusal(&open(&endpoint).await).await;
        assert_says(&refused, *kind, words);
        assert!(chain(&refused).contains(&endpoint), "{}", chain(&refused));
        assert_eq!(requests.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}

/// An answer to HEAD has no body, so that GET has to say what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_head_is_explained_too() {
    let (status, headers, body, kind, words) = CASES[0];
    let (endpoint, _) = answering(status, headers, body).await;
    let refused = open(&endpoint).await.size("manifest/a").await.unwrap_err();
    assert_says(&refused, kind, words);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_answers_is_named_in_time() {
    // Bound and not listening: connections are refused.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    // Accepted by the system, and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_at = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [refused.as_str(), silent_at.as_str(), "http://store.invalid"] {
        let error = refusal(&open(endpoint).await).await;
        assert_says(&error, StoreErrorKind::Unavailable, &[endpoint]);
    }
}

#[tokio::test]
async fn a_list_of_urls_is_refused_before_anything_is_sent() {
    let settings = S3Settings {
        endpoint: Some("http://a:9000,http://b:9000".to_owned()),
        bucket: "cedm".to_owned(),
        ..S3Settings::default()
    };
    let error = S3Store::open(&settings).await.unwrap_err();
    let words = ["CEDM_S3_ENDPOINT", "several URLs", "load balancer"];
    assert_says(&error, StoreErrorKind::Misconfigured, &words);
}
