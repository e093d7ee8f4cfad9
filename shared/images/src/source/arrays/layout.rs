//! The order of the axes of an array of images.

use crate::ArrayLayout;

/// The order of the axes of an image array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// n, height, width (, channels).
    ChannelsLast,
    /// n, channels, height, width.
    Planes,
}

/// How an array of images is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) count: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) layout: Layout,
}

impl Axes {
    /// The axes of a shape in this layout; `None` where it has not as many, or not 1 or 3 channels.
    fn of(shape: &[usize], layout: ArrayLayout) -> Option<Self> {
        let (count, height, width, channels) = match (layout, shape) {
            (ArrayLayout::Nhw, &[n, h, w]) => (n, h, w, 1),
            (ArrayLayout::Nhwc, &[n, h, w, c]) => (n, h, w, c),
            (ArrayLayout::Nchw, &[n, c, h, w]) => (n, h, w, c),
            (ArrayLayout::Hwc, &[h, w, c]) => (1, h, w, c),
            (ArrayLayout::Chw, &[c, h, w]) => (1, h, w, c),
            _ => return None,
        };
        let planes = matches!(layout, ArrayLayout::Nchw | ArrayLayout::Chw);
        matches!(channels, 1 | 3).then_some(Self {
            count,
            height,
            width,
            channels,
            layout: if planes {
                Layout::Planes
            } else {
                Layout::ChannelsLast
            },
        })
    }
}

/// The axes of an array of images. A layout is taken without being told only where the images are
/// squares and no other layout has squares too, or where four axes fit one layout alone: pixels in
/// a wrong order make images all the same.
///
/// # Errors
/// When the shape has several readings, or none; they are named.
pub(super) fn axes(shape: &[usize], told: Option<ArrayLayout>) -> Result<Axes, String> {
    if let Some(layout) = told {
        return Axes::of(shape, layout).ok_or_else(|| {
            let name = layout.name();
            format!(
                "array of shape {shape:?}, but `layout` is {name}: it has {} axes, of which `c` is \
                 1 or 3",
                name.len()
            )
        });
    }
    let taken = match *shape {
        // One plane is one grey image, whichever way.
        [1, _, _] => Some(ArrayLayout::Nhw),
        [n, h, w] if h == w && n != h && n != 3 => Some(ArrayLayout::Nhw),
        [_, h, w, 1 | 3] if h == w => Some(ArrayLayout::Nhwc),
        [_, 1 | 3, h, w] if h == w => Some(ArrayLayout::Nchw),
        // Four axes that only one layout fits.
        [_, _, _, _] => match readings(shape).len() {
            1 => READ
                .into_iter()
                .find(|layout| Axes::of(shape, *layout).is_some()),
            _ => None,
        },
        _ => None,
    };
    if let Some(axes) = taken.and_then(|layout| Axes::of(shape, layout)) {
        return Ok(axes);
    }
    Err(match readings(shape) {
        found if found.is_empty() => {
            let what = match shape {
                [_, _, _, 4] | [_, 4, _, _] => "with alpha",
                _ => "of no known layout",
            };
            format!(
                "array of shape {shape:?}, {what}: expected [n, h, w], [n, h, w, 1 or 3] or [n, 1 \
                 or 3, h, w]"
            )
        }
        found => format!(
            "array of shape {shape:?}, which may be {}: `layout` says which it is",
            found.join(" or ")
        ),
    })
}

/// The layouts that are read.
const READ: [ArrayLayout; 5] = [
    ArrayLayout::Nhw,
    ArrayLayout::Nhwc,
    ArrayLayout::Nchw,
    ArrayLayout::Hwc,
    ArrayLayout::Chw,
];

