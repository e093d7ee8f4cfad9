//! Fréchet distance between Gaussians (spec §10.1).
//!
//! tr √(Σ₁Σ₂) is the sum of the singular values of M = R₁ᵀR₂ for any R with R Rᵀ = Σ, so the factor
//! of a reference can be computed once and kept. The eigenvalues of MMᵀ are the fastest way to that
//! sum. Squaring M loses half of the digits of small singular values, though: where that may cost
//! more than [`TOLERANCE`] of the distance, M itself is decomposed.

use crate::{
    MathsError,
    features::{require_finite, require_width},
};
use tch::{Kind, Tensor};

/// Largest share of a distance that may be lost to rounding on the fast path.
const TOLERANCE: f64 = 1e-7;

/// Mean \[d\] and unbiased covariance \[d, d\] of a set of features, both float64.
#[derive(Debug)]
pub struct Gaussian {
    name: String,
    mu: Tensor,
    sigma: Tensor,
}

/// A Fréchet distance with its terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frechet {
    /// The (squared) distance ‖μ₁−μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂), at least 0.
    pub distance: f64,
    /// The squared distance of the means, ‖μ₁−μ₂‖².
    pub mean_term: f64,
    /// The traces tr Σ₁ and tr Σ₂.
    pub traces: [f64; 2],
    /// The trace of the root, tr √(Σ₁Σ₂).
    pub trace_root: f64,
}

impl Gaussian {
    /// From a mean \[d\] and a covariance \[d, d\] of any float type. `name` is what errors call
    /// the set.
    ///
    /// # Errors
    /// [`MathsError::Shape`] for shapes that do not fit, [`MathsError::NotFinite`], and
    /// [`MathsError::OutOfRange`] for a covariance that is not symmetric.
    pub fn new(name: impl Into<String>, mu: &Tensor, sigma: &Tensor) -> Result<Self, MathsError> {
        let name = name.into();
        let width = mu.size().first().copied().unwrap_or(0);
        if mu.dim() != 1 || width == 0 {
            return Err(MathsError::Shape {
                what: format!("mean of {name}"),
                found: mu.size(),
                expected: "[features]".to_owned(),
            });
        }
        if sigma.size() != [width, width] {
            let expected = format!("[{width}, {width}], the width of its mean");
            return Err(MathsError::Shape {
                what: format!("covariance of {name}"),
                found: sigma.size(),
                expected,
            });
        }
        let (mu, sigma) = (mu.to_kind(Kind::Double), sigma.to_kind(Kind::Double));
        require_finite(&format!("mean of {name}"), &mu.unsqueeze(1))?;
        require_finite(&format!("covariance of {name}"), &sigma)?;
        let (skew, size) = (
            (&sigma - sigma.tr()).abs().max().double_value(&[]),
            sigma.abs().max().double_value(&[]),
        );
        // Statistics stored in float32 are symmetric to about 1e-7 of the largest value; far more
        // than that is not a covariance.
        if skew > 1e-5 * size {
            let expected = format!("symmetric (largest value {size:.3e})");
            return Err(MathsError::OutOfRange {
                what: format!("covariance of {name}"),
                found: format!("asymmetric by {skew:.3e}"),
                expected,
            });
        }
        let sigma = (&sigma + sigma.tr()) * 0.5;
        Ok(Self { name, mu, sigma })
    }

    /// The name that errors use for the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of features, d.
    pub fn width(&self) -> i64 {
        self.mu.size()[0]
    }

    /// Mean of the features, f64 \[d\].
    pub fn mu(&self) -> &Tensor {
        &self.mu
    }

    /// Covariance, f64 \[d, d\], symmetric.
    pub fn sigma(&self) -> &Tensor {
        &self.sigma
    }

    /// A root R \[d, rank\] with R Rᵀ = Σ: the Cholesky factor, or scaled eigenvectors if Σ is
    /// singular, as it is for fewer rows than features. Eigenvalues below d ε λ_max are rounding
    /// errors and left out, negative ones with them.
    ///
    /// # Errors
    /// [`MathsError::Torch`] when the eigenvalues do not converge.
    pub fn root(&self) -> Result<Tensor, MathsError> {
        if let Some(factor) = self.cholesky() {
            return Ok(factor);
        }
        let what = || format!("eigenvalues of the covariance of {}", self.name);
        let (values, vectors) =
            self.sigma
                .f_linalg_eigh("L")
                .map_err(|source| MathsError::Torch {
                    what: what(),
                    source,
                })?;
        let kept = values
            .gt(values.max().double_value(&[]).max(0.0) * self.rounding())
            .nonzero()
            .view([-1]);
        Ok(vectors.index_select(1, &kept) * values.index_select(0, &kept).sqrt())
    }

