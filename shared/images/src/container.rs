//! Folders, zip archives and tar files as one thing: a list of members that can be read in any
//! order.

mod folder;
mod ignored;
mod links;
mod lmdb;
mod table;
mod tarball;
mod zipped;

use crate::{ImageError, ImportOptions, Skipped};
use ignored::is_ignored;
use links::Link;
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
pub use table::Table;
use table::TableFile;
pub use zipped::open_zip;

/// Where a member's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a file of its own, below the folder.
    Own,
    /// A range of container file `file`, with the checksum of its bytes where there is one.
    Stored {
        file: u32,
        offset: u64,
        crc: Option<u32>,
    },
    /// A deflated range of container file `file`.
    Deflated {
        file: u32,
        offset: u64,
        compressed: u64,
        crc: u32,
    },
}

/// A file inside a container.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Its name with forward slashes, relative to [`ImportOptions::inside`].
    pub name: String,
    pub size: u64,
    pub place: Place,
}

/// An opened source with the list of its members.
pub(crate) struct Container {
    /// The path that the user gave.
    pub path: PathBuf,
    /// All members, sorted by name.
    pub members: Vec<Member>,
    /// Whether the members are records of WebDataset shards.
    pub webdataset: bool,
    /// The folder around all members, with its slash; empty where there is none.
    pub wrapper: String,
    /// What a table says of its rows; absent for other containers.
    pub table: Option<Table>,
    /// What it is, in words: "folder", "zip archive", …
    pub kind: &'static str,
    /// What looks like a file of the set and cannot be read, with the reason.
    pub left_out: Vec<Skipped>,
    root: PathBuf,
    files: Vec<File>,
}

/// First bytes of what gzip has compressed.
pub const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// The first bytes of a file, enough to recognise every format.
pub(crate) fn head_of(path: &Path) -> Result<Vec<u8>, ImageError> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    file.take(512)
        .read_to_end(&mut head)
        .map_err(ImageError::io("read", path))?;
    Ok(head)
}

pub(crate) fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

