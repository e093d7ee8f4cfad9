//! Resizing, cropping and normalising, and the PNG files behind them.
//!
//! A tensor's name starts with that of its source and continues with the operations applied to it.

use super::{Comparison, Verdict, exact_match, listing::Listing, max_abs_error};
use crate::fixture::Fixture;
use anyhow::Context;
use cedm_images::{
    Framing, Limits, Picture,
    framing::{center_crop, center_crop_wide, edm_frame, resize_short_side},
    pillow::{Filter, resize, resize_float},
};
use cedm_nets::preprocess::{CLIP, IMAGENET, Preprocessing, Sizing, Statistics};
use std::collections::HashMap;
use tch::{Kind, Tensor};

const NORMALISED: f64 = 1e-6;
const TENSOR_RESIZE: f64 = 1e-5;
const CLEAN_FID: f64 = 2e-3;

type Tensors = HashMap<String, Tensor>;

pub fn check(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    if listing
        .tensors()
        .keys()
        .any(|name| name.contains("_pil_bicubic_u8"))
    {
        let tensors = fixture.tensors()?;
        let mut names: Vec<&String> = tensors.keys().collect();
        names.sort();
        let mut comparisons = Vec::new();
        for name in names {
            comparisons.extend(
                compare_tensor(name, &tensors).with_context(|| format!("tensor `{name}`"))?,
            );
        }
        return Ok(Verdict::Checked(comparisons));
    }
    if listing.name.ends_with(".png") {
        return Ok(Verdict::Checked(vec![png(fixture, listing)?]));
    }
    Ok(Verdict::NotRecognised)
}

/// The source whose name a tensor's starts with: `syn_180x240_u8` for `syn_180x240_224_crop_u8`;
/// `cifar2` is image 2 of `cifar_u8`.
fn source<'a>(name: &'a str, tensors: &Tensors) -> Option<(Tensor, &'a str)> {
    let mut found: Vec<&str> = tensors
        .keys()
        .filter_map(|name| name.strip_suffix("_u8"))
        .filter(|stem| name.starts_with(&format!("{stem}_")))
        .collect();
    // A result may itself look like a source; the shortest is the original.
    found.sort_by_key(|stem| stem.len());
    if let Some(stem) = found.first() {
        return Some((
            tensors[&format!("{stem}_u8")].shallow_clone(),
            &name[stem.len() + 1..],
        ));
    }
    let (head, rest) = name.split_once('_')?;
    let digits = head.trim_start_matches(|c: char| !c.is_ascii_digit());
    let stack = tensors.get(&format!("{}_u8", &head[..head.len() - digits.len()]))?;
    Some((stack.get(digits.parse().ok()?), rest))
}

fn compare_tensor(name: &str, tensors: &Tensors) -> anyhow::Result<Option<Comparison>> {
    let Some((source, what)) = source(name, tensors) else {
        return Ok(None);
    };
    if what == "u8" {
        return Ok(None);
    }
    let expect = &tensors[name];
    let parts: Vec<&str> = what.split('_').collect();
    let found = match parts[..] {
        [side, "pil", "bicubic", "u8"] => bytes(&source, |picture| {
            Some(resize(
                &picture,
                side.parse().ok()?,
                side.parse().ok()?,
                Filter::Bicubic,
            ))
        })?,
        [side, "crop", "u8"] => {
            let side: usize = side.parse()?;
            bytes(&source, |picture| {
                center_crop(&resize_short_side(&picture, side, Filter::Bicubic), side)
            })?
        }
        [short, crop, "u8"] if crop.starts_with("crop") => {
            let digits = short.trim_end_matches(|c: char| !c.is_ascii_digit());
            let filter = if short.ends_with("bilinear") {
                Filter::Bilinear
            } else {
                Filter::Bicubic
            };
            let (short, crop): (usize, usize) = (digits.parse()?, crop["crop".len()..].parse()?);
            bytes(&source, |picture| {
                center_crop(&resize_short_side(&picture, short, filter), crop)
            })?
        }
        ["edm", "centercrop", side, "u8"] => {
            let side: usize = side.parse()?;
            bytes(&source, |picture| {
                edm_frame(picture.into_rgb(), side, side, Framing::CenterCrop)
            })?
        }
        ["edm", "scale", side, "u8"] => {
            let side: usize = side.parse()?;
            bytes(&source, |picture| {
                edm_frame(picture, side, side, Framing::Scale)
            })?
        }
        ["edm", "centercropwide", size, "u8"] => {
            let (width, height) = size.split_once('x').context("a size")?;
            let (width, height): (usize, usize) = (width.parse()?, height.parse()?);
            bytes(&source, |picture| {
                Some(center_crop_wide(&picture, width, height))
            })?
        }
        ["lanczos", side, "u8"] => {
            let side: usize = side.parse()?;
            bytes(&source, |picture| {
                Some(resize(&picture, side, side, Filter::Lanczos))
            })?
        }
        [side, dataset, "norm"] => {
            return Ok(Some(Comparison::new(
                name,
                max_abs_error(
                    &normalised(&source, side, dataset, expect.size()[0])?,
                    expect,
                ),
                NORMALISED,
            )));
        }
        [side, dataset, "norm", "mean", "std"] => {
            let all = normalised(&source, side, dataset, source.size()[0])?.flatten(2, 3);
            let found = Tensor::stack(
                &[
                    all.mean_dim([2i64].as_slice(), false, None),
                    all.std_dim([2i64].as_slice(), true, false),
                ],
                0,
            );
            return Ok(Some(Comparison::new(
                name,
                max_abs_error(&found, expect),
                TENSOR_RESIZE,
            )));
        }
        [side, "tensor", "bicubic", "noaa"] => {
            let side: i64 = side.parse()?;
            let found = (source.narrow(0, 0, expect.size()[0]).to_kind(Kind::Float) / 255.0)
                .upsample_bicubic2d([side, side], false, None, None);
            return Ok(Some(Comparison::new(
                name,
                max_abs_error(&found, expect),
                TENSOR_RESIZE,
            )));
        }
        [side, "cleanfid", channel] => {
            let (side, channel): (usize, i64) =
                (side.parse()?, channel.trim_start_matches("ch").parse()?);
            let plane = source.get(channel);
            let (height, width) = plane.size2()?;
            let values = Vec::<f32>::try_from(plane.to_kind(Kind::Float).contiguous().view([-1]))?;
            let found = resize_float(
                &values,
                width as usize,
                height as usize,
                side,
                side,
                Filter::Bicubic,
            );
            let found = Tensor::from_slice(&found)
                .reshape([side as i64, side as i64])
                .clamp(0.0, 255.0);
            return Ok(Some(Comparison::new(
                name,
                max_abs_error(&found, expect),
                CLEAN_FID,
            )));
        }
        [side, "pytorchfid", channel] => {
            let (side, channel): (i64, i64) =
                (side.parse()?, channel.trim_start_matches("ch").parse()?);
            let plane = source
                .get(channel)
                .unsqueeze(0)
                .unsqueeze(0)
                .to_kind(Kind::Float)
                / 255.0;
            let found = plane
                .upsample_bilinear2d([side, side], false, None, None)
                .squeeze();
            return Ok(Some(Comparison::new(
                name,
                max_abs_error(&found, expect),
                TENSOR_RESIZE,
            )));
        }
        _ => anyhow::bail!("its name is not recognised: `{what}`"),
    };
    // Some results are kept for the first images alone.
    let found = if found.dim() == 4 {
        found.narrow(0, 0, expect.size()[0].min(found.size()[0]))
    } else {
        found
    };
    Ok(Some(exact_match(name, found.equal(expect))))
}

