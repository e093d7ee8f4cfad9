//! Writing image sets in the formats of other tools: EDM archive (spec §1.1), npz, folder of PNGs
//! by seed (spec §9).

use crate::{ImageError, import::partial_of, shard::read_shard};
use cedm_atomic_file::AtomicFile;
use cedm_contract::kinds::import::ImageSet;
use npyz::WriterBuilder;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufReader, Read, Write},
    path::Path,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Writes the shards of `set`, files in `folder`, as an EDM archive at `out`: a zip of stored
/// members, uncompressed PNGs and `dataset.json`. `out` appears only when the archive is complete.
///
/// # Errors
/// When a shard cannot be read or the archive cannot be written.
pub fn export_edm_archive(set: &ImageSet, folder: &Path, out: &Path) -> Result<(), ImageError> {
    let file = AtomicFile::create(out).map_err(ImageError::io("write", out))?;
    let zipped =
        |error: zip::result::ZipError| ImageError::format(out, format!("zip archive: {error}"));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        // A fixed time: equal sets make equal archives.
        .last_modified_time(zip::DateTime::default());
    let mut archive = ZipWriter::new(file);
    let (mut labels, mut coarse) = (Vec::new(), Vec::new());
    let mut index = 0usize;
    for shard in &set.shards {
        let shard = read_shard(&folder.join(&shard.object.object))?;
        for at in 0..shard.count {
            // The EDM tool's names: a folder for every thousand images.
            let number = format!("{index:08}");
            let name = format!("{}/img{number}.png", &number[..5]);
            archive.start_file(&*name, options).map_err(zipped)?;
            let png = encode(shard.image(at), shard.channels, shard.resolution)
                .map_err(|error| ImageError::image(&name, error.to_string()))?;
            archive
                .write_all(&png)
                .map_err(ImageError::io("write", out))?;
            if let Some(all) = &shard.labels {
                labels.push((name.clone(), all[at]));
            }
            if let Some(all) = &shard.coarse_labels {
                coarse.push((name, all[at]));
            }
            index += 1;
        }
    }
    // −1 stands for an image without label; a set of such images alone has no labels.
    let labelled = labels.len() == index && labels.iter().any(|(_, label)| *label >= 0);
    let mut json = serde_json::json!({ "labels": labelled.then_some(labels) });
    if coarse.len() == index {
        json["coarse_labels"] = serde_json::json!(coarse);
    }
    if !set.class_names.is_empty() {
        json["class_names"] = serde_json::json!(set.class_names);
    }
    archive
        .start_file("dataset.json", options)
        .map_err(zipped)?;
    archive
        .write_all(json.to_string().as_bytes())
        .map_err(ImageError::io("write", out))?;
    let file = archive.finish().map_err(zipped)?;
    file.commit().map_err(ImageError::io("write", out))
}

/// Writes the shards of `set`, files in `folder`, as npz with `arr_0`, uint8 \[n, side, side,
/// channels\], as evaluation suites read it. `out` appears only when the file is complete.
///
/// # Errors
/// When a shard cannot be read or the file cannot be written.
pub fn export_npz(set: &ImageSet, folder: &Path, out: &Path) -> Result<(), ImageError> {
    let file = AtomicFile::create(out).map_err(ImageError::io("write", out))?;
    let zipped =
        |error: zip::result::ZipError| ImageError::format(out, format!("npz file: {error}"));
    let mut archive = ZipWriter::new(file);
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        // More than 4 GiB need the 64-bit form, which must be chosen before the size is known.
        .large_file(true);
    archive.start_file("arr_0.npy", options).map_err(zipped)?;
    let (side, channels) = (u64::from(set.resolution), u64::from(set.channels));
    let shape = [set.count, side, side, channels];
    let write = || ImageError::io("write", out);
    let mut writer = npyz::WriteOptions::<u8>::new()
        .default_dtype()
        .shape(&shape)
        .writer(&mut archive)
        .begin_nd()
        .map_err(write())?;
    for shard in &set.shards {
        let shard = read_shard(&folder.join(&shard.object.object))?;
        for at in 0..shard.count {
            let (planes, pixels) = (shard.image(at), shard.resolution * shard.resolution);
            // Shards hold planes, suites expect interleaved channels.
            let interleaved = (0..pixels).flat_map(|pixel| {
                (0..shard.channels).map(move |channel| planes[channel * pixels + pixel])
            });
            writer.extend(interleaved).map_err(write())?;
        }
    }
    // An error when there were fewer images than the header says.
    writer.finish().map_err(write())?;
    let file = archive.finish().map_err(zipped)?;
    file.commit().map_err(write())
}

