//! Multipart uploads: parts are files in a folder below `partial/`; completing the upload joins them
//! into one file, which is then published like any other.

use crate::Folder;
use s3s::{S3Result, dto::CompletedPart, s3_error};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Least size of all parts but the last, as in S3.
const MIN_PART_BYTES: u64 = 5 << 20;

/// Starts an upload; returns its id.
pub(crate) fn begin(folder: &Folder) -> S3Result<String> {
    let path = folder.partial_path();
    fs::create_dir(&path).map_err(|error| s3_error!(error, InternalError))?;
    let id = path
        .file_name()
        .expect("invariant: partial paths have names");
    Ok(id.to_string_lossy().into_owned())
}

/// The file of part `number` of an upload in progress.
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

/// Removes an upload and its parts.
pub(crate) fn abort(folder: &Folder, id: &str) -> S3Result<()> {
    fs::remove_dir_all(folder.upload_path(id)?).map_err(|error| s3_error!(error, NoSuchUpload))
}

/// Joins the named parts into one synced file and removes the upload; returns the file's path.
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
    let whole = folder.partial_path();
    let joined = concatenate(&sources, &whole);
    if let Err(error) = joined {
        // Best effort: leftovers are removed at the next start.
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
