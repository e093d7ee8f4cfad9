//! The journal of an unfinished import, so that the next attempt continues after the last complete
//! shard.

use crate::{ImageError, import::Skipped};
use cedm_contract::ShardRef;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

const FILE: &str = "journal.jsonl";

/// A finished shard, one line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub shard: ShardRef,
    /// Index in the source of the first image after it.
    pub next: u64,
    pub skipped: Vec<Skipped>,
    /// Images of it whose files hold more pictures than the one that was taken.
    #[serde(default)]
    pub several: u64,
    /// Length of the file of names after it; what lies behind is cut off on resumption.
    pub names_bytes: u64,
}

/// The journal in the folder of an unfinished import: JSON lines, the first of which identifies
/// what is imported; each other line is an [`Entry`].
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Shards that are complete and verified.
    pub done: Vec<Entry>,
}

impl Journal {
    /// Continues the import in `folder` when it has the same identity; otherwise empties the
    /// folder.
    pub fn open(folder: &Path, identity: &str) -> Result<Self, ImageError> {
        let path = folder.join(FILE);
        let done = read(folder, identity).unwrap_or_default();
        if done.is_empty() {
            if folder.exists() {
                fs::remove_dir_all(folder).map_err(ImageError::io("write", folder))?;
            }
            fs::create_dir_all(folder).map_err(ImageError::io("write", folder))?;
        }
        // Written anew: a crash may have left a line that is not complete.
        let mut journal = Self {
            file: File::create(&path).map_err(ImageError::io("write", &path))?,
            path,
            done: Vec::new(),
        };
        journal.line(identity)?;
        for entry in done {
            journal.add(entry)?;
        }
        Ok(journal)
    }

    /// Records a finished shard.
    pub fn add(&mut self, entry: Entry) -> Result<(), ImageError> {
        self.line(&serde_json::to_string(&entry).expect("invariant: entries are plain data"))?;
        self.done.push(entry);
        Ok(())
    }

    /// Removes the journal: the import is complete.
    pub fn close(self) -> Result<(), ImageError> {
        fs::remove_file(&self.path).map_err(ImageError::io("write", &self.path))
    }

    fn line(&mut self, text: &str) -> Result<(), ImageError> {
        writeln!(self.file, "{text}").map_err(ImageError::io("write", &self.path))
    }
}

/// The finished shards up to the first that does not match its digest; `None` when the journal is
/// missing or has another identity.
fn read(folder: &Path, identity: &str) -> Option<Vec<Entry>> {
    let file = OpenOptions::new().read(true).open(folder.join(FILE)).ok()?;
    let mut lines = BufReader::new(file).lines();
    if lines.next()?.ok()? != identity {
        return None;
    }
    let mut done: Vec<Entry> = Vec::new();
    for line in lines.map_while(Result::ok) {
        // A line cut off by a crash: everything after the last whole one is done again.
        let Ok(entry) = serde_json::from_str::<Entry>(&line) else {
            break;
        };
        // The journal says what was written; only the digest says that it is still there.
        let intact = crate::shard::file_digest(&folder.join(&entry.shard.object.object));
        if !intact.is_ok_and(|(size, digest)| {
            size == entry.shard.object.size && digest == entry.shard.object.digest
        }) {
            break;
        }
        done.push(entry);
    }
    Some(done)
}