fn normalised(source: &Tensor, side: &str, dataset: &str, count: i64) -> anyhow::Result<Tensor> {
    let statistics: Statistics = if dataset == "clip" { CLIP } else { IMAGENET };
    let sizing = Sizing::Square(side.parse()?);
    Ok(Preprocessing { sizing, statistics }.apply(&source.narrow(0, 0, count))?)
}

/// Maps every image of a uint8 tensor \[h, w\], \[c, h, w\] or \[n, c, h, w\].
fn bytes(source: &Tensor, map: impl Fn(Picture) -> Option<Picture>) -> anyhow::Result<Tensor> {
    let stack = match source.dim() {
        2 => source.unsqueeze(0).unsqueeze(0),
        3 => source.unsqueeze(0),
        _ => source.shallow_clone(),
    };
    let (_, channels, height, width) = stack.size4()?;
    let mut out = Vec::new();
    for at in 0..stack.size()[0] {
        let planes = Vec::<u8>::try_from(stack.get(at).contiguous().view([-1]))?;
        let picture =
            Picture::from_planes(width as usize, height as usize, channels as usize, &planes)?;
        let picture = map(picture).context("the image is smaller than its crop")?;
        let shape = [
            picture.channels as i64,
            picture.height as i64,
            picture.width as i64,
        ];
        out.push(Tensor::from_slice(&picture.to_planes()).reshape(shape));
    }
    Ok(if source.dim() == 4 {
        Tensor::stack(&out, 0)
    } else {
        out.swap_remove(0)
    })
}

/// A PNG must decode to one of the source tensors, or to an image of one.
fn png(fixture: &Fixture, listing: &Listing) -> anyhow::Result<Comparison> {
    let picture = cedm_images::decode(
        &listing.name,
        &std::fs::read(&fixture.path)?,
        &Limits::default(),
    )?;
    let shape = [
        picture.channels as i64,
        picture.height as i64,
        picture.width as i64,
    ];
    let planes = Tensor::from_slice(&picture.to_planes()).reshape(shape);
    let folder = listing
        .folder()
        .trim_end_matches('/')
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let sources = listing.files().into_iter().find(|name| {
        name.starts_with(folder)
            && listing
                .tensors_of(name)
                .keys()
                .any(|name| name.contains("_pil_bicubic_u8"))
    });
    let tensors = listing.read(sources.context("no tensors to compare with are listed")?)?;
    let same = |tensor: &Tensor| match tensor.dim() {
        4 => (0..tensor.size()[0]).any(|at| tensor.get(at).equal(&planes)),
        2 => tensor.unsqueeze(0).equal(&planes),
        _ => tensor.equal(&planes),
    };
    let fits = |tensor: &Tensor| {
        tensor.kind() == Kind::Uint8
            && tensor.numel().is_multiple_of(planes.numel())
            && tensor.size().ends_with(&shape[1..])
    };
    Ok(exact_match(
        "pixels",
        tensors.values().any(|tensor| fits(tensor) && same(tensor)),
    ))
}
