//! Files as the C-EDM authors publish them: `cluster_ids.pt` and `freq.pt` in a folder that names
//! data set, method and C. Their third file, `cluster_info.csv`, is neither written nor read: what
//! its column `similarity` measures is not published.

use anyhow::{Context, Result};
use cedm_atomic_file::AtomicFile;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Name of a clustering's folder in the authors' layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A folder `TEMI-{backbone}/clusters_{C}/beta-{beta}`.
    Temi {
        /// Feature extractor, by the authors' name.
        backbone: String,
        /// Number of clusters C that was asked for.
        clusters: u32,
        /// beta as written: `0.6`, `1`.
        beta: String,
    },
    /// A folder `kmeans-{backbone}/clusters-{C}`.
    Kmeans {
        /// Feature extractor, by the authors' name.
        backbone: String,
        /// Number of clusters C that was asked for.
        clusters: u32,
    },
}

impl Layout {
    /// Its path below the folder of the data set.
    pub fn folder(&self) -> PathBuf {
        match self {
            Layout::Temi {
                backbone,
                clusters,
                beta,
            } => format!("TEMI-{backbone}/clusters_{clusters}/beta-{beta}").into(),
            Layout::Kmeans { backbone, clusters } => {
                format!("kmeans-{backbone}/clusters-{clusters}").into()
            }
        }
    }

    /// Writes ids and counts below `dataset` and returns the folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, dataset: &Path, raw_ids: &[i64], counts: &[i64]) -> Result<PathBuf> {
        let folder = dataset.join(self.folder());
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        write_pt(&folder.join("cluster_ids.pt"), raw_ids)?;
        write_pt(&folder.join("freq.pt"), counts)?;
        Ok(folder)
    }
}

/// Writes a vector of int64 as `torch.save` writes it: a zip archive with the pickled description
/// and the numbers as its members.
///
/// # Errors
/// When the file cannot be written.
pub fn write_pt(path: &Path, values: &[i64]) -> Result<()> {
    let write = || -> Result<()> {
        let mut archive = ZipWriter::new(AtomicFile::create(path)?);
        let prefix = path.file_stem().map_or_else(
            || "archive".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        // 64-byte alignment lets readers map the storage into memory
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(64);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        for (name, content) in [
            ("data.pkl", pickle(values.len())),
            ("byteorder", b"little".to_vec()),
            ("data/0", bytes),
            ("version", b"3\n".to_vec()),
        ] {
            archive.start_file(format!("{prefix}/{name}"), options)?;
            archive.write_all(&content)?;
        }
        Ok(archive.finish()?.commit()?)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// The pickle of a contiguous int64 vector: `_rebuild_tensor_v2(storage, 0, (n,), (1,), False,
/// OrderedDict())`.
fn pickle(count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    // LONG1 holds any count, in as many bytes as a signed 64-bit number
    let number = |out: &mut Vec<u8>, value: usize| {
        out.extend([0x8a, 8]);
        out.extend((value as i64).to_le_bytes());
    };
    out.extend(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((");
    text(&mut out, "storage");
    out.extend(b"ctorch\nLongStorage\n");
    text(&mut out, "0");
    text(&mut out, "cpu");
    number(&mut out, count);
    out.extend(b"tQK\x00"); // persistent id of the storage, offset 0
    number(&mut out, count);
    // Size, stride, no gradient, no hooks.
    out.extend(b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR.");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_ids;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::Temi {
            backbone: "dino_vitb16".to_owned(),
            clusters: 600,
            beta: "0.6".to_owned(),
        };
        let written = layout
            .write(folder.path(), &[4, 0, 599, 4], &[1, 2, 1])
            .unwrap();
        assert!(written.ends_with("TEMI-dino_vitb16/clusters_600/beta-0.6"));
        assert_eq!(
            read_ids(&written.join("cluster_ids.pt")).unwrap(),
            [4, 0, 599, 4]
        );
        assert_eq!(read_ids(&written.join("freq.pt")).unwrap(), [1, 2, 1]);
        assert_eq!(
            read_ids(&written).unwrap(),
            [4, 0, 599, 4],
            "the folder reads as its ids"
        );
        write_pt(&written.join("freq.pt"), &[2, 2]).unwrap();
        let error = read_ids(&written).unwrap_err().to_string();
        assert!(
            error
                .contains("counts 2 clusters of 4 images, but `cluster_ids.pt` in the same folder")
                && error.contains("has 3 clusters of 4 images"),
            "{error}"
        );
        assert_eq!(
            fs::read_dir(&written).unwrap().count(),
            2,
            "nothing half-written stays"
        );
    }

    #[test]
    fn kmeans_folders_use_a_dash() {
        let layout = Layout::Kmeans {
            backbone: "dino_vitb16".to_owned(),
            clusters: 100,
        };
        assert_eq!(
            layout.folder(),
            PathBuf::from("kmeans-dino_vitb16/clusters-100")
        );
    }
}
