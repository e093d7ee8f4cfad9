//! The transforms of the pipe and the raw random numbers each of them takes.

use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// A transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// Mirror left and right.
    Xflip,
    /// Mirror top and bottom.
    Yflip,
    /// Quarter turns.
    RotateInt,
    /// Whole pixels.
    TranslateInt,
    /// Isotropic scaling.
    Scale,
    /// Any angle.
    RotateFrac,
    /// Scaling along one direction.
    Aniso,
    /// Any distance.
    TranslateFrac,
    /// Adds a constant.
    Brightness,
    /// Scales about zero.
    Contrast,
    /// Inverts luma.
    Lumaflip,
    /// Turns colours about the luma axis.
    Hue,
    /// Scales chroma.
    Saturation,
}

impl Transform {
    /// In the order of the pipe and of the labels.
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
    /// Those of the published training setting: nine labels.
    pub const TRAINING: [Transform; 6] = [
        Transform::Xflip,
        Transform::Yflip,
        Transform::Scale,
        Transform::RotateFrac,
        Transform::Aniso,
        Transform::TranslateFrac,
    ];

    /// Upstream name.
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

    /// Name of its value in plain units, for transforms with one value.
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

    /// Label columns.
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

/// Raw draws by `<transform>.<draw>`, each \[n\] or, for pairs, \[2, n\].
#[derive(Debug, Default)]
pub struct Draws {
    /// By name.
    pub raw: HashMap<String, Tensor>,
}

impl Draws {
    /// Fresh draws from libtorch's generator for `n` images, in the order of the transforms, value
    /// before gate.
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
