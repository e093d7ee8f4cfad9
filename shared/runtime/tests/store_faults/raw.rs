//! A client that asks once and hides nothing.

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};

/// A client without retries.
pub fn client(endpoint: &str, access: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .credentials_provider(Credentials::new(access, secret, None, None, "test"));
    let http = aws_smithy_http_client::Builder::new().build_http();
    Client::from_conf(config.http_client(http).build())
}
