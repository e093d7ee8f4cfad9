//! Buckets and objects as folders and files, with the two atomic ways to publish an object.

use s3s::{S3Result, s3_error};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Longest accepted key in bytes, as in S3; the keys of C-EDM stay below 140.
const MAX_KEY_BYTES: usize = 1024;

/// A store in a folder: `objects/<bucket>/<key>` for objects, `partial/` for unfinished writes, and
/// `lock`, which is held while the folder is served.
#[derive(Debug)]
pub struct Folder {
    objects: PathBuf,
    partial: PathBuf,
    next_partial: AtomicU64,
    _lock: fs::File,
}

impl Folder {
    /// Opens or creates the store in `root`, and removes the unfinished writes of an earlier process.
    ///
    /// # Errors
    /// When the folder cannot be written, or another process serves it.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let lock = fs::File::create(root.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is already served by another process", root.display()),
            ));
        }
        let (objects, partial) = (root.join("objects"), root.join("partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&objects)?;
        fs::create_dir_all(&partial)?;
        Ok(Self {
            objects,
            partial,
            next_partial: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Creates a bucket unless it exists.
    ///
    /// # Errors
    /// When its name holds other characters than letters, digits, `-` and `_`, or the folder cannot
    /// be created.
    pub fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        let path = self.bucket_path(bucket)?;
        fs::create_dir_all(path).map_err(|error| s3_error!(error, InternalError))
    }

    /// A new path below `partial/`.
    pub(crate) fn partial_path(&self) -> PathBuf {
        self.partial.join(
            self.next_partial
                .fetch_add(1, Ordering::Relaxed)
                .to_string(),
        )
    }

    pub(crate) fn upload_path(&self, id: &str) -> S3Result<PathBuf> {
        match id.parse::<u64>() {
            Ok(number) => Ok(self.partial.join(number.to_string())),
            Err(_) => Err(s3_error!(NoSuchUpload)),
        }
    }

    pub(crate) fn bucket_path(&self, bucket: &str) -> S3Result<PathBuf> {
        let is_valid = !bucket.is_empty()
            && bucket
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if is_valid {
            Ok(self.objects.join(bucket))
        } else {
            Err(s3_error!(InvalidBucketName))
        }
    }

    /// The folder of an existing bucket.
    pub(crate) fn existing_bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let path = self.bucket_path(bucket)?;
        if path.is_dir() {
            Ok(path)
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    /// The file of an object. A key must be a relative path without `.` and `..`, so that it cannot
    /// leave the bucket.
    pub(crate) fn object_path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let bucket = self.existing_bucket(bucket)?;
        if key.len() > MAX_KEY_BYTES || key.split('/').any(|name| name.len() > 255) {
            return Err(s3_error!(KeyTooLongError));
        }
        if key.contains('\0') || key.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(s3_error!(
                InvalidArgument,
                "keys are relative paths of non-empty names"
            ));
        }
        Ok(bucket.join(key))
    }

    /// Moves the complete file `from` to `to` atomically. Returns `false` when `create_only` is set and
    /// `to` exists already; `from` is removed in either case.
    pub(crate) fn publish(&self, from: &Path, to: &Path, create_only: bool) -> io::Result<bool> {
        let parent = to
            .parent()
            .expect("invariant: an object is below its bucket");
        let mut tries = 0;
        let outcome = loop {
            fs::create_dir_all(parent)?;
            let outcome = if create_only {
                fs::hard_link(from, to)
            } else {
                fs::rename(from, to)
            };
            match outcome {
                // A concurrent delete removed the folder that was just created.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 100 => tries += 1,
                outcome => break outcome,
            }
        };
        if create_only {
            fs::remove_file(from)?;
        }
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                // The file's bytes were synced when it was written. Syncing the folders makes its
                // name survive a power loss as well: a manifest must never outlive the objects that
                // it names.
                for folder in parent
                    .ancestors()
                    .take_while(|folder| *folder != self.objects)
                {
                    fs::File::open(folder)?.sync_all()?;
                }
                Ok(true)
            }
        }
    }

    /// Removes an object and the folders that become empty.
    pub(crate) fn remove(&self, bucket: &str, key: &str) -> S3Result<()> {
        let path = self.object_path(bucket, key)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(s3_error!(error, InternalError)),
        }
        let bucket = self.bucket_path(bucket)?;
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| **folder != *bucket) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(())
    }
}
