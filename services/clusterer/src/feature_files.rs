//! Features that stay on disk: rows are read when they are asked for.

use anyhow::{Context, Result, ensure};
use cedm_clustering::{ClusteringError, Features, kmeans::RowSource};
use cedm_contract::kinds::extract::features::FEATURES;
use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use tch::{Device, Kind, Tensor};

/// Longest safetensors header that is read, in bytes.
const MAX_HEADER: u64 = 16 << 20;

/// The features of one or several safetensors files, one after the other.
#[derive(Debug)]
pub struct FeatureFiles {
    files: Vec<Opened>,
    count: i64,
    width: i64,
    kind: Kind,
    device: Device,
}

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: File,
    /// Index of its first row in the whole.
    first: i64,
    count: i64,
    width: i64,
    kind: Kind,
    /// Where its numbers begin, in bytes.
    start: u64,
}

impl FeatureFiles {
    /// Opens the files and in each the matrix `name`, else `features`, else the only one; rows go
    /// to `device`.
    ///
    /// # Errors
    /// When a file is no safetensors file with a matrix of floating numbers `name`, is truncated,
    /// or does not fit the others.
    pub fn open(paths: &[PathBuf], name: Option<&str>, device: Device) -> Result<Self> {
        let mut files: Vec<Opened> = Vec::with_capacity(paths.len());
        let mut count = 0;
        for path in paths {
            let opened = open(path, name, count).with_context(|| path.display().to_string())?;
            if let Some(before) = files.first() {
                ensure!(
                    (opened.width, opened.kind) == (before.width, before.kind),
                    "{}: {:?} rows of width {}, {} holds {:?} ones of width {}",
                    path.display(),
                    opened.kind,
                    opened.width,
                    before.path.display(),
                    before.kind,
                    before.width
                );
            }
            count += opened.count;
            files.push(opened);
        }
        let first = files.first().context("no feature files")?;
        let (width, kind) = (first.width, first.kind);
        ensure!(count > 0, "the feature files hold no rows");
        Ok(Self {
            files,
            count,
            width,
            kind,
            device,
        })
    }

    fn features(&self, bytes: &[u8], rows: i64) -> Result<Features, ClusteringError> {
        let made = Tensor::f_from_data_size(bytes, &[rows, self.width], self.kind);
        let rows = made.map_err(|source| ClusteringError::Torch {
            doing: "reading rows of features",
            source,
        })?;
        Ok(Features::new(&rows)?.to_device(self.device))
    }
}

fn open(path: &Path, name: Option<&str>, first: i64) -> Result<Opened> {
    let mut file = File::open(path).context("open")?;
    let length = file.metadata().context("read its size")?.len();
    let mut head = [0; 8];
    file.read_exact(&mut head)
        .context("not a safetensors file: too short")?;
    let header = u64::from_le_bytes(head);
    ensure!(
        header <= MAX_HEADER && header + 8 <= length,
        "not a safetensors file: a header of {header} bytes"
    );
    let mut text = vec![0; header as usize];
    file.read_exact(&mut text)?;
    let json: serde_json::Value =
        serde_json::from_slice(&text).context("not a safetensors file: its header is no JSON")?;
    let names: Vec<&String> = json
        .as_object()
        .into_iter()
        .flat_map(|all| all.keys())
        .filter(|name| *name != "__metadata__")
        .collect();
    let name = match (name, names.as_slice()) {
        (None, [only]) => only.as_str(),
        (name, _) => name.unwrap_or(FEATURES.name),
    };
    let tensor = json
        .get(name)
        .with_context(|| format!("no array `{name}`, only {names:?}"))?;
    let kind = match tensor["dtype"].as_str().unwrap_or_default() {
        "F16" => Kind::Half,
        "BF16" => Kind::BFloat16,
        "F32" => Kind::Float,
        "F64" => Kind::Double,
        other => anyhow::bail!("`{name}` holds {other}, expected F16, BF16, F32 or F64"),
    };
    let numbers =
        |key: &str| -> Vec<u64> { serde_json::from_value(tensor[key].clone()).unwrap_or_default() };
    let (shape, offsets) = (numbers("shape"), numbers("data_offsets"));
    let (&[rows, width], &[from, to]) = (shape.as_slice(), offsets.as_slice()) else {
        anyhow::bail!(
            "`{name}` has shape {}, expected [rows, width]",
            tensor["shape"]
        );
    };
    let bytes = rows
        .checked_mul(width)
        .and_then(|size| size.checked_mul(kind.elt_size_in_bytes() as u64));
    ensure!(
        width > 0 && bytes.is_some() && to.checked_sub(from) == bytes,
        "`{name}`: shape and size do not agree"
    );
    let end = (8 + header).checked_add(to).filter(|end| *end <= length);
    ensure!(
        end.is_some(),
        "{length} bytes, its header says more: truncated?"
    );
    Ok(Opened {
        path: path.to_owned(),
        file,
        first,
        count: rows as i64,
        width: width as i64,
        kind,
        start: 8 + header + from,
    })
}