/// Writes the shards of generated images as `<out>/<seed − seed mod 50000>/<seed>.png`, seven
/// digits each, and, where they have labels, `<out>/labels.json`, an object from seed to label
/// (spec §9). Images of other seeds in `out` stay. All files are written beside `out` first and
/// moved there at the end.
///
/// # Errors
/// When a shard cannot be read or the folder cannot be written.
pub fn export_folder(
    set: &ImageSet,
    folder: &Path,
    first_seed: u64,
    out: &Path,
) -> Result<(), ImageError> {
    let partial = partial_of(out);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(ImageError::io("remove", &partial))?;
    }
    let table = out.join("labels.json");
    let (mut seed, mut labels) = (first_seed, labels_of(&table)?);
    fs::create_dir_all(&partial).map_err(ImageError::io("write", &partial))?;
    for shard in &set.shards {
        let shard = read_shard(&folder.join(&shard.object.object))?;
        for at in 0..shard.count {
            let below = partial.join(format!("{:07}", seed - seed % 50_000));
            let path = below.join(format!("{seed:07}.png"));
            fs::create_dir_all(&below).map_err(ImageError::io("write", &below))?;
            let png =
                encode(shard.image(at), shard.channels, shard.resolution).map_err(|error| {
                    ImageError::image(path.display().to_string(), error.to_string())
                })?;
            fs::write(&path, png).map_err(ImageError::io("write", &path))?;
            if let Some(label) = shard
                .labels
                .as_ref()
                .map(|all| all[at])
                .filter(|label| *label >= 0)
            {
                labels.insert(seed, label);
            }
            seed += 1;
        }
    }
    if !labels.is_empty() {
        let path = partial.join("labels.json");
        fs::write(&path, serde_json::json!(labels).to_string())
            .map_err(ImageError::io("write", &path))?;
    }
    if !out.exists() {
        return fs::rename(&partial, out).map_err(ImageError::io("write", out));
    }
    move_into(&partial, out).map_err(ImageError::io("write", out))
}

/// Bytes of a `labels.json`, of 20 for each of 13 million samples.
const LABELS_LIMIT: u64 = 256 << 20;

/// Labels by seed in an existing `labels.json`.
fn labels_of(table: &Path) -> Result<BTreeMap<u64, i64>, ImageError> {
    if !table.exists() {
        return Ok(BTreeMap::new());
    }
    let file = cedm_tensor_files::open_file(table).map_err(ImageError::io("read", table))?;
    let size = file
        .metadata()
        .map_err(ImageError::io("read", table))?
        .len();
    if size > LABELS_LIMIT {
        let reason = format!("{size} bytes, expected at most {LABELS_LIMIT}");
        return Err(ImageError::format(table, reason));
    }
    serde_json::from_reader(BufReader::new(file.take(LABELS_LIMIT))).map_err(|error| {
        ImageError::format(table, format!("not an object from seed to label: {error}"))
    })
}

/// Moves every file below `from` to the same place below `to`.
fn move_into(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            move_into(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    fs::remove_dir(from)
}

/// One image as a PNG. Not compressed: training reads archives of PNGs every epoch, and inflating
/// costs more than reading.
fn encode(planes: &[u8], channels: usize, side: usize) -> Result<Vec<u8>, png::EncodingError> {
    let picture = crate::Picture::from_planes(side, side, channels, planes)
        .expect("invariant: a shard's images have its shape");
    let mut out = Vec::with_capacity(planes.len() + 256);
    let mut encoder = png::Encoder::new(&mut out, side as u32, side as u32);
    encoder.set_color(if channels == 3 {
        png::ColorType::Rgb
    } else {
        png::ColorType::Grayscale
    });
    encoder.set_compression(png::Compression::NoCompression);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(&picture.pixels)?;
    Ok(out)
}
