//! A client that asks once and hides nothing, and a server that knows one answer.

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region,
        retry::{ReconnectMode, RetryConfig},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client without retries.
pub fn client(endpoint: &str, access: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        // A connection that is closed after an error gives the server its descriptor back.
        .retry_config(
            RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections),
        )
        .credentials_provider(Credentials::new(access, secret, None, None, "test"));
    let http = aws_smithy_http_client::Builder::new().build_http();
    Client::from_conf(config.http_client(http).build())
}

/// A server that gives every request this answer, with these header lines beside its length; its
/// endpoint, and how many requests came.
pub async fn answering(
    status: &'static str,
    headers: &'static str,
    body: &'static str,
) -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicU64::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                // The requests of these tests fit into one read.
                let mut request = [0; 16 << 10];
                while let Ok(read @ 1..) = client.read(&mut request).await {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let length = body.len();
                    let head =
                        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
                    // An answer to HEAD has no body.
                    let is_head = request[..read].starts_with(b"HEAD ");
                    let answer = format!("{head}{}", if is_head { "" } else { body });
                    if client.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (endpoint, requests)
}
