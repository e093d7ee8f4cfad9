//! A set is the same in every container, and a damaged container gives the set, less of it with the
//! loss listed, or an error.

#![forbid(unsafe_code)]

#[path = "sets/archives.rs"]
mod archives;

use archives::{tarred, zipped};
use cedm_images::{ImportOptions, Imported, import, read_shard};
use proptest::prelude::*;
use std::{collections::BTreeSet, fs, io::Write, path::Path};
use zip::CompressionMethod;

/// A name and its bytes.
type Member = (String, Vec<u8>);

/// A set of some images in some class folders.
fn members(classes: usize, images: usize, seed: u8) -> Vec<Member> {
    let mut members = Vec::new();
    for class in 0..classes {
        for image in 0..images {
            let pixels: Vec<u8> = (0..27u8)
                .map(|at| {
                    at.wrapping_mul(seed | 1)
                        .wrapping_add((class * 50 + image * 9) as u8)
                })
                .collect();
            let mut png = Vec::new();
            let mut encoder = png::Encoder::new(&mut png, 3, 3);
            encoder.set_color(png::ColorType::Rgb);
            encoder
                .write_header()
                .unwrap()
                .write_image_data(&pixels)
                .unwrap();
            members.push((format!("class{class}/{image:02}.png"), png));
        }
    }
    members
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 0);
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// Every archive of a set, with a name.
fn archives(members: &[Member]) -> Vec<(&'static str, Vec<u8>)> {
    let tar = tarred(members);
    vec![
        ("stored.zip", zipped(members, CompressionMethod::Stored)),
        ("deflated.zip", zipped(members, CompressionMethod::Deflated)),
        ("set.tar.gz", gzipped(&tar)),
        ("set.tar.xz", xz(&tar)),
        ("set.tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
        ("set.tar", tar),
    ]
}

fn read(source: &Path, work: &Path) -> Result<(Imported, BTreeSet<Vec<u8>>), String> {
    let out = work.join("out");
    let imported = import(source, &ImportOptions::default(), &out, &mut |_| {});
    let imported = imported.map_err(|error| error.to_string())?;
    let mut digests = BTreeSet::new();
    for shard in &imported.set.shards {
        let shard = read_shard(&out.join(&shard.object.object)).unwrap();
        digests.extend(shard.digests.chunks_exact(32).map(<[u8]>::to_vec));
    }
    fs::remove_dir_all(&out).unwrap();
    Ok((imported, digests))
}

fn folder(members: &[Member], at: &Path) {
    for (name, bytes) in members {
        let file = at.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_set_is_the_same_in_every_container(
        classes in 1usize..4,
        images in 1usize..5,
        seed: u8,
        wrapped: bool,
    ) {
        let work = tempfile::tempdir().unwrap();
        let members = members(classes, images, seed);
        folder(&members, &work.path().join("folder"));
        let (expect, _) = read(&work.path().join("folder"), work.path()).unwrap();
        let wrap = |(name, bytes): &Member| (format!("around/{name}"), bytes.clone());
        let inside: Vec<Member> = if wrapped { members.iter().map(wrap).collect() } else { members };
        for (name, bytes) in archives(&inside) {
            let path = work.path().join(name);
            fs::write(&path, bytes).unwrap();
            let (found, _) = read(&path, work.path()).unwrap();
            prop_assert_eq!(&found.set, &expect.set, "{}", name);
            prop_assert_eq!(&found.labels, &expect.labels, "{}", name);
            prop_assert!(found.skipped.is_empty());
        }
    }

    #[test]
    fn a_damaged_container_gives_no_other_pixels(
        seed: u8,
        at in 0.0f64..1.0,
        bit in 0u8..8,
        cut: bool,
    ) {
        let work = tempfile::tempdir().unwrap();
        let members = members(2, 3, seed);
        folder(&members, &work.path().join("folder"));
        let (whole, pixels) = read(&work.path().join("folder"), work.path()).unwrap();
        for (name, mut bytes) in archives(&members) {
            let place = (at * bytes.len() as f64) as usize;
            if cut {
                bytes.truncate(place);
            } else {
                bytes[place] ^= 1 << bit;
            }
            let path = work.path().join(name);
            fs::write(&path, bytes).unwrap();
            // An error is always right.
            if let Ok((found, digests)) = read(&path, work.path()) {
                prop_assert!(digests.is_subset(&pixels), "{name} at {place}: other pixels");
                let lost = whole.set.count - found.set.count;
                prop_assert!(
                    found.skipped.len() as u64 >= lost,
                    "{name} at {place}: {lost} images are lost, and {:?} listed",
                    found.skipped
                );
            }
        }
    }
}
