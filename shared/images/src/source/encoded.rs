//! Encoded image files in a container, in the order of their names.

use super::{Labels, Source, labels};
use crate::{
    ImageError, ImportOptions, Limits, Picture, Skipped,
    budget::{Budget, Permit},
    container::{Container, Member},
    decode::{self, is_image_name},
};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The encoded images of a container.
pub(super) struct Encoded {
    container: Container,
    /// Indices of the members that are images.
    images: Vec<u32>,
    labels: Labels,
    left_out: Vec<Skipped>,
    limits: Limits,
    /// Bytes of the archive that all of them lie in, where it is one file.
    packed: Option<u64>,
    /// Bytes of the images that were read, encoded and decoded.
    read: (AtomicU64, AtomicU64),
    /// Images read whose files hold more pictures.
    several: AtomicU64,
    large: Mutex<()>,
}

/// Bytes of an encoded image of which several threads may hold one at a time.
const LARGE: u64 = 8 << 20;

/// Images that decode to more than so many times their files, and to more than so many bytes, are
/// looked at before they are decoded.
const SUSPICIOUS: u64 = 64;
const SMALL: u64 = 64 << 20;

/// Whether any member has the name of an image.
pub(super) fn has_images(container: &Container) -> bool {
    container
        .members
        .iter()
        .any(|member| is_image_name(&member.name))
}

impl Encoded {
    pub(super) fn open(container: Container, options: &ImportOptions) -> Result<Self, ImageError> {
        let (include, exclude) = (
            globs("include", &options.include)?,
            globs("exclude", &options.exclude)?,
        );
        let wanted = |name: &str| {
            (options.include.is_empty() || include.is_match(name)) && !exclude.is_match(name)
        };
        let members = || (0u32..).zip(&container.members);
        let named = members().filter(|(_, member)| is_image_name(&member.name));
        let mut images: Vec<u32> = named
            .filter(|(_, member)| wanted(&member.name))
            .map(|(at, _)| at)
            .collect();
        if images.is_empty() {
            return Err(ImageError::NoImages {
                path: container.path.clone(),
                hint: hint(&container, options),
            });
        }
        let mut left_out = container.left_out.clone();
        if container.webdataset {
            images = labels::select(&container, images, options)?;
            left_out.extend(labels::lost(&container, &images, wanted, options));
        }
        left_out.extend(members().filter_map(|(_, member)| unread(&container, member)));
        let name = |at: &u32| container.members[*at as usize].name.as_str();
        let names: Vec<&str> = images.iter().map(name).collect();
        let labels = if options.ignore_labels {
            labels::none(&names)
        } else {
            labels::find(&container, &names, options)?
        };
        let about = std::fs::metadata(&container.path).ok();
        let packed = about
            .filter(std::fs::Metadata::is_file)
            .map(|about| about.len());
        Ok(Self {
            packed,
            container,
            images,
            labels,
            left_out,
            limits: options.limits.clone(),
            read: Default::default(),
            several: AtomicU64::default(),
            large: Mutex::default(),
        })
    }

    /// Counts an image before it is decoded. Each may be within the limits, and all together keep
    /// the program busy for hours.
    fn count(&self, encoded: u64, decoded: u64) -> Result<(), ImageError> {
        let encoded = encoded + self.read.0.fetch_add(encoded, Ordering::Relaxed);
        let decoded = decoded.saturating_add(self.read.1.fetch_add(decoded, Ordering::Relaxed));
        self.check(encoded, decoded)
    }

    fn check(&self, encoded: u64, decoded: u64) -> Result<(), ImageError> {
        // Archives compress images of nearly one colour a second time, by a thousand.
        let encoded = encoded.min(self.packed.unwrap_or(u64::MAX));
        let limit = encoded.saturating_mul(self.limits.decoded_expansion);
        let limit = limit.max(self.limits.all_decoded_bytes);
        if decoded <= limit {
            return Ok(());
        }
        Err(ImageError::Limit {
            what: format!(
                "the size of the decoded images of {}, of {encoded} bytes,",
                self.container.path.display()
            ),
            limit,
            unit: "bytes",
            advice: "leave out large images of nearly one colour, or import the set in parts",
        })
    }
}

fn globs(option: &'static str, patterns: &[String]) -> Result<GlobSet, ImageError> {
    let fail = |error: globset::Error| ImageError::Option {
        option,
        reason: error.to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).case_insensitive(true).build();
        set.add(glob.map_err(fail)?);
    }
    set.build().map_err(fail)
}

/// Extensions of files that lie beside images and are none: notes, lists, labels, programs. In
/// lower case.
const BESIDE: [&str; 24] = [
    "txt", "md", "rst", "json", "jsonl", "csv", "tsv", "xml", "html", "yaml", "yml", "toml", "ini",
    "cfg", "pdf", "py", "sh", "log", "cls", "pkl", "mat", "idx", "lock", "bib",
];

