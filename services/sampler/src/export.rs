//! Samples as files for other programs: npz, PNG archive, folder of PNGs, and a grid as one image.

use anyhow::{Context, ensure};
use cedm_atomic_file::AtomicFile;
use cedm_contract::{
    Digest, ObjectRef, ShardRef,
    kinds::{
        import::ImageSet,
        sample::{IMAGES, images},
    },
};
use cedm_diffusion::sampler::Samples;
use cedm_torch::tensor_files;
use std::path::Path;
use tch::{Kind, Tensor};

/// Writes a shard as in the object store: a safetensors file with `images` u8 \[n, c, r, r\],
/// `labels` and `seeds` i64 \[n\].
pub fn write_shard(samples: &Samples, path: &Path) -> anyhow::Result<()> {
    let tensors = [
        (images::IMAGES, &samples.images),
        (images::LABELS, &samples.labels),
        (images::SEEDS, &samples.seeds),
    ];
    Ok(tensor_files::write(path, &tensors, &[])?)
}

/// Writes an npz file with `arr_0`, u8 \[n, h, w, c\], the form that evaluation tools read.
pub fn write_npz(samples: &Samples, path: &Path) -> anyhow::Result<()> {
    with_set(samples, |set, folder| {
        cedm_images::export_npz(set, folder, path)
    })
}

/// Writes a PNG archive in the layout of EDM's data sets, with labels in `dataset.json`.
pub fn write_archive(samples: &Samples, path: &Path) -> anyhow::Result<()> {
    with_set(samples, |set, folder| {
        cedm_images::export_edm_archive(set, folder, path)
    })
}

/// Writes `<folder>/<seed − seed mod 50000>/<seed>.png`, seven digits each, and `labels.json` if
/// there are labels (spec §9).
pub fn write_folder(samples: &Samples, folder: &Path) -> anyhow::Result<()> {
    let first = samples.seeds.int64_value(&[0]) as u64;
    with_set(samples, |set, shards| {
        cedm_images::export_folder(set, shards, first, folder)
    })
}

/// Calls `write` with the samples as an image set of one shard, which is on disk during the call.
fn with_set(
    samples: &Samples,
    write: impl FnOnce(&ImageSet, &Path) -> Result<(), cedm_images::ImageError>,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let name = IMAGES.as_str();
    let file = folder.path().join(name);
    write_shard(samples, &file)?;
    let size = samples.images.size();
    let object = ObjectRef {
        object: name.into(),
        size: std::fs::metadata(&file)?.len(),
        digest: Digest::of(name.as_bytes()),
    };
    let set = ImageSet {
        count: size[0] as u64,
        channels: size[1] as u32,
        resolution: size[2] as u32,
        classes: 0,
        coarse_classes: 0,
        class_names: vec![],
        content: object.digest.clone(),
        shards: vec![ShardRef {
            object,
            first: 0,
            count: size[0] as u64,
        }],
    };
    Ok(write(&set, folder.path())?)
}

/// Writes images side by side as one PNG, small ones enlarged to 32 pixels: the first `columns`² of
/// one set; of several sets the first `columns` of each, one row per set, so that equal seeds are
/// in one column. Sets whose images differ in shape are an error.
pub fn write_grid(sets: &[Samples], columns: i64, path: &Path) -> anyhow::Result<()> {
    let each = if sets.len() == 1 {
        columns * columns
    } else {
        columns
    };
    let mut rows_of_sets = Vec::new();
    for samples in sets {
        let (size, first) = (samples.images.size(), sets[0].images.size());
        ensure!(
            size[1..] == first[1..],
            "the networks make images of different shapes: {:?} and {:?}",
            &first[1..],
            &size[1..]
        );
        let count = size[0].min(each);
        let missing = (count + columns - 1) / columns * columns - count;
        let blank = Tensor::zeros(
            [missing, size[1], size[2], size[3]],
            (Kind::Uint8, samples.images.device()),
        );
        rows_of_sets.push(Tensor::cat(&[samples.images.narrow(0, 0, count), blank], 0));
    }
    let all = Tensor::cat(&rows_of_sets, 0);
    let size = all.size();
    let (rows, channels, side) = (size[0] / columns, size[1], size[2]);
    let zoom = (32 / side).max(1);
    let grid = all
        .view([rows, columns, channels, side, side])
        .permute([2, 0, 3, 1, 4])
        .reshape([channels, rows * side, columns * side]);
    let grid = grid
        .repeat_interleave_self_int(zoom, 1, None)
        .repeat_interleave_self_int(zoom, 2, None);
    write_png(&grid, path)
}

