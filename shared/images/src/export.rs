//! A set back into an archive that the EDM tools read (spec §1.1).

use crate::{ImageError, shard::read_shard};
use cedm_contract::ImageSet;
use std::{
    io::{BufWriter, Write},
    path::Path,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Writes the shards of `set`, files in `folder`, as an EDM archive at `out`: stored members, uncompressed PNGs, `dataset.json`.
/// Nothing is at `out` until the archive is complete.
///
/// # Errors
/// When a shard cannot be read or the archive cannot be written.
pub fn export_edm_archive(set: &ImageSet, folder: &Path, out: &Path) -> Result<(), ImageError> {
    let parent = out
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(parent).map_err(ImageError::io("write", parent))?;
    let zipped = |error: zip::result::ZipError| ImageError::format(out, format!("zip archive: {error}"));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default());
    let mut archive = ZipWriter::new(BufWriter::new(file));
    let (mut labels, mut coarse) = (Vec::new(), Vec::new());
    let mut index = 0usize;
    for shard in &set.shards {
        let shard = read_shard(&folder.join(&shard.object.object))?;
        for at in 0..shard.count {
            let number = format!("{index:08}");
            let name = format!("{}/img{number}.png", &number[..5]);
            archive.start_file(&*name, options).map_err(zipped)?;
            let png =
                encode(shard.image(at), shard.channels, shard.resolution).map_err(|error| ImageError::image(&name, error.to_string()))?;
            archive.write_all(&png).map_err(ImageError::io("write", out))?;
            if let Some(all) = &shard.labels {
                labels.push((name.clone(), all[at]));
            }
            if let Some(all) = &shard.coarse_labels {
                coarse.push((name, all[at]));
            }
            index += 1;
        }
    }
    let mut json = serde_json::json!({ "labels": (labels.len() == index).then_some(labels) });
    if coarse.len() == index {
        json["coarse_labels"] = serde_json::json!(coarse);
    }
    if !set.class_names.is_empty() {
        json["class_names"] = serde_json::json!(set.class_names);
    }
    archive.start_file("dataset.json", options).map_err(zipped)?;
    archive
        .write_all(json.to_string().as_bytes())
        .map_err(ImageError::io("write", out))?;
    let file = archive
        .finish()
        .map_err(zipped)?
        .into_inner()
        .map_err(|error| ImageError::io("write", out)(error.into_error()))?;
    file.persist(out).map_err(|error| ImageError::io("write", out)(error.error))?;
    Ok(())
}

/// One image as a PNG with compression level 0.
fn encode(planes: &[u8], channels: usize, side: usize) -> Result<Vec<u8>, png::EncodingError> {
    let picture = crate::Picture::from_planes(side, side, channels, planes).expect("invariant: a shard's images have its shape");
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