/// Extensions of files that may be sets of their own.
const SETS: [&str; 12] = [
    "zip", "tar", "tgz", "txz", "gz", "xz", "zst", "bz2", "parquet", "npz", "npy", "mdb",
];

/// A file that is neither an image nor one of the known kinds beside images: it is named, as it may
/// be an image under another name.
fn unread(container: &Container, member: &Member) -> Option<Skipped> {
    let base = member.name.rsplit('/').next().unwrap_or("");
    let (stem, extension) = base.rsplit_once('.').unwrap_or((base, ""));
    let lower = extension.to_ascii_lowercase();
    // Fields of records that are no images (captions, latents) are told by `labels`.
    if container.webdataset || is_image_name(base) {
        return None;
    }
    // Those that may hold labels are told by `labels` too.
    let of_labels = base == "metadata.parquet" || (lower != "zip" && labels::is_label_name(stem));
    if SETS.contains(&lower.as_str()) && !of_labels {
        return Some(Skipped {
            name: member.name.clone(),
            reason: format!("a `.{lower}` file beside images: import it by its own path"),
        });
    }
    let known = BESIDE.contains(&lower.as_str()) || SETS.contains(&lower.as_str());
    let license = [
        "license", "licence", "readme", "copying", "notice", "makefile",
    ];
    if known || (extension.is_empty() && license.contains(&base.to_ascii_lowercase().as_str())) {
        return None;
    }
    let reason = if extension.is_empty() {
        "no extension: images are found by theirs".to_owned()
    } else {
        format!("unknown extension `.{extension}`: images are found by theirs")
    };
    Some(Skipped {
        name: member.name.clone(),
        reason,
    })
}

/// What a container without images holds instead.
fn hint(container: &Container, options: &ImportOptions) -> String {
    if !(options.include.is_empty() && options.exclude.is_empty()) && has_images(container) {
        return " that `include` and `exclude` leave".to_owned();
    }
    match (&options.inside, container.members.first()) {
        (Some(inside), None) => format!(" below `{inside}`"),
        (_, None) => ": it is empty".to_owned(),
        (_, Some(first)) => format!(
            ": {} members, the first is `{}`",
            container.members.len(),
            first.name
        ),
    }
}

impl Source for Encoded {
    fn len(&self) -> usize {
        self.images.len()
    }
    fn name(&self, index: usize) -> String {
        self.container.members[self.images[index] as usize]
            .name
            .clone()
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn kind(&self) -> String {
        let records = if self.container.webdataset {
            "WebDataset samples"
        } else {
            "images"
        };
        format!("{} of {records}", self.container.kind)
    }
    fn left_out(&self) -> &[Skipped] {
        &self.left_out
    }
    fn several(&self) -> u64 {
        self.several.load(Ordering::Relaxed)
    }
    /// Reads the headers where the images so far decode to far more than their files: their sum is
    /// refused before minutes are spent on the first of them. Other sets would be read twice.
    fn look_ahead(&self, range: Range<usize>) -> Result<(), ImageError> {
        let encoded = self.read.0.load(Ordering::Relaxed);
        let decoded = self.read.1.load(Ordering::Relaxed);
        if decoded <= encoded.saturating_mul(SUSPICIOUS).max(SMALL) {
            return Ok(());
        }
        let (mut encoded, mut decoded) = (encoded, decoded);
        for index in range {
            let member = &self.container.members[self.images[index] as usize];
            let Ok(bytes) = self.container.read(member, self.limits.member_bytes) else {
                continue;
            };
            // What cannot be read is named when its turn comes.
            if let Ok(image) = decode::Encoded::open(&member.name, &bytes, &self.limits) {
                encoded += bytes.len() as u64;
                decoded = decoded.saturating_add(image.work());
                self.check(encoded, decoded)?;
            }
        }
        Ok(())
    }
    fn read<'b>(
        &self,
        index: usize,
        budget: &'b Budget,
    ) -> Result<(Picture, Permit<'b>), ImageError> {
        let member = &self.container.members[self.images[index] as usize];
        // Read one at a time, as the budget knows an image only once its header has been read.
        let _alone = (member.size > LARGE)
            .then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        let bytes = self.container.read(member, self.limits.member_bytes)?;
        let encoded = decode::Encoded::open(&member.name, &bytes, &self.limits)?;
        self.count(bytes.len() as u64, encoded.work())?;
        let permit = budget.acquire(encoded.memory());
        let picture = encoded.decode()?;
        let several = decode::holds_several(&bytes);
        self.several.fetch_add(several.into(), Ordering::Relaxed);
        Ok((picture, permit))
    }
}