impl Container {
    /// Opens `path`; its content decides the format, not its name. Compressed tar files are
    /// expanded once, into an unnamed file in `scratch`.
    pub fn open(path: &Path, options: &ImportOptions, scratch: &Path) -> Result<Self, ImageError> {
        let inside = options
            .inside
            .as_deref()
            .map(|inside| inside.trim_matches('/'))
            .filter(|inside| !inside.is_empty());
        let mut container = Self {
            path: path.to_owned(),
            members: Vec::new(),
            webdataset: false,
            wrapper: String::new(),
            table: None,
            kind: "folder",
            left_out: Vec::new(),
            root: path.to_owned(),
            files: Vec::new(),
        };
        if path.is_dir() {
            container.root = inside.map_or_else(|| path.to_owned(), |inside| path.join(inside));
            let shards = folder::tar_shards(&container.root, options.read_as)?;
            let database = container.root.join(lmdb::FILE);
            let (tables, other_tables) = table::files(&container.root, options.split)?;
            if database.is_file() {
                container.add_lmdb(&database, options)?;
            } else if !tables.is_empty() && shards.is_empty() {
                container.add_tables(&tables, options, scratch)?;
                container.left_out.extend(other_tables);
            } else if shards.is_empty() {
                let left_out = &mut container.left_out;
                container.members = folder::list(&container.root, &options.limits, left_out)?;
            } else {
                for shard in &shards {
                    container.add_tar(shard, options, scratch, true)?;
                }
                container.webdataset = !shards.iter().all(|shard| is_class_archive(shard));
                container.kind = "folder of tar files";
            }
        } else {
            let head = head_of(path)?;
            // npz files are zip archives too.
            if head.starts_with(table::MAGIC) {
                table::check_part(path, options)?;
                container.add_tables(&[path.to_owned()], options, scratch)?;
            } else if lmdb::is_lmdb(&head) {
                container.add_lmdb(path, options)?;
            } else if head.starts_with(b"PK") {
                let file = File::open(path).map_err(ImageError::io("read", path))?;
                let (members, links) = zipped::list(path, &file, &options.limits)?;
                container.files.push(file);
                container.add(members, links)?;
                container.kind = "zip archive";
            } else if is_tar(&head) || [GZIP, ZSTD, XZ].iter().any(|magic| head.starts_with(magic))
            {
                container.add_tar(path, options, scratch, false)?;
                container.kind = "tar archive";
            } else {
                let reason = "expected a folder, a zip, tar, tar.gz, tar.xz or tar.zst archive, an \
                    npy or npz file, a parquet file, an LMDB database, or \
                    MNIST's idx files";
                return Err(ImageError::format(path, reason));
            }
            if let Some(inside) = inside {
                let prefix = format!("{inside}/");
                container
                    .members
                    .retain_mut(|member| match member.name.strip_prefix(&prefix) {
                        Some(rest) => {
                            member.name = rest.to_owned();
                            true
                        }
                        None => false,
                    });
            }
        }
        // What programs and systems leave behind is no part of a set, wherever it lies.
        container.members.retain(|member| !is_ignored(&member.name));
        container.left_out.retain(|left| !is_ignored(&left.name));
        // By bytes of the name, as the EDM tool sorts: the order of a data set must not depend on
        // the order in a folder or an archive (spec §1.1).
        container.members.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = container
            .members
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            return Err(ImageError::format(
                path,
                format!("two members are named `{}`", pair[0].name),
            ));
        }
        // A single tar file counts as one if it holds labels in members of their own.
        container.webdataset |= !path.is_dir()
            && container.table.is_none()
            && is_webdataset(&container.members, options);
        container.wrapper = wrapper_of(&container.members);
        Ok(container)
    }

    /// Adds the members of one archive, and for each of its links a member in place of what it
    /// names: links stay within their archive.
    ///
    /// # Errors
    /// When the links stand for far more members than the archive has.
    fn add(&mut self, members: Vec<Member>, links: Vec<Link>) -> Result<(), ImageError> {
        let (found, lost) = links::resolve(&members, links)
            .map_err(|reason| ImageError::format(&self.path, reason))?;
        self.members.extend(members);
        self.members.extend(found);
        self.left_out.extend(lost);
        Ok(())
    }

    fn add_tar(
        &mut self,
        path: &Path,
        options: &ImportOptions,
        scratch: &Path,
        prefixed: bool,
    ) -> Result<(), ImageError> {
        let file = tarball::open(path, &options.limits, scratch)?;
        let index = self.files.len() as u32;
        // Names in different shards of a WebDataset may be equal.
        let prefix = if prefixed {
            path.file_stem()
                .map(|stem| format!("{}/", stem.to_string_lossy()))
                .unwrap_or_default()
        } else {
            String::new()
        };
        let whole = tarball::Part::whole(path, &file)?;
        let listing = tarball::list(path, whole, index, &prefix, &options.limits)?;
        let first = self.members.len();
        self.left_out.extend(listing.left_out);
        self.add(listing.members, listing.links)?;
        self.add_inner_tars(path, &file, index, first, options)?;
        self.files.push(file);
        Ok(())
    }

    fn add_lmdb(&mut self, path: &Path, options: &ImportOptions) -> Result<(), ImageError> {
        let file = File::open(path).map_err(ImageError::io("read", path))?;
        self.members = lmdb::list(path, &file, &options.limits)?;
        self.files.push(file);
        self.kind = "LMDB database";
        Ok(())
    }

    fn add_tables(
        &mut self,
        paths: &[PathBuf],
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<(), ImageError> {
        let mut table = Table::default();
        for path in paths {
            let file = TableFile {
                path,
                index: self.files.len() as u32,
                options,
                scratch,
            };
            let file = file.open(&mut self.members, &mut table)?;
            self.files.push(file);
        }
        self.table = Some(table);
        self.kind = "parquet table";
        Ok(())
    }

    /// A tar file of tar files, as ImageNet comes: where it holds nothing else, each is a class
    /// folder with the name of its file.
    fn add_inner_tars(
        &mut self,
        path: &Path,
        file: &File,
        index: u32,
        first: usize,
        options: &ImportOptions,
    ) -> Result<(), ImageError> {
        let here = &self.members[first..];
        let is_tar_name = |member: &Member| member.name.ends_with(".tar");
        if here.is_empty() || !here.iter().all(is_tar_name) {
            return Ok(());
        }
        for outer in self.members.split_off(first) {
            let Place::Stored { offset, .. } = outer.place else {
                continue;
            };
            let part = tarball::Part::new(file, offset, outer.size);
            let prefix = format!("{}/", outer.name.trim_end_matches(".tar"));
            let listing = tarball::list(path, part, index, &prefix, &options.limits)?;
            self.left_out.extend(listing.left_out);
            self.add(listing.members, listing.links)?;
        }
        Ok(())
    }

    /// The member with this name.
    pub fn find(&self, name: &str) -> Option<&Member> {
        self.members
            .binary_search_by(|member| member.name.as_str().cmp(name))
            .ok()
            .map(|at| &self.members[at])
    }

    /// All bytes of a member.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, or cannot be read.
    pub fn read(&self, member: &Member, limit: u64) -> Result<Vec<u8>, ImageError> {
        if member.size > limit {
            return Err(ImageError::image(
                &member.name,
                format!("{} bytes are more than the allowed {limit}", member.size),
            ));
        }
        let short = |error: std::io::Error| ImageError::image(&member.name, error.to_string());
        match member.place {
            Place::Own => folder::read(&self.root.join(&member.name), limit).map_err(short),
            Place::Stored { file, offset, crc } => {
                let mut bytes = vec![0; member.size as usize];
                self.files[file as usize]
                    .read_exact_at(&mut bytes, offset)
                    .map_err(short)?;
                match crc.map(|crc| zipped::check(&bytes, crc)) {
                    Some(Err(reason)) => Err(ImageError::image(&member.name, reason)),
                    Some(Ok(())) | None => Ok(bytes),
                }
            }
            Place::Deflated {
                file,
                offset,
                compressed,
                crc,
            } => {
                // Both sizes come from the archive and are not trusted.
                let mut packed = vec![0; compressed.min(limit) as usize];
                self.files[file as usize]
                    .read_exact_at(&mut packed, offset)
                    .map_err(short)?;
                zipped::inflate(&packed, member.size, crc)
                    .map_err(|reason| ImageError::image(&member.name, reason))
            }
        }
    }

    /// A reader over a member's bytes in order, for arrays that are larger than memory.
    pub fn stream<'a>(&'a self, member: &Member) -> Result<Box<dyn Read + 'a>, ImageError> {
        let at = |file: u32, offset| Positioned {
            file: &self.files[file as usize],
            offset,
        };
        Ok(match member.place {
            Place::Own => {
                let path = self.root.join(&member.name);
                Box::new(File::open(&path).map_err(ImageError::io("read", path))?)
            }
            Place::Stored { file, offset, crc } => {
                let bytes = at(file, offset).take(member.size);
                match crc {
                    Some(crc) => Box::new(Checked::new(bytes, crc)),
                    None => Box::new(bytes),
                }
            }
            Place::Deflated {
                file,
                offset,
                compressed,
                crc,
            } => {
                let packed = at(file, offset).take(compressed);
                let bytes = flate2::read::DeflateDecoder::new(packed).take(member.size);
                Box::new(Checked::new(bytes, crc))
            }
        })
    }
}

