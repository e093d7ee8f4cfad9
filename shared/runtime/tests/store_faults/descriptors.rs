//! A store without file descriptors: nothing that it cannot open is missing.

use crate::{KEYS, Server, open, raw::client};
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use aws_smithy_runtime_api::http::Response;
use cedm_runtime::store::{Body, Store};
use std::{net::TcpStream, time::Duration};

const OBJECT: &str = "manifest/a";

/// The status and error code of an answer that is an error.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata>(
    answer: Result<T, SdkError<E, Response>>,
) -> (u16, String) {
    match answer {
        Ok(answer) => panic!("answered with {answer:?}"),
        Err(error) => (
            error.raw_response().map_or(0, |raw| raw.status().as_u16()),
            error.code().unwrap_or_default().to_owned(),
        ),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_not_missing() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::with_descriptors(root.path(), 40);
    let store = open(&server.endpoint).await;
    store.put(OBJECT, Body::Bytes("{}".into())).await.unwrap();

    // One client for each request, with its connection open already: new ones are not accepted.
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..4 {
        let client = client(&server.endpoint, KEYS.0, KEYS.1);
        client.head_bucket().bucket("cedm").send().await.unwrap();
        clients.push(client);
    }
    // Connections that say nothing take every descriptor that is left.
    let idle: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    let slow_down = (503, "SlowDown".to_owned());
    let got = clients[0].get_object().bucket("cedm").key(OBJECT).send();
    assert_eq!(refusal(got.await), slow_down, "GET");
    let asked = clients[1].head_object().bucket("cedm").key(OBJECT).send();
    assert_eq!(
        refusal(asked.await).0,
        503,
        "HEAD, whose answer has no code"
    );
    let listed = clients[2].list_objects_v2().bucket("cedm");
    let listed = listed.prefix("manifest/").send();
    assert_eq!(refusal(listed.await), slow_down, "LIST");
    let put = clients[3].put_object().bucket("cedm").key("manifest/b");
    let put = put.body(ByteStream::from_static(b"x")).send();
    assert_eq!(refusal(put.await), slow_down, "PUT");

    drop(idle);
    assert_eq!(store.get(OBJECT).await.unwrap().unwrap(), "{}");
    assert_eq!(store.list("").await.unwrap().len(), 1);
}
