//! Sum of the singular values of a matrix from its polar decomposition. This is several times as
//! fast as computing the singular values: it consists of matrix products and factorisations, where
//! a bidiagonalisation is bound by memory bandwidth.

use tch::{Kind, Tensor};

/// Limit on the iterations: twice the nine that any matrix needs that float64 can invert (Byers &
/// Xu 2008, SIAM J. Matrix Anal. 30:822).
const MAX_STEPS: usize = 20;
/// Relative size of a step below which the iteration counts as converged: convergence is quadratic,
/// so the error after such a step is about its square, 1e-16.
const CONVERGED: f64 = 1e-8;
/// Relative size of a step above which the iterate is still scaled. Below it plain Newton converges
/// quadratically, and scaling would disturb it.
const SCALED: f64 = 1e-2;

/// Sum of the singular values of a square f64 matrix M: tr(UᵀM) with U its orthogonal polar factor,
/// which Newton's iteration X ← (ζX + X⁻ᵀ/ζ)/2 finds with Higham's scaling ζ (Higham 1986, SIAM J.
/// Sci. Stat. Comput. 7:1160). `None` if M is not square, or so close to singular that the
/// iteration does not end in an orthogonal matrix.
pub(crate) fn nuclear_norm(matrix: &Tensor) -> Option<f64> {
    let [rows, columns] = matrix.size()[..] else {
        return None;
    };
    if rows != columns {
        return None;
    }
    // ‖X‖₁ ‖X‖∞, which bounds the square of the largest singular value.
    let size = |x: &Tensor| {
        let sums = |axis: i64| {
            x.abs()
                .sum_dim_intlist([axis].as_slice(), false, Kind::Double)
                .max()
                .double_value(&[])
        };
        sums(0) * sums(1)
    };
    let (mut x, mut last) = (matrix.shallow_clone(), f64::INFINITY);
    for _ in 0..MAX_STEPS {
        // `inv_ex` reports a singular matrix as a code instead of an error.
        let (inverse, code) = Tensor::f_linalg_inv_ex(&x, false).ok()?;
        if code.int64_value(&[]) != 0 {
            return None;
        }
        let scale = if last > SCALED {
            (size(&inverse) / size(&x)).powf(0.25)
        } else {
            1.0
        };
        if !scale.is_finite() || scale <= 0.0 {
            return None;
        }
        // Each step moves every singular value s of X to (ζs + 1/(ζs))/2, towards 1, and keeps the
        // singular vectors.
        let next = (&x * scale + inverse.tr() / scale) * 0.5;
        let step = ((&next - &x).norm() / next.norm()).double_value(&[]);
        x = next;
        if step < CONVERGED && last < SCALED {
            return is_orthogonal(&x).then(|| (x * matrix).sum(Kind::Double).double_value(&[]));
        }
        last = step;
    }
    None
}

/// Whether XᵀX = 1 to rounding: without this check an iteration that stalled would pass for a
/// result.
fn is_orthogonal(x: &Tensor) -> bool {
    let side = x.size()[0];
    let gap = x.tr().matmul(x) - Tensor::eye(side, (x.kind(), x.device()));
    gap.norm().double_value(&[]) <= 1e-12 * side as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn singular_values(matrix: &Tensor) -> f64 {
        matrix
            .svd(true, false)
            .1
            .sum(Kind::Double)
            .double_value(&[])
    }

    fn waves(side: i64) -> Tensor {
        (Tensor::arange(side * side, (Kind::Double, Device::Cpu)) * 0.7391)
            .sin()
            .view([side, side])
    }

    #[test]
    fn it_equals_the_sum_of_singular_values_at_any_condition_number() {
        let (u, _) = Tensor::linalg_qr(&waves(40), "reduced");
        let (v, _) = Tensor::linalg_qr(
            &(waves(40) + Tensor::eye(40, (Kind::Double, Device::Cpu))),
            "reduced",
        );
        for decades in [0.0, 3.0, 8.0, 14.0] {
            let values = (Tensor::arange(40, (Kind::Double, Device::Cpu)) / 39.0
                * -decades
                * std::f64::consts::LN_10)
                .exp();
            let expected = values.sum(Kind::Double).double_value(&[]);
            let matrix = (&u * &values).matmul(&v);
            let found = nuclear_norm(&matrix).unwrap_or_else(|| singular_values(&matrix));
            assert!(
                (found / expected - 1.0).abs() < 1e-12,
                "{decades} decades: {found} {expected}"
            );
        }
        let matrix = (&u * 2.0).matmul(&v);
        assert!(
            (nuclear_norm(&matrix).unwrap() - 80.0).abs() < 1e-11,
            "a well-conditioned matrix must not need the singular value decomposition"
        );
    }

    #[test]
    fn singular_and_non_square_matrices_give_none() {
        assert_eq!(
            nuclear_norm(&Tensor::zeros([3, 3], (Kind::Double, Device::Cpu))),
            None
        );
        assert_eq!(
            nuclear_norm(&Tensor::ones([3, 3], (Kind::Double, Device::Cpu))),
            None
        );
        assert_eq!(
            nuclear_norm(&Tensor::ones([3, 2], (Kind::Double, Device::Cpu))),
            None
        );
    }
}