/// Whether labels stand beside the images in files of their own (`000123.jpg`, `000123.cls`), or
/// the options speak of fields.
fn is_webdataset(members: &[Member], options: &ImportOptions) -> bool {
    let is_class = |member: &Member| member.name.to_ascii_lowercase().ends_with(".cls");
    options.image_field.is_some() || members.iter().any(is_class)
}

/// Whether a tar file is named by a WordNet id (`n01440764.tar`): one class of ImageNet, and no
/// shard of samples.
fn is_class_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let id = name
        .split('.')
        .next()
        .and_then(|stem| stem.strip_prefix('n'));
    id.is_some_and(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The folders that lie around all members, with a slash at the end: archives are often made of one
/// folder, which says nothing about the images in it.
fn wrapper_of(members: &[Member]) -> String {
    let Some(first) = members.first() else {
        return String::new();
    };
    let mut wrapper = String::new();
    // The last part is the name of the file.
    for part in first
        .name
        .split_inclusive('/')
        .filter(|part| part.ends_with('/'))
    {
        let longer = format!("{wrapper}{part}");
        if !members
            .iter()
            .all(|member| member.name.starts_with(&longer))
        {
            break;
        }
        wrapper = longer;
    }
    wrapper
}

/// Reads a file from a position on, without the cursor that all threads share.
struct Positioned<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Bytes whose checksum is compared at their end.
struct Checked<R> {
    bytes: R,
    sum: flate2::Crc,
    expected: u32,
}

impl<R: Read> Checked<R> {
    fn new(bytes: R, expected: u32) -> Self {
        Self {
            bytes,
            sum: flate2::Crc::new(),
            expected,
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.sum.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && self.sum.sum() != self.expected {
            return Err(std::io::Error::other(zipped::WRONG_CHECKSUM));
        }
        Ok(count)
    }
}

/// A member name with forward slashes, or an error when it leaves the archive.
fn safe_name(path: &Path, name: &str) -> Result<String, ImageError> {
    // Windows writes backslashes.
    let name = name.replace('\\', "/");
    let inside = name.trim_start_matches("./");
    if inside.starts_with('/')
        || inside.split('/').any(|part| part == "..")
        || inside.contains('\0')
    {
        return Err(ImageError::UnsafeName {
            path: path.to_owned(),
            name,
        });
    }
    Ok(inside.to_owned())
}
