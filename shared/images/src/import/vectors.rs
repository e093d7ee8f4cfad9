//! The labels of a set whose labels are vectors, in a file beside its shards.

use super::Run;
use crate::{ImageError, source};
use cedm_contract::kinds::import::NAMES;
use std::{collections::HashMap, fs};

impl Run<'_> {
    /// Writes the vectors of the imported images, where the set has some. Their names say which
    /// those are, after an interruption too.
    pub(super) fn write_vectors(&self) -> Result<(), ImageError> {
        let Some(vectors) = &self.set.labels().vectors else {
            return Ok(());
        };
        let by_name: HashMap<String, usize> = (0..self.set.len())
            .map(|index| (self.set.name(index), index))
            .collect();
        let path = self.folder.join(NAMES);
        let names = fs::read_to_string(&path).map_err(ImageError::io("read", &path))?;
        let (mut numbers, mut rows) = (Vec::new(), 0);
        for line in names.lines() {
            let name: String = serde_json::from_str(line)
                .map_err(|error| ImageError::io("read", &path)(error.into()))?;
            if let Some(index) = by_name.get(&name) {
                numbers.extend_from_slice(&vectors[*index]);
                rows += 1;
            }
        }
        let width = vectors.first().map_or(0, Vec::len);
        let data = cedm_tensor_files::Data::of(&[rows, width], &numbers);
        let file = self.folder.join(source::VECTORS);
        Ok(cedm_tensor_files::write(
            &file,
            &[(source::VECTORS_TENSOR, data)],
            &[],
        )?)
    }
}
