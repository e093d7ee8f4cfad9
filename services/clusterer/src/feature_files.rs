//! Features that stay on disk: rows are read on demand, so that a set larger than
//! memory can be clustered.

use cedm_clustering::{ClusteringError, kmeans::RowSource};
use cedm_contract::kinds::extract::features::FEATURES;
use cedm_maths::Features;
use cedm_tensor_files::{Dtype, TensorFile};
use cedm_torch::tensor_files;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The features of one or several safetensors files, one after the other.
#[derive(Debug)]
pub struct FeatureFiles {
    files: Vec<Part>,
    count: i64,
    width: i64,
    kind: Kind,
    device: Device,
}

/// The feature matrix of one file.
#[derive(Debug)]
struct Part {
    file: TensorFile<'static>,
    /// Name of the matrix.
    name: String,
    /// Index of its first row in the whole.
    first: i64,
    count: i64,
    width: i64,
    kind: Kind,
}

impl FeatureFiles {
    /// Opens the files and in each the matrix `name`, else `features`, else the only one; rows go
    /// to `device`.
    ///
    /// # Errors
    /// When a file is not a safetensors file with a matrix of floating numbers `name`, is
    /// truncated, or does not fit the others.
    pub fn open(
        paths: &[PathBuf],
        name: Option<&str>,
        device: Device,
    ) -> Result<Self, ClusteringError> {
        let mut files: Vec<Part> = Vec::with_capacity(paths.len());
        let mut count = 0;
        for path in paths {
            let opened = Part::open(path, name, count)?;
            if let Some(before) = files.first()
                && (opened.width, opened.kind) != (before.width, before.kind)
            {
                return Err(ClusteringError::Shape {
                    what: path.display().to_string(),
                    found: format!("{:?} rows of width {}", opened.kind, opened.width),
                    expected: format!(
                        "{:?} rows of width {} as in {}",
                        before.kind,
                        before.width,
                        before.file.origin().display()
                    ),
                });
            }
            count += opened.count;
            files.push(opened);
        }
        let Some((width, kind)) = files
            .first()
            .filter(|_| count > 0)
            .map(|first| (first.width, first.kind))
        else {
            return Err(ClusteringError::Shape {
                what: "the set of features".to_owned(),
                found: format!("empty ({} files)", files.len()),
                expected: "at least one row".to_owned(),
            });
        };
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
        Ok(Features::new("features", &rows)?.to_device(self.device))
    }
}

impl Part {
    fn open(path: &Path, name: Option<&str>, first: i64) -> Result<Self, ClusteringError> {
        let file = TensorFile::open(path)?;
        let name = name.map_or_else(|| file.only_or(FEATURES.name), str::to_owned);
        let entry = file.require(&name)?;
        let kind = match (entry.dtype, entry.shape) {
            (Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64, &[_, width]) if width > 0 => {
                tensor_files::kind_of(entry.dtype)
            }
            _ => None,
        };
        let Some(kind) = kind else {
            return Err(file
                .unexpected(&name, "F16, BF16, F32 or F64 [rows, width]")
                .into());
        };
        let (count, width) = (entry.shape[0] as i64, entry.shape[1] as i64);
        Ok(Self {
            file,
            name,
            first,
            count,
            width,
            kind,
        })
    }

    /// Reads rows into `out`; `row` is an index of the whole.
    fn read(&self, row: i64, out: &mut [u8]) -> Result<(), ClusteringError> {
        let row_bytes = self.width as u64 * self.kind.elt_size_in_bytes() as u64;
        let offset = (row - self.first) as u64 * row_bytes;
        Ok(self.file.read_at(&self.name, offset, out)?)
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
            tensor_files::write(
                &path,
                &[
                    ("a", labels),
                    ("features", whole.narrow(0, first, count).contiguous()),
                ],
                &[],
            )
            .unwrap();
            paths.push(path);
        }
        (paths, whole)
    }

    #[test]
    fn rows_are_read_across_several_files() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [Kind::Half, Kind::Float, Kind::Double] {
            let (paths, whole) = files(folder.path(), kind);
            let found = FeatureFiles::open(&paths, None, Device::Cpu).unwrap();
            assert_eq!((found.count(), found.width()), (7, 3));
            let expect = |found: Features, rows: &[i64]| {
                let expected = Features::new(
                    "features",
                    &whole.index_select(0, &Tensor::from_slice(rows)),
                )
                .unwrap();
                assert!(found.rows().equal(expected.rows()), "{rows:?} of {kind:?}");
            };
            expect(found.piece(1, 6).unwrap(), &[1, 2, 3, 4, 5, 6]);
            expect(found.gather(&[6, 0, 0, 3]).unwrap(), &[6, 0, 0, 3]);
        }
    }

    #[test]
    fn an_error_names_a_file_that_does_not_fit_the_others() {
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
                .contains("tensor `embeddings` is missing, found [\"a\", \"features\"]")
        );
        assert!(error(&paths, "a").contains("tensor `a` is I64 [2], expected F16"));
        let whole = std::fs::read(&paths[1]).unwrap();
        std::fs::write(&paths[1], &whole[..whole.len() - 4]).unwrap();
        assert!(error(&paths, "features").contains("truncated"));
        std::fs::write(&paths[1], b"hello").unwrap();
        assert!(error(&paths, "features").contains("1.safetensors: not a valid safetensors file"));
        let alone = folder.path().join("alone.safetensors");
        tensor_files::write(
            &alone,
            &[(
                "embeddings",
                Tensor::ones([2, 3], (Kind::Float, Device::Cpu)),
            )],
            &[],
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
        tensor_files::write(&paths[1], &[("features", other)], &[]).unwrap();
        assert!(error(&paths, "features").contains("Double rows of width 3"));
    }
}
