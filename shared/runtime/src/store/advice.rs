//! What to do about an error of an S3 store: its codes in plain words, with the setting to mend.
//! Codes and fields are those of the S3 API reference, "Error responses".

use super::StoreErrorKind::{self, Denied, Misconfigured, Unavailable};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::http::Response;

/// The parts of an unsuccessful answer that say what is wrong.
pub(super) struct Refusal<'a> {
    status: u16,
    /// Absent when the answer is none of an S3 store, and for every HEAD, whose answers have no
    /// body.
    code: Option<&'a str>,
    body: &'a str,
    /// The region of the bucket, which AWS names in answers without a body too.
    region: Option<&'a str>,
}

/// What an error means, and what to do about it.
type Advice = (StoreErrorKind, String);

/// The advice for an error; `None` when its own text says enough.
pub(super) fn advice<E: ProvideErrorMetadata>(
    op: &str,
    error: &SdkError<E, Response>,
    text: &str,
) -> Option<Advice> {
    let Some(raw) = error.raw_response() else {
        return without_answer(matches!(error, SdkError::ConstructionFailure(_)), text);
    };
    let refusal = Refusal {
        status: raw.status().as_u16(),
        code: error.code(),
        body: raw
            .body()
            .bytes()
            .and_then(|body| std::str::from_utf8(body).ok())
            .unwrap_or_default(),
        region: raw.headers().get("x-amz-bucket-region"),
    };
    refusal.advice(op)
}

/// The request was not sent, or nothing came back.
fn without_answer(is_unsent: bool, text: &str) -> Option<Advice> {
    let text = text.to_lowercase();
    let found = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let advice = if found(&[
        "no providers in chain",
        "credentials provider",
        "credential provider",
    ]) {
        "no access key was found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another source \
         of the AWS chain"
    } else if found(&["invalid peer certificate"]) {
        "the store's certificate is not trusted, or is not for this host: name the PEM file of its \
         authority in CEDM_S3_CA_FILE (--s3-ca-file), and the host as in the certificate in \
         CEDM_S3_ENDPOINT"
    } else if found(&["corrupt message", "invalidcontenttype"]) {
        "no TLS is spoken at this address: http:// instead of https:// in CEDM_S3_ENDPOINT?"
    } else if found(&["missing region", "region must be set"]) {
        "no region is known: set CEDM_S3_REGION (--s3-region)"
    } else if is_unsent {
        "the request could not be made: compare the settings of the store"
    } else {
        return None;
    };
    Some((Misconfigured, advice.to_owned()))
}

impl Refusal<'_> {
    fn advice(&self, op: &str) -> Option<Advice> {
        let (kind, text) = match (self.code, self.status) {
            (Some("NoSuchBucket" | "InvalidBucketName"), _) => {
                (Misconfigured, self.other_bucket())
            }
            (Some("InvalidAccessKeyId"), _) => (
                Misconfigured,
                "the store does not know the access key: correct AWS_ACCESS_KEY_ID (or the profile)"
                    .to_owned(),
            ),
            (Some("SignatureDoesNotMatch"), _) => (
                Misconfigured,
                "the secret is not that of the access key: correct AWS_SECRET_ACCESS_KEY (or a proxy \
                 in between alters the Host header or the path)"
                    .to_owned(),
            ),
            (Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _) => (
                Misconfigured,
                "the session token is not valid, or not any more: renew AWS_SESSION_TOKEN, or remove \
                 it"
                    .to_owned(),
            ),
            (Some("RequestTimeTooSkewed"), _) => (Misconfigured, self.other_time()),
            (
                Some(
                    "AuthorizationHeaderMalformed"
                    | "PermanentRedirect"
                    | "IllegalLocationConstraintException"
                    | "InvalidRegion",
                ),
                _,
            )
            | (_, 301) => (Misconfigured, self.other_region()),
            (None, 400) if self.region.is_some() => (Misconfigured, self.other_region()),
            (_, 401 | 403) if matches!(op, "get" | "head") => (
                Denied,
                "the keys lack the right s3:GetObject; or the object does not exist and they lack \
                 s3:ListBucket, without which S3 answers 403 instead of 404"
                    .to_owned(),
            ),
            (None, 300..=499) if !self.body.is_empty() || op != "head" => (
                // A proxy may say so while it cannot reach the store.
                if matches!(self.status, 401 | 403) {
                    Denied
                } else {
                    Unavailable
                },
                format!(
                    "the answer, status {}, is none of an S3 store: is CEDM_S3_ENDPOINT the address of \
                     one?",
                    self.status
                ),
            ),
            _ => return None,
        };
        Some((kind, text))
    }

    fn other_bucket(&self) -> String {
        let name = self.element("BucketName");
        let name = name.map_or(String::new(), |name| format!(" `{name}`"));
        format!(
            "the bucket{name} does not exist: make it, or correct CEDM_S3_BUCKET (--s3-bucket) or \
             CEDM_S3_ENDPOINT"
        )
    }

    fn other_region(&self) -> String {
        if let Some(region) = self.region.or_else(|| self.element("Region")) {
            return format!(
                "the bucket is in region `{region}`: set CEDM_S3_REGION={region} (--s3-region)"
            );
        }
        match self.element("Endpoint") {
            Some(endpoint) => format!(
                "the bucket is at `{endpoint}`: correct CEDM_S3_REGION (--s3-region) or \
                 CEDM_S3_ENDPOINT"
            ),
            None => {
                "the store expects another region: correct CEDM_S3_REGION (--s3-region)".to_owned()
            }
        }
    }

    fn other_time(&self) -> String {
        let times = match (self.element("ServerTime"), self.element("RequestTime")) {
            (Some(server), Some(ours)) => format!(" (store {server}, request {ours})"),
            _ => String::new(),
        };
        format!(
            "the clocks of this machine and of the store differ too much{times}: set them, best by NTP"
        )
    }

    /// The text of an element of the answer. Error documents are flat and hold no markup in it.
    fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once(&format!("</{name}>"))?;
        (!text.is_empty() && text.len() < 300).then_some(text)
    }
}
