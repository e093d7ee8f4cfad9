//! Buckets and objects as folders and files, with the two atomic ways of making an object visible.

use s3s::{S3Result, s3_error};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Longest key accepted, in bytes; what the system itself writes stays below 140.
const MAX_KEY_BYTES: usize = 1024;

/// One store in one folder: `objects/<bucket>/<key>`, `partial/` for what is being written, `lock`
/// held while it is served.
#[derive(Debug)]
pub struct Folder {
    objects: PathBuf,
    partial: PathBuf,
    next: AtomicU64,
    _lock: fs::File,
}

impl Folder {
    /// Opens or creates the store in `root` and removes what unfinished writes of an earlier
    /// process left behind.
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
                format!("{} is served by another process", root.display()),
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
            next: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Creates a bucket; it may exist.
    ///
    /// # Errors
    /// When its name is not a plain one or the folder cannot be made.
    pub fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        let path = self.bucket_path(bucket)?;
        fs::create_dir_all(path).map_err(|error| s3_error!(error, InternalError))
    }

    /// A fresh path below `partial/`.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.partial
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub(crate) fn upload_path(&self, id: &str) -> S3Result<PathBuf> {
        match id.parse::<u64>() {
            Ok(number) => Ok(self.partial.join(number.to_string())),
            Err(_) => Err(s3_error!(NoSuchUpload)),
        }
    }

    pub(crate) fn bucket_path(&self, bucket: &str) -> S3Result<PathBuf> {
        let plain = !bucket.is_empty()
            && bucket
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if plain {
            Ok(self.objects.join(bucket))
        } else {
            Err(s3_error!(InvalidBucketName))
        }
    }

    /// The bucket's folder, if the bucket exists.
    pub(crate) fn existing_bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let path = self.bucket_path(bucket)?;
        if path.is_dir() {
            Ok(path)
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    /// Where the object lies. A key is a relative path of plain names: nothing that could leave the
    /// bucket.
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

    /// Makes the finished file `from` visible at `to` and consumes it. `false`: `to` existed and
    /// `create_only` was asked for.
    pub(crate) fn publish(&self, from: &Path, to: &Path, create_only: bool) -> io::Result<bool> {
        let parent = to
            .parent()
            .expect("invariant: an object lies below its bucket");
        let mut tries = 0;
        let outcome = loop {
            fs::create_dir_all(parent)?;
            let outcome = if create_only {
                fs::hard_link(from, to)
            } else {
                fs::rename(from, to)
            };
            match outcome {
                // A concurrent delete pruned the folder just made.
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
                // The file's bytes were synced when it was written; this makes its name survive a
                // power loss too, and those of the folders on the way to it: a manifest must never
                // outlive the objects that it names.
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

    /// Removes an object and the folders that it leaves empty.
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
