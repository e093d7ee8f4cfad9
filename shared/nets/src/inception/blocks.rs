//! The five kinds of Inception block, A to E in the order of the network (spec §10.1).

use crate::{
    layers::{BatchNorm, channels_last},
    weights::Loading,
};
use tch::Tensor;

/// Of TensorFlow's graph; PyTorch's default would be 1e-5.
const BATCH_NORM_EPS: f64 = 1e-3;

/// Convolution without bias, batch normalisation, ReLU. The normalisation is folded into the
/// convolution when the weights are loaded.
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: (i64, i64),
}

impl Conv {
    pub fn load(
        from: &Loading<'_>,
        name: &str,
        dim_in: i64,
        dim_out: i64,
        kernel: (i64, i64),
        stride: i64,
        padding: (i64, i64),
    ) -> Self {
        let weight = from.take(
            &format!("{name}.conv.weight"),
            &[dim_out, dim_in, kernel.0, kernel.1],
        );
        let (weight, bias) = BatchNorm::load(from, &format!("{name}.bn"), dim_out, BATCH_NORM_EPS)
            // 94 normalisations fewer for each batch; features differ by rounding alone.
            .folded_into(&weight);
        Self {
            weight: channels_last(&weight),
            bias,
            stride,
            padding,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mut out = x.conv2d(
            &self.weight,
            Some(&self.bias),
            [self.stride, self.stride],
            [self.padding.0, self.padding.1],
            [1, 1],
            1,
        );
        // In place: the output of a convolution has no other reader.
        out.relu_()
    }
}

enum Branch {
    /// One convolution after the other.
    Chain(Vec<Conv>),
    /// A chain whose output goes into two convolutions side by side.
    Fork(Vec<Conv>, [Conv; 2]),
    /// 3×3 average of the same size, padding not counted, then a convolution.
    AveragePool(Conv),
    /// 3×3 maximum of the same size, then a convolution.
    MaxPool(Conv),
    /// 3×3 maximum with stride 2.
    Shrink,
}

/// A block: branches side by side, concatenated along the channels in this order.
pub(super) struct Mixed(Vec<Branch>);

/// Convolutions of one block by name.
struct Convs<'a> {
    from: &'a Loading<'a>,
    block: &'a str,
}

impl Convs<'_> {
    fn conv(&self, name: &str, dim_in: i64, dim_out: i64, kernel: (i64, i64)) -> Conv {
        // Kernels are odd: half of one as padding keeps the size.
        let padding = (kernel.0 / 2, kernel.1 / 2);
        Conv::load(
            self.from,
            &format!("{}.{name}", self.block),
            dim_in,
            dim_out,
            kernel,
            1,
            padding,
        )
    }
    fn shrinking(&self, name: &str, dim_in: i64, dim_out: i64) -> Conv {
        Conv::load(
            self.from,
            &format!("{}.{name}", self.block),
            dim_in,
            dim_out,
            // Stride 2 without padding: 35 becomes 17, 17 becomes 8.
            (3, 3),
            2,
            (0, 0),
        )
    }
}

const ONE: (i64, i64) = (1, 1);
const THREE: (i64, i64) = (3, 3);

impl Mixed {
    /// Block A at 35×35 pixels, with `pool` channels in the pool branch.
    pub fn a(from: &Loading<'_>, block: &str, dim: i64, pool: i64) -> Self {
        let of = Convs { from, block };
        Self(vec![
            Branch::Chain(vec![of.conv("branch1x1", dim, 64, ONE)]),
            Branch::Chain(vec![
                of.conv("branch5x5_1", dim, 48, ONE),
                of.conv("branch5x5_2", 48, 64, (5, 5)),
            ]),
            Branch::Chain(vec![
                of.conv("branch3x3dbl_1", dim, 64, ONE),
                of.conv("branch3x3dbl_2", 64, 96, THREE),
                of.conv("branch3x3dbl_3", 96, 96, THREE),
            ]),
            // 32 channels in the first of the three blocks A, 64 in the others.
            Branch::AveragePool(of.conv("branch_pool", dim, pool, ONE)),
        ])
    }

    /// Block B, from 35×35 to 17×17.
    pub fn b(from: &Loading<'_>, block: &str, dim: i64) -> Self {
        let of = Convs { from, block };
        Self(vec![
            Branch::Chain(vec![of.shrinking("branch3x3", dim, 384)]),
            Branch::Chain(vec![
                of.conv("branch3x3dbl_1", dim, 64, ONE),
                of.conv("branch3x3dbl_2", 64, 96, THREE),
                of.shrinking("branch3x3dbl_3", 96, 96),
            ]),
            Branch::Shrink,
        ])
    }

