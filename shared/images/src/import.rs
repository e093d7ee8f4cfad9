//! Importing a data set of any format as shards. Memory is bounded by one shard, an interrupted
//! import can be continued, and the result is visible only when complete.

use crate::{
    ImageError, ImportOptions,
    budget::Budget,
    journal::{Entry, Journal},
    shard::{Shard, read_shard, write_shard},
    source,
};
use cedm_atomic_file::folder_of;
use cedm_contract::{
    Digest, ShardRef,
    kinds::import::{ImageSet, ImportParams, NAMES},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

mod prepare;
mod record;
mod summary;
mod totals;
mod vectors;

use prepare::{Prepared, Shape, prepare};
pub use summary::Summary;
use totals::Totals;

/// Progress of an import.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Images processed, skipped ones included.
    pub done: u64,
    /// Images of the whole import.
    pub total: u64,
    /// Images skipped so far.
    pub skipped: u64,
    /// Images per second in this run.
    pub rate: f64,
    /// Seconds left at that rate.
    pub seconds_left: f64,
}

/// An image that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name in the source.
    pub name: String,
    /// Why it was skipped.
    pub reason: String,
}

/// A finished import. The folder holds the shards, `names.jsonl` (the name of every image, a JSON
/// string a line) and `import.json` (this record).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Imported {
    /// The set; the `object` of each shard is its file name in the folder.
    pub set: ImageSet,
    /// Digest over labels and class names.
    pub labels: Digest,
    /// Images per shard; the last shard may have fewer.
    pub shard_size: u32,
    /// Skipped images and files that look like some, with reasons.
    pub skipped: Vec<Skipped>,
    /// What the import understood of its source.
    #[serde(default)]
    pub summary: Summary,
    /// Seconds that this run took.
    pub seconds: f64,
}

impl Imported {
    /// The parameters of the import job; they and nothing else decide its key.
    pub fn params(&self) -> ImportParams {
        ImportParams {
            content: self.set.content.clone(),
            labels: self.labels.clone(),
            shard_size: self.shard_size,
        }
    }
}

/// The file of an import folder that holds [`Imported`] as JSON: written after all shards, so that
/// its presence says that the import is complete.
pub const IMPORT_RECORD: &str = "import.json";
/// Images decoded between two reports of progress: enough to keep all cores busy.
const CHUNK: usize = 512;
/// Bytes of decoded images between two reports of progress; one image at least.
const CHUNK_BYTES: u64 = 64 << 20;

/// Imports `source` into the new folder `out`. An import that is interrupted, or fails at a disk or
/// a network, leaves `<out>.partial`, which the same call continues.
///
/// # Errors
/// When the source cannot be read or has an unknown format, when it holds no usable image, labels
/// that do not fit, or images of different sizes while `options` give no resolution; with `strict`
/// also at the first corrupt image. `out` does not exist then, nor what was prepared of it.
pub fn import(
    source: &Path,
    options: &ImportOptions,
    out: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImageError> {
    let started = Instant::now();
    if options.shard_size == 0 {
        return Err(ImageError::Option {
            option: "shard size",
            reason: "0, expected at least 1".to_owned(),
        });
    }
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ImageError::Option {
            option: "out",
            reason: format!("{} exists and is not empty", out.display()),
        });
    }
    let partial = partial_of(out);
    let parent = folder_of(&partial);
    fs::create_dir_all(parent).map_err(ImageError::io("write", parent))?;
    let version = version_of(source);
    let set = source::open(source, options, parent)
        .and_then(|set| check_labels(set.labels()).map(|()| set))
        .map_err(|error| error.within(source))?;
    let total = options
        .max_images
        .map_or(set.len(), |max| set.len().min(max as usize));
    let run = Run {
        journal: Journal::open(&partial, &identity(source, options, set.as_ref()))?,
        set: set.as_ref(),
        options,
        budget: Budget::new(options.limits.in_flight_bytes),
        folder: &partial,
        totals: Totals::new(set.labels()),
        shape: None,
        next: 0,
        skipped: Vec::new(),
        counted: 0,
        version,
    };
    let outcome = run.complete(source, total, started, progress);
    if outcome.as_ref().is_err_and(ImageError::is_lasting) {
        // What was prepared is of no use: the same source fails again.
        fs::remove_dir_all(&partial).map_err(ImageError::io("write", &partial))?;
    }
    let imported = outcome?;
    // Empty, as checked above: a rename onto a folder needs it gone.
    if out.exists() {
        fs::remove_dir(out).map_err(ImageError::io("write", out))?;
    }
    fs::rename(&partial, out).map_err(ImageError::io("write", out))?;
    Ok(imported)
}

