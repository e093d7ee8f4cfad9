//! The transforms of the pipe, and the random numbers that each of them draws.

use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// One transform of the augmentation pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// Mirrors left and right.
    Xflip,
    /// Mirrors top and bottom.
    Yflip,
    /// Rotates by quarter turns, exactly.
    RotateInt,
    /// Translates by whole pixels, exactly.
    TranslateInt,
    /// Scales both axes alike.
    Scale,
    /// Rotates by any angle.
    RotateFrac,
    /// Stretches along one direction and shrinks across it.
    Aniso,
    /// Translates by any distance.
    TranslateFrac,
    /// Adds a constant to all channels.
    Brightness,
    /// Multiplies all channels by a factor.
    Contrast,
    /// Negates the luma and keeps the colours.
    Lumaflip,
    /// Rotates colours about the luma axis.
    Hue,
    /// Multiplies the distance of colours from grey.
    Saturation,
}

impl Transform {
    /// All transforms, in the order in which they are applied and labelled.
    pub const ALL: [Transform; 13] = [
        Transform::Xflip,
        Transform::Yflip,
        Transform::RotateInt,
        Transform::TranslateInt,
        Transform::Scale,
        Transform::RotateFrac,
        Transform::Aniso,
        Transform::TranslateFrac,
        Transform::Brightness,
        Transform::Contrast,
        Transform::Lumaflip,
        Transform::Hue,
        Transform::Saturation,
    ];
    /// The transforms of the published training settings, which have nine label columns.
    pub const TRAINING: [Transform; 6] = [
        Transform::Xflip,
        Transform::Yflip,
        Transform::Scale,
        Transform::RotateFrac,
        Transform::Aniso,
        Transform::TranslateFrac,
    ];

    /// The name that upstream's `AugmentPipe` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Transform::Xflip => "xflip",
            Transform::Yflip => "yflip",
            Transform::RotateInt => "rotate_int",
            Transform::TranslateInt => "translate_int",
            Transform::Scale => "scale",
            Transform::RotateFrac => "rotate_frac",
            Transform::Aniso => "aniso",
            Transform::TranslateFrac => "translate_frac",
            Transform::Brightness => "brightness",
            Transform::Contrast => "contrast",
            Transform::Lumaflip => "lumaflip",
            Transform::Hue => "hue",
            Transform::Saturation => "saturation",
        }
    }

    /// Name of its parameter in [`Augmented::values`](super::Augmented::values), for transforms
    /// that have one.
    pub(super) fn value_name(self) -> &'static str {
        match self {
            Transform::Xflip => "xflip.flag",
            Transform::Yflip => "yflip.flag",
            Transform::RotateInt => "rotate_int.quarter_turns",
            Transform::TranslateInt => "translate_int.tx_px",
            Transform::Scale => "scale.s",
            Transform::RotateFrac => "rotate_frac.theta_rad",
            Transform::Aniso => "aniso.s",
            Transform::TranslateFrac => "translate_frac.tx_px",
            Transform::Brightness => "brightness.b",
            Transform::Contrast => "contrast.c",
            Transform::Lumaflip => "lumaflip.flag",
            Transform::Hue => "hue.theta_rad",
            Transform::Saturation => "saturation.s",
        }
    }

    /// Number of label columns: two for an angle (cos − 1, sin) and for a translation.
    pub fn label_width(self) -> i64 {
        match self {
            Transform::Xflip | Transform::Yflip | Transform::Scale => 1,
            Transform::Brightness
            | Transform::Contrast
            | Transform::Lumaflip
            | Transform::Saturation => 1,
            _ => 2,
        }
    }
}

/// Random numbers for a batch of n images, before gating and scaling.
#[derive(Debug, Default)]
pub struct Draws {
    /// By `<transform>.<draw>`, each \[n\] or, for a pair of coordinates, \[2, n\].
    pub raw: HashMap<String, Tensor>,
}

impl Draws {
    /// Fresh draws for `n` images from libtorch's default generator. The order is part of a run's
    /// numbers: transform by transform, each with its value before its gate.
    pub fn fresh(on: impl Iterator<Item = Transform>, n: i64, device: Device) -> Self {
        let options = (Kind::Float, device);
        let (uniform, normal) = (
            || Tensor::rand([n], options),
            || Tensor::randn([n], options),
        );
        let integer = |high: i64| Tensor::randint(high, [n], (Kind::Int64, device));
        let mut raw = HashMap::new();
        for transform in on {
            let mut put = |draw: &str, tensor: Tensor| {
                raw.insert(format!("{}.{draw}", transform.name()), tensor)
            };
            match transform {
                Transform::Xflip | Transform::Yflip | Transform::Lumaflip => {
                    drop(put("i", integer(2)))
                }
                Transform::RotateInt => drop(put("i", integer(4))),
                Transform::TranslateInt => drop(put("u", Tensor::rand([2, n], options))),
                Transform::RotateFrac | Transform::Hue => drop(put("u", uniform())),
                Transform::TranslateFrac => drop(put("n", Tensor::randn([2, n], options))),
                Transform::Scale
                | Transform::Aniso
                | Transform::Brightness
                | Transform::Contrast
                | Transform::Saturation => {
                    put("n", normal());
                }
            }
            if transform == Transform::Aniso {
                put("u_angle", uniform());
            }
            put("u_gate", uniform());
            if transform == Transform::Aniso {
                put("u_rotate_gate", uniform());
            }
        }
        Self { raw }
    }

    fn get(&self, transform: Transform, draw: &str) -> &Tensor {
        let name = format!("{}.{draw}", transform.name());
        self.raw.get(&name).unwrap_or_else(|| {
            panic!("invariant: draw {name} was made for every transform that is on")
        })
    }
    // Each of these is [n]: fixtures may hold draws as [n, 1, 1, 1].
    pub(super) fn integer(&self, transform: Transform) -> Tensor {
        self.get(transform, "i").flatten(0, -1)
    }
    pub(super) fn normal(&self, transform: Transform) -> Tensor {
        self.get(transform, "n").flatten(0, -1)
    }
    pub(super) fn uniform(&self, transform: Transform) -> Tensor {
        self.get(transform, "u").flatten(0, -1)
    }
    pub(super) fn pair(&self, transform: Transform) -> [Tensor; 2] {
        let both = self.get(
            transform,
            if transform == Transform::TranslateInt {
                "u"
            } else {
                "n"
            },
        );
        [both.get(0).flatten(0, -1), both.get(1).flatten(0, -1)]
    }
    pub(super) fn gate(&self, transform: Transform) -> Tensor {
        self.get(transform, "u_gate").flatten(0, -1)
    }
    pub(super) fn angle(&self) -> Tensor {
        self.get(Transform::Aniso, "u_angle").flatten(0, -1)
    }
    pub(super) fn rotate_gate(&self) -> Tensor {
        self.get(Transform::Aniso, "u_rotate_gate").flatten(0, -1)
    }
}