    /// Block C at 17×17, with `c7` channels inside the branches of 1×7 and 7×1 kernels.
    pub fn c(from: &Loading<'_>, block: &str, c7: i64) -> Self {
        let of = Convs { from, block };
        // A 7×7 kernel as the product of two, at a seventh of the cost.
        let (wide, tall) = ((1, 7), (7, 1));
        Self(vec![
            Branch::Chain(vec![of.conv("branch1x1", 768, 192, ONE)]),
            Branch::Chain(vec![
                of.conv("branch7x7_1", 768, c7, ONE),
                of.conv("branch7x7_2", c7, c7, wide),
                of.conv("branch7x7_3", c7, 192, tall),
            ]),
            Branch::Chain(vec![
                of.conv("branch7x7dbl_1", 768, c7, ONE),
                of.conv("branch7x7dbl_2", c7, c7, tall),
                of.conv("branch7x7dbl_3", c7, c7, wide),
                of.conv("branch7x7dbl_4", c7, c7, tall),
                of.conv("branch7x7dbl_5", c7, 192, wide),
            ]),
            Branch::AveragePool(of.conv("branch_pool", 768, 192, ONE)),
        ])
    }

    /// Block D, from 17×17 to 8×8.
    pub fn d(from: &Loading<'_>, block: &str) -> Self {
        let of = Convs { from, block };
        Self(vec![
            Branch::Chain(vec![
                of.conv("branch3x3_1", 768, 192, ONE),
                of.shrinking("branch3x3_2", 192, 320),
            ]),
            Branch::Chain(vec![
                of.conv("branch7x7x3_1", 768, 192, ONE),
                of.conv("branch7x7x3_2", 192, 192, (1, 7)),
                of.conv("branch7x7x3_3", 192, 192, (7, 1)),
                of.shrinking("branch7x7x3_4", 192, 192),
            ]),
            Branch::Shrink,
        ])
    }

    /// Block E at 8×8; the last one of the network pools by `maximum`.
    pub fn e(from: &Loading<'_>, block: &str, dim: i64, maximum: bool) -> Self {
        let of = Convs { from, block };
        // Side by side here, not one after the other as in block C.
        let (wide, tall) = ((1, 3), (3, 1));
        // The same weights serve either kind of pool.
        let pool = of.conv("branch_pool", dim, 192, ONE);
        Self(vec![
            Branch::Chain(vec![of.conv("branch1x1", dim, 320, ONE)]),
            Branch::Fork(
                vec![of.conv("branch3x3_1", dim, 384, ONE)],
                [
                    of.conv("branch3x3_2a", 384, 384, wide),
                    of.conv("branch3x3_2b", 384, 384, tall),
                ],
            ),
            Branch::Fork(
                vec![
                    of.conv("branch3x3dbl_1", dim, 448, ONE),
                    of.conv("branch3x3dbl_2", 448, 384, THREE),
                ],
                [
                    of.conv("branch3x3dbl_3a", 384, 384, wide),
                    of.conv("branch3x3dbl_3b", 384, 384, tall),
                ],
            ),
            if maximum {
                Branch::MaxPool(pool)
            } else {
                Branch::AveragePool(pool)
            },
        ])
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        // Block E has the most parts: one, two, two and the pool.
        let mut parts = Vec::with_capacity(6);
        for branch in &self.0 {
            match branch {
                Branch::Chain(convs) => parts.push(chain(convs, x)),
                Branch::Fork(convs, ends) => {
                    let x = chain(convs, x);
                    parts.extend(ends.iter().map(|end| end.forward(&x)));
                }
                Branch::AveragePool(conv) => parts.push(conv.forward(&x.avg_pool2d(
                    [3, 3],
                    [1, 1],
                    [1, 1],
                    false,
                    false, // count_include_pad: TensorFlow averages over the pixels that exist
                    None::<i64>,
                ))),
                Branch::MaxPool(conv) => {
                    parts.push(conv.forward(&x.max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)))
                }
                Branch::Shrink => parts.push(x.max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)),
            }
        }
        Tensor::cat(&parts, 1)
    }
}

fn chain(convs: &[Conv], x: &Tensor) -> Tensor {
    convs
        .iter()
        .fold(x.shallow_clone(), |x, conv| conv.forward(&x))
}
