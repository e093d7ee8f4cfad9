//! Buckets and objects as folders and files, with the two atomic ways to publish an object.

use crate::{
    failure::{failed, full, is_missing, missing_or_failed},
    listing::Names,
    multipart::Target,
};
use s3s::{S3ErrorCode, S3Result, s3_error};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
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
    uploads: Mutex<HashMap<String, Target>>,
    reserve_bytes: u64,
    /// Names in the folder that is being listed.
    pub(crate) names: Names,
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
            uploads: Mutex::default(),
            reserve_bytes: 0,
            names: Names::default(),
            _lock: lock,
        })
    }

    /// The same store, which refuses objects that would leave less than this free on its disk, for
    /// what else is on that disk. Refused with the error of a full disk.
    pub fn with_reserve(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Fails unless an object of this size fits.
    pub(crate) fn ensure_space(&self, content_length: Option<i64>) -> S3Result<()> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        let about =
            nix::sys::statvfs::statvfs(&self.partial).map_err(|error| failed(error.into()))?;
        let free = about.blocks_available() * about.fragment_size();
        let wanted = content_length.and_then(|size| u64::try_from(size).ok());
        let needed = self.reserve_bytes.saturating_add(wanted.unwrap_or(0));
        if free < needed {
            let reserve = self.reserve_bytes;
            return Err(full(&format!(
                "{free} bytes are free, of which {reserve} are kept in reserve"
            )));
        }
        Ok(())
    }

    /// The uploads in progress, by id.
    pub(crate) fn uploads(&self) -> MutexGuard<'_, HashMap<String, Target>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a bucket unless it exists.
    ///
    /// # Errors
    /// When its name holds other characters than letters, digits, `-` and `_`, or the folder cannot
    /// be created.
    pub fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        let path = self.bucket_path(bucket)?;
        fs::create_dir_all(path).map_err(failed)
    }

    /// A new path below `partial/`.
    pub(crate) fn partial_path(&self) -> PathBuf {
        self.partial.join(
            self.next_partial
                .fetch_add(1, Ordering::Relaxed)
                .to_string(),
        )
    }

    /// The folder of an upload whose id this process has made.
    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.partial.join(format!("upload-{id}"))
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
        match fs::metadata(&path) {
            Ok(about) if about.is_dir() => Ok(path),
            Ok(_) => Err(s3_error!(NoSuchBucket)),
            Err(error) => Err(missing_or_failed(error, S3ErrorCode::NoSuchBucket)),
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
        if create_only || outcome.is_err() {
            // Best effort: leftovers are removed at the next start.
            let _ = fs::remove_file(from);
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
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(failed(error)),
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
