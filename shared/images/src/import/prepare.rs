//! Decoding and resizing images on all cores.

use crate::{
    Channels, Framing, ImageError, ImportOptions, Picture, budget::Budget, framing::edm_frame,
    shard::image_digest, source::Source,
};
use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Channels and side, which all images of a set share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub channels: usize,
    pub side: usize,
}

impl Shape {
    /// Bytes of one image.
    pub(super) fn bytes(self) -> u64 {
        (self.channels * self.side * self.side) as u64
    }
}

/// One image after preparation.
pub(super) enum Prepared {
    Image { planes: Vec<u8>, digest: [u8; 32] },
    Skipped(String),
}

/// Images that one thread takes at a time: few, since files differ in size.
const GRAIN: usize = 16;

/// Prepares the images `range` of the set; the result keeps their order. Where `shape` is not known
/// yet, the first usable image decides it.
pub(super) fn prepare(
    set: &dyn Source,
    range: Range<usize>,
    options: &ImportOptions,
    budget: &Budget,
    shape: &mut Option<Shape>,
) -> Result<Vec<Prepared>, ImageError> {
    let mut out = Vec::with_capacity(range.len());
    let mut rest = range;
    // One by one until the shape is known; damaged images at the start are skipped.
    while shape.is_none() && !rest.is_empty() {
        let index = rest.start;
        rest.start += 1;
        out.push(match framed(set, index, options, budget)? {
            Ok(picture) => {
                let picture = channelled(picture, options.channels);
                if picture.width != picture.height {
                    let reason = format!(
                        "{}x{} is not a square: give a resolution and how to crop",
                        picture.width, picture.height
                    );
                    return Err(ImageError::image(set.name(index), reason));
                }
                if picture.width > options.limits.side {
                    let reason = format!(
                        "{0}x{0} pixels, more than the allowed side of {1}: give a resolution to \
                         resize all images to",
                        picture.width, options.limits.side
                    );
                    return Err(ImageError::image(set.name(index), reason));
                }
                let found = Shape {
                    channels: picture.channels,
                    side: picture.width,
                };
                *shape = Some(found);
                pack(picture, found)
            }
            Err(reason) => Prepared::Skipped(reason),
        });
    }
    let Some(shape) = *shape else { return Ok(out) };
    set.look_ahead(rest.clone())?;
    let threads = if options.threads == 0 {
        thread::available_parallelism().map_or(1, usize::from)
    } else {
        options.threads
    };
    // Threads claim grains from a counter: a slow image delays one thread, not all.
    let claimed = AtomicUsize::new(rest.start);
    let work = || {
        let mut mine = Vec::new();
        loop {
            let from = claimed.fetch_add(GRAIN, Ordering::Relaxed);
            if from >= rest.end {
                return mine;
            }
            for index in from..rest.end.min(from + GRAIN) {
                mine.push((index, one(set, index, options, budget, shape)));
            }
        }
    };
    let mut all: Vec<(usize, Result<Prepared, ImageError>)> = if threads == 1 || rest.len() <= GRAIN
    {
        work()
    } else {
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut all = work();
            all.extend(
                others
                    .into_iter()
                    .flat_map(|thread| thread.join().expect("invariant: decoding does not panic")),
            );
            all
        })
    };
    // Back into the order of the set, which threads do not keep.
    all.sort_by_key(|(index, _)| *index);
    for (_, prepared) in all {
        out.push(prepared?);
    }
    Ok(out)
}

fn one(
    set: &dyn Source,
    index: usize,
    options: &ImportOptions,
    budget: &Budget,
    shape: Shape,
) -> Result<Prepared, ImageError> {
    let picture = match framed(set, index, options, budget)? {
        Ok(picture) => picture,
        Err(reason) => return Ok(Prepared::Skipped(reason)),
    };
    let fail = |reason| Err(ImageError::image(set.name(index), reason));
    if (picture.width, picture.height) != (shape.side, shape.side) {
        let reason = format!(
            "{0}x{1}, but the first image is {2}x{2}: give a resolution to resize all images to",
            picture.width, picture.height, shape.side
        );
        return fail(reason);
    }
    // Grey images fit into a colour set; colour in a grey set is an error, since converting it
    // would lose information that nobody asked to drop.
    let picture = if shape.channels == 3 {
        picture.into_rgb()
    } else {
        channelled(picture, options.channels)
    };
    if picture.channels != shape.channels {
        return fail(
            "has colour, but the first image is grey: give the channels (grey or rgb)".to_owned(),
        );
    }
    Ok(pack(picture, shape))
}

/// One image, decoded and resized; the inner error is the reason to skip it.
fn framed(
    set: &dyn Source,
    index: usize,
    options: &ImportOptions,
    budget: &Budget,
) -> Result<Result<Picture, String>, ImageError> {
    // The permit is held until the image is small.
    let (picture, _permit) = match set.read(index, budget) {
        Ok(read) => read,
        // The name stands beside the reason.
        Err(ImageError::Image { reason, .. }) if !options.strict => return Ok(Err(reason)),
        Err(error) => return Err(error),
    };
    let Some((width, height)) = options.resolution else {
        return Ok(Ok(picture));
    };
    if width != height && options.framing != Framing::CenterCropWide || height > width || width == 0
    {
        let reason = format!(
            "{width}x{height} is not a square (only center-crop-wide takes width > height)"
        );
        return Err(ImageError::Option {
            option: "resolution",
            reason,
        });
    }
    let size = (picture.width, picture.height);
    let dropped = || format!("{}x{} is smaller than {width}x{height}", size.0, size.1);
    Ok(edm_frame(picture, width as usize, height as usize, options.framing).ok_or_else(dropped))
}

fn channelled(picture: Picture, channels: Channels) -> Picture {
    match channels {
        Channels::Auto => picture,
        Channels::Grey => picture.into_grey(),
        Channels::Rgb => picture.into_rgb(),
    }
}

fn pack(picture: Picture, shape: Shape) -> Prepared {
    let planes = if picture.channels == 1 {
        picture.pixels
    } else {
        picture.to_planes()
    };
    let digest = image_digest(shape.channels as u32, shape.side as u32, &planes);
    Prepared::Image { planes, digest }
}
