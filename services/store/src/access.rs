//! Authentication and authorization of requests by the [`Policy`].

use crate::policy::{Policy, Verb};
use s3s::{
    S3Request, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    dto::{CompleteMultipartUploadInput, ListObjectsV2Input},
    path::S3Path,
    s3_error,
};
use std::sync::Arc;

/// The policy as s3s asks for it.
#[derive(Clone)]
pub(crate) struct Guard(pub Arc<Policy>);

#[async_trait::async_trait]
impl S3Auth for Guard {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.identity(access_key) {
            Some(identity) => Ok(identity.secret_key.clone().into()),
            None => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

impl Guard {
    fn allow(&self, access_key: Option<&str>, verb: Verb, key: &str) -> S3Result<()> {
        let identity = access_key.and_then(|access_key| self.0.identity(access_key));
        let Some(identity) = identity else {
            return Err(s3_error!(AccessDenied, "anonymous requests are denied"));
        };
        if identity.may(verb, key) {
            return Ok(());
        }
        tracing::warn!(identity = identity.name, ?verb, key, "request denied");
        Err(s3_error!(
            AccessDenied,
            "`{}` may not {verb:?} `{key}`",
            identity.name
        ))
    }
}

#[async_trait::async_trait]
impl S3Access for Guard {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let access_key = cx.credentials().map(|found| found.access_key.as_str());
        let key = match cx.s3_path() {
            S3Path::Object { key, .. } => Some(key.as_ref()),
            S3Path::Root | S3Path::Bucket { .. } => None,
        };
        let create_only = cx
            .headers()
            .get("if-none-match")
            .is_some_and(|value| value.as_bytes() == b"*");
        let verb = match (cx.s3_op().name(), key) {
            ("GetObject" | "HeadObject", Some(_)) => Verb::Get,
            ("PutObject", Some(_)) if create_only => Verb::Create,
            ("PutObject", Some(_)) => Verb::Put,
            // Its condition, if it has one, is that of the completion.
            (
                "CreateMultipartUpload"
                | "UploadPart"
                | "AbortMultipartUpload"
                | "CompleteMultipartUpload",
                Some(_),
            ) => Verb::Create,
            ("DeleteObject", Some(_)) => Verb::Delete,
            // Whether the prefix may be listed is decided where it is known.
            ("HeadBucket" | "ListObjectsV2", None) => {
                let known = access_key.is_some_and(|found| self.0.identity(found).is_some());
                return if known {
                    Ok(())
                } else {
                    Err(s3_error!(AccessDenied, "anonymous requests are denied"))
                };
            }
            // A bucket is everybody's: only who may write everything makes one.
            ("CreateBucket", None) => return self.allow(access_key, Verb::Put, ""),
            (name, _) => {
                return Err(s3_error!(AccessDenied, "access to {name} denied"));
            }
        };
        self.allow(access_key, verb, key.unwrap_or_default())
    }

    async fn list_objects_v2(&self, req: &mut S3Request<ListObjectsV2Input>) -> S3Result<()> {
        let access_key = req.credentials.as_ref();
        let prefix = req.input.prefix.as_deref().unwrap_or_default();
        self.allow(
            access_key.map(|found| found.access_key.as_str()),
            Verb::List,
            prefix,
        )
    }

    async fn complete_multipart_upload(
        &self,
        req: &mut S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<()> {
        if req.input.if_none_match.is_some() {
            return Ok(());
        }
        let access_key = req.credentials.as_ref();
        self.allow(
            access_key.map(|found| found.access_key.as_str()),
            Verb::Put,
            &req.input.key,
        )
    }
}