/// More classes than any data set has: a label beyond is a mistake, and the network's input would
/// be as wide.
const MAX_CLASSES: i64 = 1 << 24;

fn check_labels(labels: &source::Labels) -> Result<(), ImageError> {
    let all = labels.fine.iter().chain(&labels.coarse).flatten();
    match all.max().filter(|largest| **largest >= MAX_CLASSES) {
        None => Ok(()),
        Some(largest) => Err(ImageError::Labels {
            what: "the images".to_owned(),
            reason: format!("label {largest}, expected less than {MAX_CLASSES}"),
        }),
    }
}

/// The folder beside `out` that becomes `out` when it is complete.
pub(crate) fn partial_of(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    out.with_file_name(name)
}

/// What tells whether a file was changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    bytes: u64,
    modified: Option<SystemTime>,
}

/// That of a source which is one file. The files of a folder are read one by one, and what is
/// damaged then is named.
fn version_of(source: &Path) -> Option<Version> {
    let about = fs::metadata(source).ok().filter(fs::Metadata::is_file)?;
    Some(Version {
        bytes: about.len(),
        modified: about.modified().ok(),
    })
}

/// What an unfinished import must share with this one to be continued, in one line: source, its
/// age, names and labels, and the options that decide the result.
fn identity(path: &Path, options: &ImportOptions, set: &dyn source::Source) -> String {
    // Names stand for the contents of a folder, whose own time need not change with a file's.
    let mut hasher = blake3::Hasher::new();
    for index in 0..set.len() {
        hasher.update(set.name(index).as_bytes()).update(b"\n");
    }
    // Hashed as they are written: as text they take many times their memory.
    let mut labels = blake3::Hasher::new();
    let _never_fails = write!(labels, "{:?}", set.labels());
    let meta = fs::metadata(path)
        .ok()
        .map(|meta| (meta.len(), meta.modified().ok()));
    // Neither of these two changes the shards.
    let options = ImportOptions {
        threads: 0,
        strict: false,
        ..options.clone()
    };
    let text = format!(
        "{path:?} {meta:?} {options:?} {} {}",
        hasher.finalize().to_hex(),
        labels.finalize().to_hex()
    );
    serde_json::to_string(&text).expect("invariant: text always encodes")
}

struct Run<'a> {
    set: &'a dyn source::Source,
    options: &'a ImportOptions,
    budget: Budget,
    folder: &'a Path,
    journal: Journal,
    totals: Totals,
    /// Shape of the first image, which all others must have.
    shape: Option<Shape>,
    /// Index of the next image in the source.
    next: usize,
    skipped: Vec<Skipped>,
    /// Images of finished shards of this run whose files hold several pictures.
    counted: u64,
    /// The source as it was when it was opened.
    version: Option<Version>,
}

