//! Multipart uploads: parts are files in a folder below `partial/`; completing the upload joins
//! them into one file, which is then published like any other.
//!
//! An upload belongs to the key and the identity that began it; with any other it does not exist.
//! Ids are random, and uploads end with the process: an id of an earlier process names nothing.

use crate::{
    Folder,
    failure::{failed, missing_or_failed},
};
use s3s::{S3ErrorCode, S3Request, S3Result, dto::CompletedPart, s3_error};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Least size of all parts but the last, as in S3.
const MIN_PART_BYTES: u64 = 5 << 20;

/// What an upload was begun for, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    bucket: String,
    key: String,
    owner: Option<String>,
}

impl Target {
    /// The object that a request names, and the identity that signed it.
    pub(crate) fn of<T>(request: &S3Request<T>, bucket: &str, key: &str) -> Self {
        let signed = request.credentials.as_ref();
        Self {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            owner: signed.map(|found| found.access_key.clone()),
        }
    }
}

/// Starts an upload; returns its id.
pub(crate) fn begin(folder: &Folder, target: Target) -> S3Result<String> {
    let id = format!("{:032x}", rand::random::<u128>());
    fs::create_dir(folder.upload_path(&id)).map_err(failed)?;
    folder.uploads().insert(id.clone(), target);
    Ok(id)
}

/// The folder of an upload in progress.
fn upload_path(folder: &Folder, id: &str, target: &Target) -> S3Result<PathBuf> {
    if folder.uploads().get(id) == Some(target) {
        Ok(folder.upload_path(id))
    } else {
        Err(s3_error!(NoSuchUpload))
    }
}

/// The file of part `number` of an upload in progress.
pub(crate) fn part_path(
    folder: &Folder,
    id: &str,
    target: &Target,
    number: i32,
) -> S3Result<PathBuf> {
    let upload = upload_path(folder, id, target)?;
    if !(1..=10_000).contains(&number) {
        return Err(s3_error!(InvalidPart));
    }
    Ok(upload.join(number.to_string()))
}

/// Removes an upload and its parts.
pub(crate) fn abort(folder: &Folder, id: &str, target: &Target) -> S3Result<()> {
    let path = upload_path(folder, id, target)?;
    fs::remove_dir_all(path)
        .map_err(|error| missing_or_failed(error, S3ErrorCode::NoSuchUpload))?;
    folder.uploads().remove(id);
    Ok(())
}

/// Joins the named parts into one synced file and removes the upload; returns the file's path.
pub(crate) fn join(
    folder: &Folder,
    id: &str,
    target: &Target,
    parts: &[CompletedPart],
) -> S3Result<PathBuf> {
    upload_path(folder, id, target)?;
    let numbers: Vec<i32> = parts.iter().filter_map(|part| part.part_number).collect();
    if numbers.is_empty() || numbers.len() != parts.len() {
        return Err(s3_error!(InvalidPart));
    }
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let sources = numbers
        .iter()
        .map(|number| part_path(folder, id, target, *number))
        .collect::<S3Result<Vec<_>>>()?;
    for (position, source) in sources.iter().enumerate() {
        let about = fs::metadata(source)
            .map_err(|error| missing_or_failed(error, S3ErrorCode::InvalidPart))?;
        if position + 1 < sources.len() && about.len() < MIN_PART_BYTES {
            return Err(s3_error!(EntityTooSmall));
        }
    }
    let whole = folder.partial_path();
    let joined = concatenate(&sources, &whole);
    if let Err(error) = joined {
        // Best effort: leftovers are removed at the next start.
        let _ = fs::remove_file(&whole);
        return Err(failed(error));
    }
    abort(folder, id, target)?;
    Ok(whole)
}

fn concatenate(sources: &[PathBuf], whole: &Path) -> io::Result<()> {
    let mut file = fs::File::create_new(whole)?;
    for source in sources {
        io::copy(&mut fs::File::open(source)?, &mut file)?;
    }
    file.sync_all()
}
