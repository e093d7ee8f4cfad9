//! Sum of singular values from the polar decomposition: several times as fast as the singular
//! values themselves, for it is all matrix products and factorisations, where a bidiagonalisation
//! waits for memory.

use tch::{Kind, Tensor};

/// More steps than any matrix that float64 can invert needs (Byers & Xu 2008, SIAM J. Matrix Anal.
/// 30:822: nine).
const MOST_STEPS: usize = 20;

/// ‖M‖₊ = tr(UᵀM) of a square matrix with U its orthogonal polar factor, by Newton's iteration X ←
/// (ζX + X⁻ᵀ/ζ)/2 with Higham's scaling (Higham 1986, SIAM J. Sci. Stat. Comput. 7:1160). Near the
/// end each step squares the error, so that a last step of 1e-8 leaves none. `None` where the
/// iteration does not end in an orthogonal matrix to rounding: M is singular, or not square.
pub(crate) fn nuclear_norm(matrix: &Tensor) -> Option<f64> {
    let [rows, columns] = matrix.size()[..] else {
        return None;
    };
    if rows != columns {
        return None;
    }
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
    for _ in 0..MOST_STEPS {
        let (inverse, code) = Tensor::f_linalg_inv_ex(&x, false).ok()?;
        if code.int64_value(&[]) != 0 {
            return None;
        }
        // Near the end the plain iteration converges quadratically, and scaling would only disturb
        // it.
        let scale = if last > 1e-2 {
            (size(&inverse) / size(&x)).powf(0.25)
        } else {
            1.0
        };
        if !scale.is_finite() || scale <= 0.0 {
            return None;
        }
        let next = (&x * scale + inverse.tr() / scale) * 0.5;
        let step = ((&next - &x).norm() / next.norm()).double_value(&[]);
        x = next;
        if step < 1e-8 && last < 1e-2 {
            return is_orthogonal(&x).then(|| (x * matrix).sum(Kind::Double).double_value(&[]));
        }
        last = step;
    }
    None
}

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
    fn it_is_the_sum_of_singular_values_whatever_the_condition() {
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
            "this one must not need the slow way"
        );
    }

    #[test]
    fn singular_and_oblong_matrices_are_left_to_others() {
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
