//! The S3 operations, implemented over [`Folder`].

use crate::{
    Folder,
    failure::{failed, missing_or_failed},
    listing,
    multipart::{self, Target},
    object_file::{blocking, e_tag, open, receive},
};
use bytes::Bytes;
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result, dto::*, s3_error};
use std::{io, path::PathBuf, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Bytes per chunk of a response body.
const CHUNK_BYTES: usize = 128 << 10;

/// The handler that s3s calls.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub Arc<Folder>);

type Reply<T> = S3Result<S3Response<T>>;

impl Service {
    /// Publishes a complete file under the request's If-None-Match condition.
    async fn publish(
        &self,
        from: PathBuf,
        to: PathBuf,
        condition: Option<IfNoneMatch>,
    ) -> S3Result<()> {
        let create_only = match condition {
            None => false,
            Some(ETagCondition::Any) => true,
            Some(ETagCondition::ETag(_)) => {
                return Err(s3_error!(
                    NotImplemented,
                    "only If-None-Match: * is supported"
                ));
            }
        };
        let folder = self.0.clone();
        let created =
            blocking(move || folder.publish(&from, &to, create_only).map_err(failed)).await?;
        if created {
            Ok(())
        } else {
            Err(s3_error!(PreconditionFailed, "the object exists already"))
        }
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> Reply<CreateBucketOutput> {
        self.0.create_bucket(&req.input.bucket)?;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Reply<HeadBucketOutput> {
        self.0.existing_bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> Reply<PutObjectOutput> {
        let input = req.input;
        let to = self.0.object_path(&input.bucket, &input.key)?;
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "If-Match is not supported"));
        }
        self.0.ensure_space(input.content_length)?;
        let from = self.0.partial_path();
        let e_tag = receive(&from, input.body, input.content_length).await?;
        self.publish(from, to, input.if_none_match).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(e_tag),
            ..Default::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> Reply<GetObjectOutput> {
        let input = req.input;
        let (mut file, about) = open(&self.0.object_path(&input.bucket, &input.key)?).await?;
        // A client that resumes an interrupted read must go on with the bytes of the same version.
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && *wanted != e_tag(&about)
        {
            return Err(s3_error!(PreconditionFailed, "the object was replaced"));
        }
        let size = about.len();
        let range = match input.range {
            Some(range) => range.check(size)?,
            None => 0..size,
        };
        if range.start > 0 {
            file.seek(io::SeekFrom::Start(range.start))
                .await
                .map_err(failed)?;
        }
        let length = range.end - range.start;
        let body = futures::stream::try_unfold((file, length), |(mut file, left)| async move {
            if left == 0 {
                return Ok::<_, io::Error>(None);
            }
            let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
            file.read_exact(&mut chunk).await?;
            let left = left - chunk.len() as u64;
            Ok(Some((Bytes::from(chunk), (file, left))))
        });
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(Box::pin(body))),
            content_length: Some(length as i64),
            content_range: input.range.map(|_| {
                format!(
                    "bytes {}-{}/{size}",
                    range.start,
                    range.end.saturating_sub(1)
                )
            }),
            accept_ranges: Some("bytes".to_owned()),
            last_modified: about.modified().ok().map(Timestamp::from),
            e_tag: Some(e_tag(&about)),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Reply<HeadObjectOutput> {
        let (_, about) = open(&self.0.object_path(&req.input.bucket, &req.input.key)?).await?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(about.len() as i64),
            last_modified: about.modified().ok().map(Timestamp::from),
            e_tag: Some(e_tag(&about)),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Reply<DeleteObjectOutput> {
        let (folder, input) = (self.0.clone(), req.input);
        blocking(move || folder.remove(&input.bucket, &input.key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> Reply<ListObjectsV2Output> {
        let input = req.input;
        let bucket = self.0.existing_bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone();
        let after = input
            .continuation_token
            .clone()
            .or(input.start_after.clone())
            .unwrap_or_default();
        let limit = input.max_keys.unwrap_or(1000).clamp(1, 1000);
        let page = {
            let (prefix, delimiter) = (prefix.clone(), delimiter.clone());
            let folder = self.0.clone();
            blocking(move || {
                let wanted = listing::Wanted {
                    prefix: &prefix,
                    delimiter: delimiter.as_deref(),
                    after: &after,
                    limit: limit as usize,
                };
                listing::page(&bucket, wanted, &folder.names).map_err(failed)
            })
            .await?
        };
        let contents = page.objects.into_iter().map(|found| Object {
            key: Some(found.key),
            size: Some(found.size as i64),
            last_modified: Some(Timestamp::from(found.modified)),
            ..Default::default()
        });
        let contents: Vec<Object> = contents.collect();
        let common_prefixes: Vec<CommonPrefix> = page
            .prefixes
            .into_iter()
            .map(|prefix| CommonPrefix {
                prefix: Some(prefix),
            })
            .collect();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some((contents.len() + common_prefixes.len()) as i32),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            name: Some(input.bucket),
            prefix: Some(prefix),
            delimiter,
            max_keys: Some(limit),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            continuation_token: input.continuation_token,
            start_after: input.start_after,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> Reply<CreateMultipartUploadOutput> {
        let target = Target::of(&req, &req.input.bucket, &req.input.key);
        let input = req.input;
        self.0.object_path(&input.bucket, &input.key)?;
        let upload_id = multipart::begin(&self.0, target)?;
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> Reply<UploadPartOutput> {
        let target = Target::of(&req, &req.input.bucket, &req.input.key);
        let input = req.input;
        let to = multipart::part_path(&self.0, &input.upload_id, &target, input.part_number)?;
        self.0.ensure_space(input.content_length)?;
        let from = self.0.partial_path();
        let e_tag = receive(&from, input.body, input.content_length).await?;
        // A part that is sent again replaces the earlier one.
        if let Err(error) = tokio::fs::rename(&from, &to).await {
            // Best effort: leftovers are removed at the next start.
            let _ = tokio::fs::remove_file(&from).await;
            return Err(missing_or_failed(error, S3ErrorCode::NoSuchUpload));
        }
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(e_tag),
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> Reply<CompleteMultipartUploadOutput> {
        let target = Target::of(&req, &req.input.bucket, &req.input.key);
        let input = req.input;
        let to = self.0.object_path(&input.bucket, &input.key)?;
        let (folder, id) = (self.0.clone(), input.upload_id);
        let parts = input
            .multipart_upload
            .and_then(|upload| upload.parts)
            .unwrap_or_default();
        let from = blocking(move || multipart::join(&folder, &id, &target, &parts)).await?;
        let e_tag = e_tag(&tokio::fs::metadata(&from).await.map_err(failed)?);
        self.publish(from, to, input.if_none_match).await?;
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(e_tag),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> Reply<AbortMultipartUploadOutput> {
        let target = Target::of(&req, &req.input.bucket, &req.input.key);
        let (folder, id) = (self.0.clone(), req.input.upload_id);
        blocking(move || multipart::abort(&folder, &id, &target)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
