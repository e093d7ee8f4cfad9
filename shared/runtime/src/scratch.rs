//! A process' own folder for temporary files; those of processes that died are removed.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Ends the name of a lock file.
const LOCK: &str = "lock";

/// One process' folder, with a lock beside it that says whether the process lives. Process ids
/// would not do: several containers may share the folder above.
pub(crate) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// A fresh folder below `base`.
    pub(crate) fn open(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        for entry in fs::read_dir(base)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == LOCK) {
                // Somebody else may be removing it too; what stays is found the next time.
                let _ = remove_if_left(&path);
            }
        }
        loop {
            let folder = base.join(format!("{}-{}", std::process::id(), ulid::Ulid::generate()));
            let lock = File::create_new(folder.with_extension(LOCK))?;
            match lock.try_lock() {
                Ok(()) => {
                    fs::create_dir(&folder)?;
                    return Ok(Self {
                        folder,
                        _lock: lock,
                    });
                }
                // Another process took the new file for a left one.
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Path of the scratch folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed by the next process.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(self.folder.with_extension(LOCK));
    }
}

/// Removes a folder and its lock unless a process holds the lock.
fn remove_if_left(lock: &Path) -> io::Result<()> {
    let held = File::open(lock)?;
    if held.try_lock().is_ok() {
        let folder = lock.with_extension("");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::remove_file(lock)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_living_use_stays() {
        let base = tempfile::tempdir().unwrap();
        let first = Scratch::open(base.path()).unwrap();
        fs::write(first.path().join("work"), "").unwrap();
        // A process that died: its folder and its lock are there, and no process holds the lock.
        let dead = base.path().join("1-DEAD");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.with_extension(LOCK), "").unwrap();
        let second = Scratch::open(base.path()).unwrap();
        assert!(first.path().join("work").exists() && second.path().exists());
        assert!(!dead.exists() && !dead.with_extension(LOCK).exists());
        drop((first, second));
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