/// Writes one image u8 \[1 or 3, h, w\] as PNG.
fn write_png(image: &Tensor, path: &Path) -> anyhow::Result<()> {
    let size = image.size();
    let written = || format!("write {}", path.display());
    let mut file = AtomicFile::create(path).with_context(written)?;
    let mut encoder = png::Encoder::new(&mut file, size[2] as u32, size[1] as u32);
    encoder.set_color(if size[0] == 3 {
        png::ColorType::Rgb
    } else {
        png::ColorType::Grayscale
    });
    encoder
        .write_header()?
        .write_image_data(&bytes_of(&image.permute([1, 2, 0]).contiguous()))?;
    file.commit().with_context(written)
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Samples {
        let images = Tensor::arange(3 * 3 * 16, (Kind::Int64, tch::Device::Cpu))
            .view([3, 3, 4, 4])
            .to_kind(Kind::Uint8);
        Samples {
            images,
            labels: Tensor::from_slice(&[1i64, 0, 1]),
            seeds: Tensor::from_slice(&[49_999i64, 50_000, 50_001]),
        }
    }

    #[test]
    fn an_archive_reads_back_as_the_same_images() {
        let folder = tempfile::tempdir().unwrap();
        let (samples, archive) = (three(), folder.path().join("set.zip"));
        write_archive(&samples, &archive).unwrap();
        let imported = cedm_images::import(
            &archive,
            &cedm_images::ImportOptions::default(),
            &folder.path().join("in"),
            &mut |_| (),
        )
        .unwrap();
        let shard = cedm_images::read_shard(
            &folder
                .path()
                .join("in")
                .join(&imported.set.shards[0].object.object),
        )
        .unwrap();
        assert_eq!(shard.images, bytes_of(&samples.images));
        assert_eq!(shard.labels, Some(vec![1, 0, 1]));
    }

    #[test]
    fn an_npz_holds_pixels_with_channels_last() {
        let folder = tempfile::tempdir().unwrap();
        let (samples, path) = (three(), folder.path().join("set.npz"));
        write_npz(&samples, &path).unwrap();
        let mut archive = npyz::npz::NpzArchive::open(&path).unwrap();
        let array = archive.by_name("arr_0").unwrap().expect("arr_0");
        assert_eq!(array.shape(), [3, 4, 4, 3]);
        let values: Vec<u8> = array.into_vec().unwrap();
        assert_eq!(values[..6], [0, 16, 32, 1, 17, 33]);
    }

    #[test]
    fn a_folder_starts_a_subfolder_every_fifty_thousand_images() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("by-seed");
        write_folder(&three(), &out).unwrap();
        assert!(out.join("0000000/0049999.png").exists());
        assert!(out.join("0050000/0050001.png").exists());
        let labels = std::fs::read_to_string(out.join("labels.json")).unwrap();
        assert_eq!(labels, r#"{"49999":1,"50000":0,"50001":1}"#);
        // A later part of the set is added to the folder.
        let later = Samples {
            labels: Tensor::from_slice(&[5i64, 6, 7]),
            seeds: Tensor::from_slice(&[50_002i64, 50_003, 50_004]),
            ..three()
        };
        write_folder(&later, &out).unwrap();
        assert!(
            out.join("0050000/0050001.png").exists() && out.join("0050000/0050004.png").exists()
        );
        let labels = std::fs::read_to_string(out.join("labels.json")).unwrap();
        assert_eq!(
            labels,
            r#"{"49999":1,"50000":0,"50001":1,"50002":5,"50003":6,"50004":7}"#
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left beside it"
        );
        write_grid(&[three()], 2, &folder.path().join("grid.png")).unwrap();
        let picture = cedm_images::decode(
            "grid.png",
            &std::fs::read(folder.path().join("grid.png")).unwrap(),
            &cedm_images::Limits::default(),
        )
        .unwrap();
        assert_eq!((picture.width, picture.height), (64, 64));
        // Two networks: one row each, equal seeds in one column.
        write_grid(&[three(), three()], 3, &folder.path().join("grid.png")).unwrap();
        let bytes = std::fs::read(folder.path().join("grid.png")).unwrap();
        let picture =
            cedm_images::decode("grid.png", &bytes, &cedm_images::Limits::default()).unwrap();
        assert_eq!((picture.width, picture.height), (96, 64));
    }
}