    /// The Cholesky factor, or `None` if Σ is singular to rounding.
    fn cholesky(&self) -> Option<Tensor> {
        let (factor, code) = self.sigma.f_linalg_cholesky_ex(false, false).ok()?;
        if code.int64_value(&[]) != 0 {
            return None;
        }
        let pivots = factor.diag(0).square();
        let sound =
            pivots.min().double_value(&[]) > pivots.max().double_value(&[]) * self.rounding();
        sound.then_some(factor)
    }

    /// Relative size below which an eigenvalue cannot be distinguished from zero: d ε, the
    /// tolerance of NumPy's `matrix_rank`.
    fn rounding(&self) -> f64 {
        self.width() as f64 * f64::EPSILON
    }
}

/// Fréchet distance of two Gaussians.
///
/// # Errors
/// [`MathsError::Width`] for different widths, [`MathsError::Torch`] when a decomposition fails.
pub fn frechet(a: &Gaussian, b: &Gaussian) -> Result<Frechet, MathsError> {
    require_width(&b.name, b.width(), &a.name, a.width())?;
    frechet_to(&a.root()?, a, b)
}

/// Fréchet distance of `b` to a reference whose [`Gaussian::root`] was computed before.
///
/// # Errors
/// [`MathsError::Width`] for different widths, [`MathsError::Torch`] when a decomposition fails.
pub fn frechet_to(
    root: &Tensor,
    reference: &Gaussian,
    b: &Gaussian,
) -> Result<Frechet, MathsError> {
    require_width(&b.name, b.width(), &reference.name, reference.width())?;
    if root.dim() != 2 || root.size()[0] != reference.width() {
        let expected = format!("[{}, rank]", reference.width());
        return Err(MathsError::Shape {
            what: format!("root of the covariance of {}", reference.name),
            found: root.size(),
            expected,
        });
    }
    let product = root.to_kind(Kind::Double).tr().matmul(&b.root()?);
    if let Some((trace_root, slack)) = by_eigenvalues(&product) {
        let found = assemble(reference, b, trace_root);
        // The trace of the root enters the distance twice.
        if 2.0 * slack <= TOLERANCE * found.distance {
            return Ok(found);
        }
    }
    let trace_root = nuclear_norm(&product, &b.name)?;
    Ok(assemble(reference, b, trace_root))
}

/// Sum of the singular values of M, as roots of the eigenvalues of MMᵀ (or MᵀM, whichever is
/// smaller), and a bound of its rounding error. `None` if the decomposition fails.
///
/// Product and eigenvalues are backward stable: the error δ of each eigenvalue is a modest multiple
/// of ε‖M‖² √n with n the longer side, since rounding errors add up like a random walk (Higham &
/// Mary 2019, SIAM J. Sci. Comput. 41:A2815). The Frobenius norm, which is larger than the spectral
/// norm, covers the multiple. An eigenvalue λ with error δ has a root with an error below δ/√λ, and
/// below √δ.
fn by_eigenvalues(matrix: &Tensor) -> Option<(f64, f64)> {
    let (rows, columns) = matrix.size2().ok()?;
    if matrix.numel() == 0 {
        return None;
    }
    let square = if rows <= columns {
        matrix.matmul(&matrix.tr())
    } else {
        matrix.tr().matmul(matrix)
    };
    // Rounding may leave eigenvalues of a singular product slightly negative.
    let values = square.f_linalg_eigvalsh("L").ok()?.clamp_min(0.0);
    let roots = values.sqrt();
    let off = (rows.max(columns) as f64).sqrt() * f64::EPSILON * square.trace().double_value(&[]);
    let slack = (off / &roots).clamp_max(off.sqrt());
    let [sum, slack] = [roots, slack].map(|each| each.sum(Kind::Double).double_value(&[]));
    (sum.is_finite() && slack.is_finite()).then_some((sum, slack))
}

