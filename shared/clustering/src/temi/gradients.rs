//! The student's forward pass and its backward pass, written out instead of left to autograd: the
//! gradients of one group of heads are used while they are in the cache, and nothing is kept of the
//! other groups.

use super::Heads;
use tch::Tensor;

/// Smallest norm by which the bottleneck is divided, PyTorch's default in `normalize` (spec §4.1).
pub const NORM_EPS: f64 = 1e-12;

/// The values of a forward pass that its backward pass needs.
#[derive(Debug)]
pub struct Activations {
    /// Input of each linear map: \[H or broadcast, rows, inputs\].
    inputs: Vec<Tensor>,
    /// Values before each GELU: \[H, rows, hidden\].
    before_gelu: Vec<Tensor>,
    /// Unit bottleneck: \[H, rows, bottleneck\].
    unit: Tensor,
    /// Its norm before division, at least [`NORM_EPS`]: \[H, rows, 1\].
    norms: Tensor,
    /// Weights of the last layer, g v/‖v‖: \[H, C, bottleneck\].
    last_layer: Tensor,
    /// Logits \[H, rows, C\].
    pub logits: Tensor,
}

/// [`Heads::forward`] on standardised features \[rows, D\], which also returns what [`backward`]
/// needs.
pub fn forward_with_activations(heads: &Heads, features: &Tensor) -> Activations {
    let mut inputs = vec![
        features
            .unsqueeze(0)
            .expand([heads.shape.heads, -1, -1], false),
    ];
    let mut before_gelu = Vec::new();
    for (bias, weight) in heads.biases.iter().zip(&heads.weights) {
        let output = bias.baddbmm(&inputs[inputs.len() - 1], &weight.transpose(1, 2), 1, 1);
        if before_gelu.len() + 1 < heads.weights.len() {
            inputs.push(output.gelu("none"));
        }
        before_gelu.push(output);
    }
    let bottleneck = before_gelu.pop().expect("invariant: at least one layer");
    let norms = bottleneck
        .norm_scalaropt_dim(2.0, [2].as_slice(), true)
        .clamp_min(NORM_EPS);
    let unit = bottleneck / &norms;
    let last_layer = heads.last_layer();
    let logits = unit.bmm(&last_layer.transpose(1, 2));
    Activations {
        inputs,
        before_gelu,
        unit,
        norms,
        last_layer,
        logits,
    }
}

/// Gradients of every tensor of `heads`, in the order of [`Heads::tensors`], from the gradient of
/// the loss by the logits \[H, rows, C\]. With `skip_last` the two tensors of the last layer get
/// none, as they are frozen.
pub fn backward(
    heads: &Heads,
    kept: &Activations,
    d_logits: &Tensor,
    skip_last: bool,
) -> Vec<Option<Tensor>> {
    let (d_length, d_direction) = if skip_last {
        (None, None)
    } else {
        last_layer_gradients(heads, kept, d_logits)
    };
    let d_unit = d_logits.bmm(&kept.last_layer);
    // u = b / max(‖b‖, eps): the component of du along u has no effect, unless the norm was clamped
    // and is a constant.
    let along = (&kept.unit * &d_unit).sum_dim_intlist([2].as_slice(), true, d_unit.kind())
        * kept.norms.gt(NORM_EPS);
    let mut d_output = (d_unit - &kept.unit * along) / &kept.norms;
    // From the last linear map to the first; between two of them is a GELU.
    let layers = heads.weights.len();
    let (mut d_biases, mut d_weights) = (Vec::new(), Vec::new());
    for layer in (0..layers).rev() {
        d_biases.push(Some(d_output.sum_dim_intlist(
            [1].as_slice(),
            true,
            d_output.kind(),
        )));
        d_weights.push(Some(d_output.transpose(1, 2).bmm(&kept.inputs[layer])));
        if layer > 0 {
            d_output = kept.before_gelu[layer - 1]
                .gelu_backward(&d_output.bmm(&heads.weights[layer]), "none");
        }
    }
    d_biases.reverse();
    d_weights.reverse();
    d_biases
        .into_iter()
        .chain(d_weights)
        .chain([d_length, d_direction])
        .collect()
}

/// Gradients of length g \[H, C, 1\] and direction v \[H, C, bottleneck\] of the rows g v/‖v‖ of
/// the last layer.
fn last_layer_gradients(
    heads: &Heads,
    kept: &Activations,
    d_logits: &Tensor,
) -> (Option<Tensor>, Option<Tensor>) {
    let d_rows = d_logits.transpose(1, 2).bmm(&kept.unit);
    let norms = heads.direction_norms();
    // With r = g v/‖v‖: dg = dr · v/‖v‖, and dv is the part of dr across v, times g/‖v‖.
    let direction = &heads.weight_v / &norms;
    let d_length = (&d_rows * &direction).sum_dim_intlist([2].as_slice(), true, d_rows.kind());
    let d_direction = (d_rows - &direction * &d_length) * (&heads.weight_g / norms);
    (Some(d_length), Some(d_direction))
}

#[cfg(test)]
mod tests {
    use super::{super::HeadShape, *};
    use tch::{Device, Kind};

    fn check(layers: i64) {
        let shape = HeadShape {
            heads: 2,
            inputs: 7,
            layers,
            hidden: 6,
            bottleneck: 5,
            clusters: 4,
        };
        let heads = Heads::initialise(shape, 3, Kind::Double, Device::Cpu);
        // Lengths other than 1 and larger weights, so that every path has a gradient.
        let heads = heads.map(|t| (t * 20.0 + 0.1).set_requires_grad(true));
        let features = Tensor::arange(3 * 7, (Kind::Double, Device::Cpu))
            .cos()
            .view([3, 7]);
        let outer = Tensor::arange(2 * 3 * 4, (Kind::Double, Device::Cpu))
            .sin()
            .view([2, 3, 4]);
        let kept = forward_with_activations(&heads, &features);
        let expected = Tensor::run_backward(
            &[(&kept.logits * &outer).sum(Kind::Double)],
            &heads.tensors(),
            false,
            false,
        );
        let found = tch::no_grad(|| {
            let kept = forward_with_activations(&heads, &features);
            assert!(
                (&kept.logits - heads.forward(&features))
                    .abs()
                    .max()
                    .double_value(&[])
                    < 1e-14
            );
            backward(&heads, &kept, &outer, false)
        });
        for (expected, found) in expected.iter().zip(found) {
            let error = (expected - found.unwrap()).abs().max().double_value(&[]);
            assert!(error < 1e-12, "{layers} layers: {error}");
        }
    }

    #[test]
    fn gradients_equal_automatic_differentiation() {
        (1..=3).for_each(check);
    }
}