impl Opened {
    /// Reads rows into `out`; `row` is an index of the whole.
    fn read(&self, row: i64, out: &mut [u8]) -> Result<(), ClusteringError> {
        let row_bytes = self.width as u64 * self.kind.elt_size_in_bytes() as u64;
        let place = self.start + (row - self.first) as u64 * row_bytes;
        self.file
            .read_exact_at(out, place)
            .map_err(|error| ClusteringError::File {
                file: self.path.clone(),
                reason: format!("rows from {row} on: {error}"),
            })
    }
}

impl RowSource for FeatureFiles {
    fn count(&self) -> i64 {
        self.count
    }
    fn width(&self) -> i64 {
        self.width
    }
    fn piece(&self, first: i64, count: i64) -> Result<Features, ClusteringError> {
        let row_bytes = self.width as usize * self.kind.elt_size_in_bytes();
        let mut bytes = vec![0; count as usize * row_bytes];
        let mut rest = bytes.as_mut_slice();
        for file in &self.files {
            let (from, to) = (
                first.max(file.first),
                (first + count).min(file.first + file.count),
            );
            if from < to {
                let (here, after) = rest.split_at_mut((to - from) as usize * row_bytes);
                file.read(from, here)?;
                rest = after;
            }
        }
        self.features(&bytes, count)
    }
    fn gather(&self, places: &[i64]) -> Result<Features, ClusteringError> {
        let row_bytes = self.width as usize * self.kind.elt_size_in_bytes();
        let mut bytes = vec![0; places.len() * row_bytes];
        for (place, out) in places.iter().zip(bytes.chunks_exact_mut(row_bytes)) {
            let after = self.files.partition_point(|file| file.first <= *place);
            self.files[after.saturating_sub(1)].read(*place, out)?;
        }
        self.features(&bytes, places.len() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, kind: Kind) -> (Vec<PathBuf>, Tensor) {
        let whole = Tensor::arange(21, (Kind::Float, Device::Cpu))
            .view([7, 3])
            .to_kind(kind);
        let mut paths = Vec::new();
        for (index, (first, count)) in [(0, 2), (2, 4), (6, 1)].into_iter().enumerate() {
            let path = folder.join(format!("{index}.safetensors"));
            let labels = Tensor::zeros([count], (Kind::Int64, Device::Cpu));
            Tensor::write_safetensors(
                &[
                    ("a", labels),
                    ("features", whole.narrow(0, first, count).contiguous()),
                ],
                &path,
            )
            .unwrap();
            paths.push(path);
        }
        (paths, whole)
    }

    #[test]
    fn rows_come_from_any_file() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [Kind::Half, Kind::Float, Kind::Double] {
            let (paths, whole) = files(folder.path(), kind);
            let found = FeatureFiles::open(&paths, None, Device::Cpu).unwrap();
            assert_eq!((found.count(), found.width()), (7, 3));
            let expect = |found: Features, rows: &[i64]| {
                let expected =
                    Features::new(&whole.index_select(0, &Tensor::from_slice(rows))).unwrap();
                assert!(
                    found.tensor().equal(expected.tensor()),
                    "{rows:?} of {kind:?}"
                );
            };
            expect(found.piece(1, 6).unwrap(), &[1, 2, 3, 4, 5, 6]);
            expect(found.gather(&[6, 0, 0, 3]).unwrap(), &[6, 0, 0, 3]);
        }
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (mut paths, _) = files(folder.path(), Kind::Float);
        let error = |paths: &[PathBuf], name: &str| {
            format!(
                "{:#}",
                FeatureFiles::open(paths, Some(name), Device::Cpu).unwrap_err()
            )
        };
        assert!(
            error(&paths, "embeddings")
                .contains("no array `embeddings`, only [\"a\", \"features\"]")
        );
        assert!(error(&paths, "a").contains("`a` holds I64, expected F16"));
        let whole = std::fs::read(&paths[1]).unwrap();
        std::fs::write(&paths[1], &whole[..whole.len() - 4]).unwrap();
        assert!(error(&paths, "features").contains("truncated?"));
        std::fs::write(&paths[1], b"hello").unwrap();
        assert!(error(&paths, "features").contains("1.safetensors: not a safetensors file"));
        let alone = folder.path().join("alone.safetensors");
        Tensor::write_safetensors(
            &[(
                "embeddings",
                Tensor::ones([2, 3], (Kind::Float, Device::Cpu)),
            )],
            &alone,
        )
        .unwrap();
        assert_eq!(
            FeatureFiles::open(&[alone], None, Device::Cpu)
                .unwrap()
                .count(),
            2,
            "the only one needs no name"
        );
        paths[1] = folder.path().join("double.safetensors");
        let other = Tensor::zeros([2, 3], (Kind::Double, Device::Cpu));
        Tensor::write_safetensors(&[("features", other)], &paths[1]).unwrap();
        assert!(error(&paths, "features").contains("Double rows of width 3"));
    }
}
