//! Folders, zip archives and tar files as one thing: a list of members that can be read in any
//! order.

mod folder;
mod ignored;
mod links;
mod lmdb;
mod shards;
mod stream;
mod table;
mod tarball;
mod ways;
mod zipped;

use crate::{ImageError, ImportOptions, ReadAs, Skipped};
use cedm_tensor_files::open_file;
use ignored::is_ignored;
use links::Link;
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use stream::{Checked, Positioned};
use table::TableFile;
pub use table::{Table, part_named};
use ways::Ways;
pub use ways::key_and_field;
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
    /// Whether the first folder of each name is that of a shard, which says nothing of the images.
    pub sharded: bool,
    /// What the options or the names of the members say that it is.
    pub way: Option<ReadAs>,
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
    let file = open_file(path).map_err(ImageError::io("read", path))?;
    file.take(512)
        .read_to_end(&mut head)
        .map_err(ImageError::io("read", path))?;
    Ok(head)
}

/// Whether a file begins with the header of a tar archive: one that says so, or an older one whose
/// checksum is right.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    if head.get(257..262) == Some(b"ustar") {
        return true;
    }
    let (Some(head), Some(stated)) = (head.get(..512), head.get(148..156)) else {
        return false;
    };
    let stated = String::from_utf8_lossy(stated);
    let stated = u64::from_str_radix(stated.trim_matches([' ', '\0']), 8);
    // The field itself counts as spaces.
    let bytes = head.iter().enumerate();
    let sum = bytes.map(|(at, byte)| {
        let own = (148..156).contains(&at);
        u64::from(if own { b' ' } else { *byte })
    });
    head[0] != 0 && stated == Ok(sum.sum())
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
            sharded: false,
            way: None,
            table: None,
            kind: "folder",
            left_out: Vec::new(),
            root: path.to_owned(),
            files: Vec::new(),
        };
        if path.is_dir() {
            container.root = inside.map_or_else(|| path.to_owned(), |inside| path.join(inside));
            container.open_folder(options, scratch)?;
        } else {
            let head = head_of(path)?;
            // npz files are zip archives too.
            if head.starts_with(table::MAGIC) {
                table::check_part(path, options)?;
                container.add_tables(&[path.to_owned()], options, scratch)?;
            } else if lmdb::is_lmdb(&head) {
                container.add_lmdb(path, options)?;
            } else if head.starts_with(b"PK") {
                let file = open_file(path).map_err(ImageError::io("read", path))?;
                let (members, links) = zipped::list(path, &file, &options.limits)?;
                container.files.push(file);
                container.add(members, links)?;
                container.kind = "zip archive";
            } else if is_tar(&head) || tarball::is_packed(&head) {
                container.add_tar(path, options, scratch, "")?;
                container.kind = "tar archive";
            } else {
                let reason = "expected a folder, a zip, tar, tar.gz, tar.xz or tar.zst archive, an \
                    npy or npz file, a parquet file, an LMDB database, or \
                    MNIST's idx files";
                return Err(ImageError::format(path, reason));
            }
            if let Some(inside) = inside {
                // Tar files inside the archive are folders too.
                let prefix = format!("{inside}/");
                container.members.retain(|member| {
                    let folder = format!("{}/", ways::stem_of(&member.name));
                    member.name.starts_with(&prefix) || prefix.starts_with(&folder)
                });
            }
        }
        container.ignore();
        if matches!(container.kind, "zip archive" | "tar archive") {
            container.way = Ways::of(path, &container.members, true).choose(options)?;
        }
        container.open_inner_tars(options, scratch)?;
        if let (Some(inside), false) = (inside, path.is_dir()) {
            let prefix = format!("{inside}/");
            let members = std::mem::take(&mut container.members).into_iter();
            let below = members.filter_map(|member| {
                let name = member.name.strip_prefix(&prefix)?.to_owned();
                Some(Member { name, ..member })
            });
            container.members = below.collect();
        }
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
        // A source counts as one if it holds labels in members of their own.
        container.webdataset |=
            container.table.is_none() && ways::is_webdataset(&container.members, options);
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

    /// Drops what programs and systems leave behind: it is no part of a set, wherever it lies.
    fn ignore(&mut self) {
        self.members.retain(|member| !is_ignored(&member.name));
        self.left_out.retain(|left| !is_ignored(&left.name));
    }

    fn add_lmdb(&mut self, path: &Path, options: &ImportOptions) -> Result<(), ImageError> {
        let file = open_file(path).map_err(ImageError::io("read", path))?;
        let (members, named) = lmdb::list(path, &file, &options.limits)?;
        self.members = members;
        self.left_out.extend(named);
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
        self.left_out.append(&mut table.left_out);
        self.table = Some(table);
        self.kind = "parquet table";
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
                Box::new(open_file(&path).map_err(ImageError::io("read", path))?)
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