impl Run<'_> {
    /// Takes over what there is, and prepares the rest.
    fn complete(
        mut self,
        source: &Path,
        total: usize,
        started: Instant,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Imported, ImageError> {
        self.resume()?;
        let began = self.next;
        while self.next < total {
            self.shard(total, &mut |done, skipped| {
                let rate = (done - began) as f64 / started.elapsed().as_secs_f64().max(1e-9);
                let seconds_left = (total - done) as f64 / rate.max(1e-9);
                progress(Progress {
                    done: done as u64,
                    total: total as u64,
                    skipped: skipped as u64,
                    rate,
                    seconds_left,
                });
            })?;
        }
        // Half of an archive that was cut meanwhile would pass for a set with damaged images.
        let version = version_of(source);
        if version != self.version {
            let size = |version: Option<Version>| version.map_or(0, |version| version.bytes);
            let reason = format!(
                "it changed while it was read: it had {} bytes, and has {}",
                size(self.version),
                size(version)
            );
            return Err(ImageError::format(source, reason));
        }
        self.finish(source, started)
    }

    /// Takes over the finished shards of an interrupted import.
    fn resume(&mut self) -> Result<(), ImageError> {
        for entry in &self.journal.done {
            let shard = read_shard(&self.folder.join(&entry.shard.object.object))?;
            self.shape = Some(Shape {
                channels: shard.channels,
                side: shard.resolution,
            });
            self.totals.add(&shard);
            self.next = entry.next as usize;
            self.skipped.extend(entry.skipped.iter().cloned());
        }
        // Names of a shard that was not finished are cut off.
        let names = self.folder.join(NAMES);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&names)
            .map_err(ImageError::io("write", &names))?;
        file.set_len(
            self.journal
                .done
                .last()
                .map_or(0, |entry| entry.names_bytes),
        )
        .map_err(ImageError::io("write", &names))
    }

    /// Images of a full shard: as many as asked for, and fewer where those would not fit into
    /// memory.
    fn images_per_shard(&self) -> usize {
        let fit = |shape: Shape| (self.options.limits.shard_bytes / shape.bytes()).max(1);
        let fit = self.shape.map_or(u64::MAX, fit);
        fit.min(self.options.shard_size.into()) as usize
    }

    /// Images to be decoded before the next report; one while their shape is not known.
    fn images_at_once(&self) -> usize {
        let fit = |shape: Shape| (CHUNK_BYTES / shape.bytes()).max(1);
        self.shape.map_or(1, fit).min(CHUNK as u64) as usize
    }

    /// Fills and writes one shard. `report` is called with images processed and skipped.
    fn shard(
        &mut self,
        total: usize,
        report: &mut dyn FnMut(usize, usize),
    ) -> Result<(), ImageError> {
        let labels = self.set.labels();
        let mut shard = Shard {
            labels: labels.fine.as_ref().map(|_| Vec::new()),
            coarse_labels: labels.coarse.as_ref().map(|_| Vec::new()),
            ..Shard::default()
        };
        let (mut names, mut skipped) = (Vec::new(), Vec::new());
        while self.next < total {
            let room = self.images_per_shard().saturating_sub(shard.count);
            if room == 0 {
                break;
            }
            // Never more than the shard still takes.
            let end = total.min(self.next + self.images_at_once().min(room));
            let only_shape = self.shape.is_none() && end < total && room > 1;
            for (index, prepared) in (self.next..end).zip(prepare(
                self.set,
                self.next..end,
                self.options,
                &self.budget,
                &mut self.shape,
            )?) {
                match prepared {
                    Prepared::Image { planes, digest } => {
                        shard.count += 1;
                        shard.images.extend_from_slice(&planes);
                        shard.digests.extend_from_slice(&digest);
                        if let (Some(all), Some(mine)) = (&labels.fine, &mut shard.labels) {
                            mine.push(all[index]);
                        }
                        if let (Some(all), Some(mine)) = (&labels.coarse, &mut shard.coarse_labels)
                        {
                            mine.push(all[index]);
                        }
                        names.push(self.set.name(index));
                    }
                    Prepared::Skipped(reason) => skipped.push(Skipped {
                        name: self.set.name(index),
                        reason,
                    }),
                }
            }
            self.next = end;
            // The image that shows the shape is reported with those that follow.
            if !only_shape {
                report(end, self.skipped.len() + skipped.len());
            }
        }
        self.skipped.extend(skipped.iter().cloned());
        // All remaining images were skipped: there is no shard to write.
        let Some(shape) = self.shape.filter(|_| shard.count > 0) else {
            return Ok(());
        };
        (shard.channels, shard.resolution) = (shape.channels, shape.side);
        // Names first, then the shard, then the journal: an entry in the journal is the promise
        // that everything before it is on disk.
        let names_bytes = self.write_names(&names)?;
        let object = write_shard(
            self.folder,
            &format!("shard-{:05}.safetensors", self.journal.done.len()),
            &shard,
        )?;
        let several = self.set.several() - self.counted;
        self.counted += several;
        let first = self.totals.count;
        self.totals.add(&shard);
        let shard = ShardRef {
            object,
            first,
            count: shard.count as u64,
        };
        self.journal.add(Entry {
            shard,
            next: self.next as u64,
            skipped,
            several,
            names_bytes,
        })
    }

    /// Appends names; returns the length of their file.
    fn write_names(&self, names: &[String]) -> Result<u64, ImageError> {
        let path = self.folder.join(NAMES);
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(ImageError::io("write", &path))?;
        let mut writer = BufWriter::new(&file);
        for name in names {
            let line = serde_json::to_string(name).expect("invariant: text always encodes");
            writeln!(writer, "{line}").map_err(ImageError::io("write", &path))?;
        }
        writer.flush().map_err(ImageError::io("write", &path))?;
        drop(writer);
        // The shard is synced too: a journal must not outlive what it promises.
        file.sync_data().map_err(ImageError::io("write", &path))?;
        Ok(file
            .metadata()
            .map_err(ImageError::io("read", &path))?
            .len())
    }

    /// Writes the record and removes the journal.
    fn finish(self, source: &Path, started: Instant) -> Result<Imported, ImageError> {
        let Some(shape) = self.shape.filter(|_| self.totals.count > 0) else {
            let first = self
                .skipped
                .first()
                .map(|skipped| format!("; the first, `{}`: {}", skipped.name, skipped.reason))
                .unwrap_or_default();
            let hint = format!(": {} files were unusable{first}", self.skipped.len());
            return Err(ImageError::NoImages {
                path: source.to_owned(),
                hint,
            });
        };
        // Names that do not cover all labels would shift classes in reports.
        let mut class_names = self.set.labels().class_names.clone();
        if class_names.len() < self.totals.classes as usize {
            class_names.clear();
        }
        let set = ImageSet {
            count: self.totals.count,
            channels: shape.channels as u32,
            resolution: shape.side as u32,
            classes: self.totals.classes.max(class_names.len() as u32),
            coarse_classes: self.totals.coarse_classes,
            content: self.totals.content(),
            shards: self
                .journal
                .done
                .iter()
                .map(|entry| entry.shard.clone())
                .collect(),
            class_names,
        };
        self.write_vectors()?;
        let labels = self.totals.labels(&set.class_names);
        let mut skipped = self.skipped;
        skipped.extend_from_slice(self.set.left_out());
        let imported = Imported {
            summary: Summary::new(
                self.set,
                self.totals.class_counts,
                self.journal.done.iter().map(|entry| entry.several).sum(),
            ),
            set,
            labels,
            shard_size: self.options.shard_size,
            skipped,
            seconds: started.elapsed().as_secs_f64(),
        };
        let record = self.folder.join(IMPORT_RECORD);
        let json =
            serde_json::to_vec_pretty(&imported).expect("invariant: a record always encodes");
        cedm_atomic_file::write(&record, &json).map_err(ImageError::io("write", &record))?;
        self.journal.close()?;
        Ok(imported)
    }
}

#[cfg(test)]
mod tests;
