//! Imports that fail or skip images: damaged files, wrong labels, archives beyond the limits.

use super::*;

#[test]
fn corrupt_images_are_skipped_or_fail_a_strict_import() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = members();
    broken[0].1.truncate(40);
    broken[9].1 = b"this is not an image".to_vec();
    let names = [broken[0].0.clone(), broken[9].0.clone()];
    zip_of(
        &folder.path().join("a.zip"),
        &broken,
        CompressionMethod::Stored,
    );
    let imported = quiet(&folder.path().join("a.zip"), &options()).unwrap();
    assert_eq!(imported.set.count as usize, COUNT - 2);
    assert_eq!(
        imported.set.shards[0].count, 10,
        "shards are full of usable images"
    );
    assert_eq!(
        imported
            .skipped
            .iter()
            .map(|skipped| &skipped.name)
            .collect::<Vec<_>>(),
        [&names[0], &names[1]]
    );
    let error = quiet(
        &folder.path().join("a.zip"),
        &ImportOptions {
            strict: true,
            ..options()
        },
    )
    .unwrap_err();
    assert!(error.to_string().contains(&names[0]), "{error}");
}

#[test]
fn a_failed_import_names_the_cause_and_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let check = |source: &str, options: &ImportOptions, expected: &str| {
        let error = import(&at(source), options, &at("out"), &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{source}: {error}");
        assert!(!at("out").exists());
    };
    check("nowhere", &options(), "no such file");
    fs::create_dir(at("empty")).unwrap();
    check("empty", &options(), "no image found: it is empty");
    fs::write(at("text"), "hello").unwrap();
    check("text", &options(), "expected a folder, a zip");
    zip_of(
        &at("none.zip"),
        &[("a.txt".to_owned(), b"x".to_vec())],
        CompressionMethod::Stored,
    );
    check("none.zip", &options(), "1 members, the first is `a.txt`");
    zip_of(
        &at("bad.zip"),
        &[("a.png".to_owned(), b"x".to_vec())],
        CompressionMethod::Stored,
    );
    check(
        "bad.zip",
        &options(),
        "1 files were unusable; the first, `a.png`",
    );

    let mut odd = members();
    odd[3].1 = encoded(&[0; 5 * 4 * 3], 5, 4, ExtendedColorType::Rgb8);
    folder_of(&at("odd"), &odd);
    check(
        "odd",
        &options(),
        &format!("image `{}`: 5x4, but the first image is 4x4", odd[3].0),
    );
    let resized = quiet(
        &at("odd"),
        &ImportOptions {
            resolution: Some((4, 4)),
            framing: Framing::CenterCrop,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(resized.set.count as usize, COUNT);

    let mut unknown = members();
    unknown.retain(|(name, _)| name != "00000/img00000004.png");
    zip_of(&at("unknown.zip"), &unknown, CompressionMethod::Stored);
    // Images are removed from sets without their names in the list: said, and no error.
    let fewer = quiet(&at("unknown.zip"), &options()).unwrap();
    assert_eq!(fewer.set.count as usize, COUNT - 1);
    assert_eq!(
        fewer.summary.notes,
        ["labels of 1 images that are not there are ignored: `00000/img00000004.png`"]
    );
    assert_eq!(
        quiet(
            &at("unknown.zip"),
            &ImportOptions {
                ignore_labels: true,
                ..options()
            }
        )
        .unwrap()
        .set
        .classes,
        0
    );

    // Writers refuse such names: it is patched in, in both places where a zip has it.
    zip_of(
        &at("escape.zip"),
        &[("aa/aa/etc/x.png".to_owned(), png(0))],
        CompressionMethod::Stored,
    );
    let mut bytes = fs::read(at("escape.zip")).unwrap();
    for place in (0..bytes.len() - 5)
        .filter(|place| &bytes[*place..place + 5] == b"aa/aa")
        .collect::<Vec<_>>()
    {
        bytes[place..place + 5].copy_from_slice(b"../..");
    }
    fs::write(at("escape.zip"), bytes).unwrap();
    check("escape.zip", &options(), "points outside the archive");
    let tight = |change: fn(&mut crate::Limits)| {
        let mut options = options();
        change(&mut options.limits);
        options
    };
    fs::write(
        at("bomb.tar.zst"),
        zstd::encode_all(&tar_of(&[("a.png".to_owned(), vec![0; 1 << 20])])[..], 3).unwrap(),
    )
    .unwrap();
    check(
        "bomb.tar.zst",
        &tight(|limits| (limits.expanded_bytes, limits.expansion) = (1 << 16, 2)),
        "exceeds the limit of 65536 bytes",
    );
    zip_of(&at("many.zip"), &members(), CompressionMethod::Stored);
    check(
        "many.zip",
        &tight(|limits| limits.members = 5),
        "exceeds the limit of 5 members",
    );
    let whole = fs::read(at("many.zip")).unwrap();
    fs::write(at("cut.zip"), &whole[..whole.len() / 2]).unwrap();
    check("cut.zip", &options(), "zip archive");
    let tar = tar_of(&members());
    for (length, expected) in [
        (560, "ends beyond the end of the file"),
        (700, "no end mark"),
        (1024, "no end mark"),
    ] {
        fs::write(at("cut.tar"), &tar[..length]).unwrap();
        check("cut.tar", &options(), expected);
    }
    fs::write(
        at("cut.tar.zst"),
        &zstd::encode_all(&tar[..], 3).unwrap()[..200],
    )
    .unwrap();
    check("cut.tar.zst", &options(), "compressed data");
}

#[test]
fn a_member_of_another_size_than_declared_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    zip_of(
        &path,
        &[("a.png".to_owned(), png(0)), ("b.png".to_owned(), png(1))],
        CompressionMethod::Deflated,
    );
    let mut bytes = fs::read(&path).unwrap();
    // The size stands at byte 24 of an entry of the central directory.
    let entry = bytes
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    bytes[entry + 24] -= 1;
    fs::write(&path, bytes).unwrap();
    let imported = quiet(&path, &options()).unwrap();
    assert_eq!(
        (imported.set.count, imported.skipped[0].name.as_str()),
        (1, "a.png")
    );
    assert!(
        imported.skipped[0].reason.contains("its entry says"),
        "{}",
        imported.skipped[0].reason
    );
}

#[test]
fn a_colour_image_in_a_grey_set_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("in");
    let grey: Vec<u8> = (0..16).collect();
    folder_of(
        &source,
        &[
            (
                "a.png".to_owned(),
                encoded(&grey, 4, 4, ExtendedColorType::L8),
            ),
            ("b.png".to_owned(), png(1)),
        ],
    );
    let out = folder.path().join("out");
    let error = import(&source, &options(), &out, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("b.png")
            && error.contains(
                "has colour, but the first image is grey: give the channels (grey or rgb)"
            ),
        "{error}"
    );
    assert!(!out.exists());
}
