//! Where the bucket is, checked before anything is sent: what cannot be right is said at once, with
//! the name of the setting.

use super::{StoreError, StoreErrorKind};
use axum::http::Uri;
use std::{fmt, path::PathBuf};

/// Where the bucket is.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// Custom endpoint, one URL; AWS when absent.
    pub endpoint: Option<String>,
    /// Name of the bucket.
    pub bucket: String,
    /// Region; the default chain's when absent, `us-east-1` for a custom endpoint.
    pub region: Option<String>,
    /// Certificates in PEM of the authorities to trust instead of the system's, for `https`.
    pub ca_file: Option<PathBuf>,
}

/// Names the store in messages: endpoint, bucket and region. A checked endpoint holds no password.
impl fmt::Display for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "the S3 store at {endpoint}")?,
            None => f.write_str("the S3 store of AWS")?,
        }
        if let Some(region) = &self.region {
            write!(f, ", region `{region}`")?;
        }
        write!(f, ", bucket `{}`", self.bucket)
    }
}

/// An error of a setting, which no other try will heal.
pub(super) fn misconfigured(setting: &str, reason: String) -> StoreError {
    StoreError::new("open", setting, StoreErrorKind::Misconfigured, reason)
}

impl S3Settings {
    /// Refuses settings that name no store.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint).map_err(|reason| misconfigured("CEDM_S3_ENDPOINT", reason))?;
        }
        check_name(
            &self.bucket,
            "the name of one bucket, without `s3://` and without a key",
        )
        .map_err(|reason| misconfigured("CEDM_S3_BUCKET", reason))?;
        if let Some(region) = &self.region {
            check_name(region, "the name of one region, such as eu-west-1")
                .map_err(|reason| misconfigured("CEDM_S3_REGION", reason))?;
        }
        Ok(())
    }
}

/// The access point of a bucket has an ARN, with slashes and colons.
fn check_name(name: &str, expected: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.starts_with("arn:") || (!name.is_empty() && name.chars().all(fits)) {
        return Ok(());
    }
    Err(format!("found `{name}`, expected {expected}"))
}

fn check_endpoint(endpoint: &str) -> Result<(), String> {
    const EXPECTED: &str = "expected one URL, such as https://s3.example.org:9000";
    if endpoint.is_empty() {
        return Err(format!(
            "it is set and empty; {EXPECTED}, or no such variable for AWS"
        ));
    }
    // Before anything is quoted: what is wrong may be a secret.
    if endpoint.contains('@') {
        return Err(format!(
            "it holds a user or password, which show in logs; {EXPECTED}, and keys in \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ));
    }
    if endpoint.matches("://").count() > 1 || endpoint.contains([',', ';', ' ']) {
        return Err(format!(
            "found several URLs in `{endpoint}`; {EXPECTED}: of a store with several nodes name the \
             address of its load balancer"
        ));
    }
    let uri: Uri = endpoint
        .parse()
        .map_err(|error| format!("`{endpoint}` is not a URL ({error}); {EXPECTED}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => {
            return Err(format!(
                "found scheme `{other}` in `{endpoint}`; {EXPECTED}"
            ));
        }
        None => {
            return Err(format!(
                "`{endpoint}` has no http:// or https://; {EXPECTED}"
            ));
        }
    }
    if has_odd_port(&uri) {
        return Err(format!(
            "`{endpoint}` is not a URL (its port is not a number); {EXPECTED}"
        ));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(format!("`{endpoint}` names no host; {EXPECTED}"));
    }
    if uri.query().is_some() || endpoint.contains('#') {
        return Err(format!("`{endpoint}` has a query or fragment; {EXPECTED}"));
    }
    Ok(())
}

/// Whether a colon follows the host, and no port follows the colon.
fn has_odd_port(uri: &Uri) -> bool {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let after_brackets = authority
        .rsplit_once(']')
        .map_or(authority, |(_, rest)| rest);
    after_brackets
        .split_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn refusal(endpoint: &str, bucket: &str, region: &str) -> Option<String> {
        let settings = S3Settings {
            endpoint: Some(endpoint.to_owned()),
            bucket: bucket.to_owned(),
            region: Some(region.to_owned()),
            ca_file: None,
        };
        settings.check().err().map(|error| chain(&error))
    }

    #[test]
    fn what_names_no_store_is_refused_by_the_name_of_the_setting() {
        for endpoint in [
            "http://127.0.0.1:9000",
            "https://s3.example.org",
            "http://h/s3",
        ] {
            assert_eq!(refusal(endpoint, "cedm", "us-east-1"), None);
        }
        for (endpoint, expect) in [
            ("http://a:9000,http://b:9000", "several URLs"),
            ("http://a:9000 http://b:9000", "several URLs"),
            ("localhost:9000", "no http:// or https://"),
            ("127.0.0.1", "no http:// or https://"),
            ("s3://cedm", "scheme `s3`"),
            ("http://", "is not a URL"),
            ("http://h:port", "is not a URL"),
            ("http://h/?x", "query"),
            ("", "empty"),
        ] {
            let refusal = refusal(endpoint, "cedm", "us-east-1").unwrap();
            assert!(
                refusal.contains(expect) && refusal.contains("CEDM_S3_ENDPOINT"),
                "{endpoint}: {refusal}"
            );
        }
        let refused = refusal("http://key:secret@host:9000", "cedm", "us-east-1").unwrap();
        assert!(!refused.contains("secret"), "{refused}");
        for bucket in ["", "s3://cedm", "cedm/a", "a,b"] {
            let refusal = refusal("http://h", bucket, "us-east-1").unwrap();
            assert!(refusal.contains("CEDM_S3_BUCKET"), "{refusal}");
        }
        let refusal = refusal("http://h", "cedm", "us east 1").unwrap();
        assert!(refusal.contains("CEDM_S3_REGION"), "{refusal}");
    }
}
