//! Multipart uploads: parts as files in a folder of `partial/`, joined into one file, then made
//! visible like any other.

use crate::Folder;
use s3s::{S3Result, dto::CompletedPart, s3_error};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// S3's limit for all parts but the last.
const MIN_PART_BYTES: u64 = 5 << 20;

pub(crate) fn begin(folder: &Folder) -> S3Result<String> {
    let path = folder.fresh();
    fs::create_dir(&path).map_err(|error| s3_error!(error, InternalError))?;
    let id = path.file_name().expect("invariant: fresh paths have names");
    Ok(id.to_string_lossy().into_owned())
}

/// Where part `number` of an upload in progress belongs.
pub(crate) fn part_path(folder: &Folder, id: &str, number: i32) -> S3Result<PathBuf> {
    let upload = folder.upload_path(id)?;
    if !upload.is_dir() {
        return Err(s3_error!(NoSuchUpload));
    }
    if !(1..=10_000).contains(&number) {
        return Err(s3_error!(InvalidPart));
    }
    Ok(upload.join(number.to_string()))
}

pub(crate) fn abort(folder: &Folder, id: &str) -> S3Result<()> {
    fs::remove_dir_all(folder.upload_path(id)?).map_err(|error| s3_error!(error, NoSuchUpload))
}

/// Joins the parts named into one synced file and removes the upload.
pub(crate) fn join(folder: &Folder, id: &str, parts: &[CompletedPart]) -> S3Result<PathBuf> {
    let numbers: Vec<i32> = parts.iter().filter_map(|part| part.part_number).collect();
    if numbers.is_empty() || numbers.len() != parts.len() {
        return Err(s3_error!(InvalidPart));
    }
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let sources = numbers
        .iter()
        .map(|number| part_path(folder, id, *number))
        .collect::<S3Result<Vec<_>>>()?;
    for (position, source) in sources.iter().enumerate() {
        let about = fs::metadata(source).map_err(|error| s3_error!(error, InvalidPart))?;
        if position + 1 < sources.len() && about.len() < MIN_PART_BYTES {
            return Err(s3_error!(EntityTooSmall));
        }
    }
    let whole = folder.fresh();
    let joined = concatenate(&sources, &whole);
    if let Err(error) = joined {
        // Best effort: what stays is removed at the next start.
        let _ = fs::remove_file(&whole);
        return Err(s3_error!(error, InternalError));
    }
    abort(folder, id)?;
    Ok(whole)
}

fn concatenate(sources: &[PathBuf], whole: &Path) -> io::Result<()> {
    let mut file = fs::File::create_new(whole)?;
    for source in sources {
        io::copy(&mut fs::File::open(source)?, &mut file)?;
    }
    file.sync_all()
}
