//! Folders of tar files, tables or databases, and tar files inside archives.

use super::{
    Container, Member, Place, folder, table, tarball,
    ways::{self, Ways},
};
use crate::{ImageError, ImportOptions, ReadAs, decode::is_image_name};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

impl Container {
    /// Lists a folder, and opens the tar files, the tables or the database in it.
    pub(super) fn open_folder(
        &mut self,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<(), ImageError> {
        let root = self.root.clone();
        let listed = folder::list(&root, &options.limits, &mut self.left_out)?;
        let ways = Ways::of(&root, &listed, false);
        self.way = ways.choose(options)?;
        let way = match self.way {
            Some(way @ (ReadAs::Shards | ReadAs::Tables | ReadAs::Database)) => way,
            _ => {
                self.members = listed;
                return Ok(());
            }
        };
        let (files, elsewhere) = ways.of_one_folder(way)?;
        let paths: Vec<PathBuf> = files.iter().map(|name| root.join(name)).collect();
        let Some(first) = paths.first() else {
            return Ok(());
        };
        self.left_out.extend(elsewhere);
        self.left_out.extend(ways.beside(way));
        match way {
            ReadAs::Database => self.add_lmdb(first, options)?,
            ReadAs::Tables => {
                let folder = first.parent().unwrap_or(&root).to_owned();
                let (tables, other_tables) = table::files(&folder, paths, options.split)?;
                self.add_tables(&tables, options, scratch)?;
                self.left_out.extend(other_tables);
            }
            _ => {
                let base = |path: &PathBuf| {
                    let base = path.file_name().unwrap_or_default().to_string_lossy();
                    ways::stem_of(&base).to_owned()
                };
                let stems: Vec<String> = paths.iter().map(base).collect();
                for (path, stem) in paths.iter().zip(&stems) {
                    // Names in different shards of a WebDataset may be equal.
                    self.add_tar(path, options, scratch, &format!("{stem}/"))?;
                }
                let stems: Vec<&str> = stems.iter().map(String::as_str).collect();
                let samples = ways::is_webdataset(&self.members, options);
                self.sharded = !ways::are_classes(&stems, samples);
                self.webdataset = self.sharded;
                self.kind = "folder of tar files";
            }
        }
        Ok(())
    }

    pub(super) fn add_tar(
        &mut self,
        path: &Path,
        options: &ImportOptions,
        scratch: &Path,
        prefix: &str,
    ) -> Result<(), ImageError> {
        let file = tarball::open(path, &options.limits, scratch)?;
        let index = self.files.len() as u32;
        let whole = tarball::Part::whole(path, &file)?;
        let listing = tarball::list(path, whole, index, prefix, &options.limits)?;
        self.left_out.extend(listing.left_out);
        self.add(listing.members, listing.links)?;
        self.files.push(file);
        Ok(())
    }

    /// Opens tar files among the members, as ImageNet comes: each is a folder with the name of its
    /// file. Beside images they are opened only if the options say so.
    pub(super) fn open_inner_tars(
        &mut self,
        options: &ImportOptions,
        scratch: &Path,
    ) -> Result<(), ImageError> {
        let is_inner = |member: &Member| ways::is_tar_name(&member.name);
        let images = self
            .members
            .iter()
            .any(|member| is_image_name(&member.name));
        let archive = matches!(self.kind, "zip archive" | "tar archive");
        let wanted = self.way == Some(ReadAs::Shards) && (archive || !images);
        if !wanted || !self.members.iter().any(is_inner) {
            return Ok(());
        }
        if images {
            let members = std::mem::take(&mut self.members);
            self.left_out
                .extend(Ways::of(&self.path, &members, true).beside(ReadAs::Shards));
            self.members = members;
            self.members.retain(|member| !is_image_name(&member.name));
        }
        let members = std::mem::take(&mut self.members);
        let (inner, others): (Vec<Member>, Vec<Member>) = members.into_iter().partition(is_inner);
        self.members = others;
        let sizes = inner.iter().map(|member| member.size);
        let limit = options
            .limits
            .expanded_from(sizes.fold(0, u64::saturating_add));
        // All that are compressed are expanded into one file.
        let mut expanded = None;
        let mut end = 0;
        for outer in inner {
            let path = self.path.join(&outer.name);
            let damaged = ImageError::io("read", &path);
            let mut head = Vec::new();
            let start = self.stream(&outer)?.take(512).read_to_end(&mut head);
            start.map_err(damaged)?;
            let (index, first, length) = match outer.place {
                Place::Stored {
                    file,
                    offset,
                    crc: None,
                } if !tarball::is_packed(&head) => (file, offset, outer.size),
                _ => {
                    let index = match expanded {
                        Some(index) => index,
                        None => {
                            let file = tempfile::tempfile_in(scratch)
                                .map_err(ImageError::io("write", scratch))?;
                            self.files.push(file);
                            *expanded.insert(self.files.len() - 1)
                        }
                    };
                    let mut out = self.files[index]
                        .try_clone()
                        .map_err(ImageError::io("write", scratch))?;
                    let bytes = self.stream(&outer)?;
                    let length = tarball::expand(&path, &head, bytes, limit - end, &mut out)?;
                    end += length;
                    (index as u32, end - length, length)
                }
            };
            let part = tarball::Part::new(&self.files[index as usize], first, length);
            let prefix = format!("{}/", ways::stem_of(&outer.name));
            let listing = tarball::list(&path, part, index, &prefix, &options.limits)?;
            self.left_out.extend(listing.left_out);
            self.add(listing.members, listing.links)?;
        }
        self.ignore();
        Ok(())
    }
}
