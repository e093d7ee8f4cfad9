//! An upload in parts belongs to one key, one identity and one life of the store.

use crate::{KEYS, Server, raw::client};
use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use cedm_store::{Identity, Policy, Rule, Verb};

const BUCKET: &str = "cedm";

async fn begin(client: &Client, key: &str) -> String {
    let begun = client.create_multipart_upload().bucket(BUCKET).key(key);
    begun.send().await.unwrap().upload_id.unwrap()
}

/// The error code, `None` for success.
async fn part(client: &Client, key: &str, id: &str) -> Option<String> {
    let sent = client
        .upload_part()
        .bucket(BUCKET)
        .key(key)
        .upload_id(id)
        .part_number(1)
        .body(ByteStream::from_static(b"bytes of A"))
        .send()
        .await;
    sent.err()
        .map(|error| error.code().unwrap_or("none").to_owned())
}

async fn complete(client: &Client, key: &str, id: &str) -> Option<String> {
    let part = CompletedPart::builder().part_number(1).e_tag("x").build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let sent = client
        .complete_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .upload_id(id)
        .multipart_upload(parts)
        .send()
        .await;
    sent.err()
        .map(|error| error.code().unwrap_or("none").to_owned())
}

async fn abort(client: &Client, key: &str, id: &str) -> Option<String> {
    let sent = client
        .abort_multipart_upload()
        .bucket(BUCKET)
        .key(key)
        .upload_id(id)
        .send()
        .await;
    sent.err()
        .map(|error| error.code().unwrap_or("none").to_owned())
}

/// All three acts are refused as those of an upload that does not exist.
async fn is_refused(client: &Client, key: &str, id: &str) {
    let expected = Some("NoSuchUpload".to_owned());
    assert_eq!(part(client, key, id).await, expected, "part of {key}");
    assert_eq!(complete(client, key, id).await, expected, "{key} completed");
    assert_eq!(abort(client, key, id).await, expected, "{key} aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cannot_be_completed_under_another_key() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path());
    let client = client(&server.endpoint, KEYS.0, KEYS.1);
    let id = begin(&client, "object/a").await;
    assert_eq!(part(&client, "object/a", &id).await, None);
    is_refused(&client, "object/b", &id).await;
    for id in ["0", "1", "../objects", ""] {
        let error = complete(&client, "object/a", id).await;
        assert!(error.is_some(), "`{id}` is no upload");
    }
    assert_eq!(complete(&client, "object/a", &id).await, None);
    let got = client.get_object().bucket(BUCKET).key("object/a").send();
    let bytes = got.await.unwrap().body.collect().await.unwrap();
    assert_eq!(bytes.into_bytes(), "bytes of A");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_an_earlier_life_of_the_store_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path());
    let before = client(&server.endpoint, KEYS.0, KEYS.1);
    let old = begin(&before, "object/b").await;
    assert_eq!(part(&before, "object/b", &old).await, None);
    drop(server);
    let server = Server::start(root.path());
    let after = client(&server.endpoint, KEYS.0, KEYS.1);
    // Another upload begins, as the first of this process.
    let new = begin(&after, "object/a").await;
    assert_ne!(old, new);
    assert_eq!(part(&after, "object/a", &new).await, None);
    is_refused(&after, "object/b", &old).await;
    assert_eq!(complete(&after, "object/a", &new).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_another_identity_does_not_exist() {
    let identity = |name: &str| Identity {
        name: name.to_owned(),
        access_key: name.to_owned(),
        secret_key: format!("{name}'s"),
        allow: vec![Rule {
            verbs: vec![Verb::Get, Verb::Put],
            prefixes: vec!["object/".to_owned()],
        }],
    };
    let policy = serde_json::json!({"identities": [identity("a"), identity("b")]});
    let policy = Policy::parse(&policy.to_string()).unwrap();
    let root = tempfile::tempdir().unwrap();
    let folder = cedm_store::Folder::open(root.path()).unwrap();
    folder.create_bucket(BUCKET).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { cedm_store::serve(folder, policy, listener).await });
    let (a, b) = (client(&endpoint, "a", "a's"), client(&endpoint, "b", "b's"));
    let id = begin(&a, "object/x").await;
    is_refused(&b, "object/x", &id).await;
    assert_eq!(part(&a, "object/x", &id).await, None);
    assert_eq!(complete(&a, "object/x", &id).await, None);
}