/// Sum of the singular values of M: by its polar decomposition if M is regular, which is faster,
/// else by its singular value decomposition.
fn nuclear_norm(matrix: &Tensor, name: &str) -> Result<f64, MathsError> {
    if matrix.numel() == 0 {
        return Ok(0.0); // one of the sets has no variance at all
    }
    if let Some(sum) = crate::polar::nuclear_norm(matrix) {
        return Ok(sum);
    }
    let what = || format!("singular values of the product of roots with {name}");
    // `linalg_svdvals` of tch always names a driver, which libtorch rejects on the CPU.
    let (_, values, _) = matrix
        .f_svd(true, false)
        .map_err(|source| MathsError::Torch {
            what: what(),
            source,
        })?;
    Ok(values.sum(Kind::Double).double_value(&[]))
}

/// The distance from the trace of the root.
fn assemble(a: &Gaussian, b: &Gaussian, trace_root: f64) -> Frechet {
    let mean_term = (&a.mu - &b.mu).square().sum(Kind::Double).double_value(&[]);
    let traces = [&a.sigma, &b.sigma].map(|sigma| sigma.trace().double_value(&[]));
    // A distance of 0 may come out slightly negative.
    let distance = (mean_term + traces[0] + traces[1] - 2.0 * trace_root).max(0.0);
    Frechet {
        distance,
        mean_term,
        traces,
        trace_root,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn orthogonal(side: i64, phase: f64) -> Tensor {
        let waves = ((Tensor::arange(side * side, (Kind::Double, Device::Cpu)) + phase) * 0.7391)
            .sin()
            .view([side, side]);
        Tensor::linalg_qr(
            &(waves + Tensor::eye(side, (Kind::Double, Device::Cpu))),
            "reduced",
        )
        .0
    }

    /// Values from 1 down over so many powers of ten.
    fn graded(side: i64, decades: f64) -> Tensor {
        (Tensor::arange(side, (Kind::Double, Device::Cpu)) / (side - 1) as f64
            * -decades
            * std::f64::consts::LN_10)
            .exp()
    }

    #[test]
    fn the_error_bound_of_the_fast_sum_holds() {
        let (u, v) = (orthogonal(60, 0.0), orthogonal(60, 0.4));
        for decades in [0.0, 4.0, 8.0, 12.0] {
            let values = graded(60, decades);
            let (sum, slack) = by_eigenvalues(&(&u * &values).matmul(&v)).unwrap();
            let off = (sum - values.sum(Kind::Double).double_value(&[])).abs();
            assert!(
                off <= slack && slack < 1e-5,
                "{decades} decades: error {off}, bound {slack}"
            );
        }
    }

    #[test]
    fn small_distances_of_nearly_singular_sets_stay_exact() {
        // Covariances that commute: tr √(Σ₁Σ₂) is the sum of √(a b), the distance Σ (√a − √b)².
        let (basis, values) = (orthogonal(60, 0.0), graded(60, 13.0));
        let set = |name: &str, scale: f64| {
            let spread = &values * &values.pow_tensor_scalar(scale);
            let sigma = (&basis * spread).matmul(&basis.tr());
            Gaussian::new(
                name,
                &Tensor::zeros([60], (Kind::Double, Device::Cpu)),
                &((&sigma + sigma.tr()) * 0.5),
            )
            .unwrap()
        };
        let (a, b) = (set("a", 0.0), set("b", 1e-3));
        let (first, second) = (values.sqrt(), values.pow_tensor_scalar(0.5005));
        let expected = (first - second)
            .square()
            .sum(Kind::Double)
            .double_value(&[]);
        // Any root will do; one that is turned leaves no grading for the eigenvalues to profit
        // from.
        let root = a.root().unwrap().matmul(&orthogonal(60, 0.9));
        let found = frechet_to(&root, &a, &b).unwrap().distance;
        let product = root.tr().matmul(&b.root().unwrap());
        let fast = assemble(&a, &b, by_eigenvalues(&product).unwrap().0).distance;
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        assert!(
            (fast / expected - 1.0).abs() > 1e-6,
            "eigenvalues alone are not enough here: {fast} {expected}"
        );
    }
}