/// What an array of this shape may be, in words; those that are not read with what makes them so.
fn readings(shape: &[usize]) -> Vec<String> {
    let words = |count: usize, height, width, channels| {
        let kind = if channels == 1 { "grey" } else { "colour" };
        let images = if count == 1 { "image" } else { "images" };
        format!("{count} {kind} {images} of {width}x{height}")
    };
    let mut found: Vec<String> = READ
        .into_iter()
        .filter_map(|layout| {
            let axes = Axes::of(shape, layout)?;
            let words = words(axes.count, axes.height, axes.width, axes.channels);
            Some(format!("{words} (`{}`)", layout.name()))
        })
        .collect();
    // Images last or between, as MATLAB's files have them (SVHN), with their axes in numpy's order.
    let others: Vec<(&str, [usize; 4], &str)> = match *shape {
        [h, w, n] => vec![("hwn", [n, h, w, 1], "2, 0, 1")],
        [a, b, c, d] => vec![
            ("hwcn", [d, a, b, c], "3, 0, 1, 2"),
            ("hwnc", [c, a, b, d], "2, 0, 1, 3"),
            ("chwn", [d, b, c, a], "3, 1, 2, 0"),
            ("cnhw", [b, c, d, a], "1, 2, 3, 0"),
        ],
        _ => Vec::new(),
    };
    for (name, [n, h, w, c], order) in others {
        if matches!(c, 1 | 3) && h == w {
            found.push(format!(
                "{} (`{name}`, not read: save np.ascontiguousarray(images.transpose({order})))",
                words(n, h, w, c)
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_taken_only_where_no_other_fits() {
        for (shape, layout) in [
            (&[100, 28, 28][..], ArrayLayout::Nhw),
            (&[1, 28, 28], ArrayLayout::Nhw),
            (&[5, 8, 8, 3], ArrayLayout::Nhwc),
            (&[32, 32, 32, 3], ArrayLayout::Nhwc),
            (&[5, 3, 8, 8], ArrayLayout::Nchw),
            (&[5, 24, 32, 3], ArrayLayout::Nhwc),
        ] {
            assert_eq!(axes(shape, None).unwrap(), Axes::of(shape, layout).unwrap());
        }
        for (shape, readings) in [
            (
                &[28, 28, 100][..],
                &[
                    "28 grey images of 100x28 (`nhw`)",
                    "100 grey images of 28x28 (`hwn`",
                ][..],
            ),
            (&[28, 28, 28], &["(`nhw`)", "(`hwn`, not read"]),
            (
                &[24, 32, 3],
                &[
                    "24 grey images of 3x32 (`nhw`)",
                    "1 colour image of 32x24 (`hwc`)",
                ],
            ),
            (
                &[3, 32, 32],
                &[
                    "3 grey images of 32x32 (`nhw`)",
                    "1 colour image of 32x32 (`chw`)",
                ],
            ),
            (&[32, 32, 3], &["(`hwc`)"]),
            (&[100, 24, 32], &["(`nhw`)"]),
            (
                &[8, 8, 5, 3],
                &[
                    "8 colour images of 5x8 (`nhwc`)",
                    "5 colour images of 8x8 (`hwnc`",
                ],
            ),
            (&[8, 8, 3, 5], &["transpose(3, 0, 1, 2)"]),
            (&[3, 8, 8, 5], &["5 colour images of 8x8 (`chwn`"]),
        ] {
            let error = axes(shape, None).unwrap_err();
            for reading in readings {
                assert!(error.contains(reading), "{error}");
            }
            assert!(error.ends_with("`layout` says which it is"), "{error}");
        }
        for (shape, layout, count) in [
            (&[3, 32, 32][..], ArrayLayout::Chw, 1),
            (&[3, 32, 32], ArrayLayout::Nhw, 3),
            (&[24, 32, 3], ArrayLayout::Hwc, 1),
            (&[5, 24, 32, 3], ArrayLayout::Nhwc, 5),
        ] {
            assert_eq!(axes(shape, Some(layout)).unwrap().count, count);
        }
        let error = axes(&[5, 8, 8, 2], Some(ArrayLayout::Nhwc)).unwrap_err();
        assert!(error.contains("`layout` is nhwc: it has 4 axes"), "{error}");
        assert!(
            axes(&[5, 8, 8, 4], None)
                .unwrap_err()
                .contains("with alpha")
        );
    }
}
