//! Fréchet distance between Gaussians (spec §10.1).
//!
//! tr √(Σ₁Σ₂) is the sum of the singular values of M = R₁ᵀR₂ for any R with R Rᵀ = Σ, so that one
//! of the factors can be computed once and kept. The eigenvalues of MMᵀ give it fastest; where the
//! squaring may cost more than [`TOLERANCE`] (small eigenvalues of nearly singular covariances grow
//! from rounding level to its square root) M itself is decomposed.

use crate::{
    MathsError,
    features::{require_finite, require_width},
};
use tch::{Kind, Tensor};

/// Largest share of a distance that may be lost to rounding on the fast path.
const TOLERANCE: f64 = 1e-7;

/// Mean \[d\] and unbiased covariance \[d, d\] of a set of features, float64.
#[derive(Debug)]
pub struct Gaussian {
    name: String,
    mu: Tensor,
    sigma: Tensor,
}

/// The parts of a Fréchet distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frechet {
    /// ‖μ₁−μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂), at least 0.
    pub distance: f64,
    /// ‖μ₁−μ₂‖².
    pub mean_term: f64,
    /// tr Σ₁ and tr Σ₂.
    pub traces: [f64; 2],
    /// tr √(Σ₁Σ₂).
    pub trace_root: f64,
}

impl Gaussian {
    /// From mean \[d\] and covariance \[d, d\].
    ///
    /// # Errors
    /// When the shapes do not fit, a value is not finite, or the covariance is not symmetric.
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
            let expected = format!("[{width}, {width}] as its mean demands");
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
        // float32 statistics are symmetric to 1e-7 at worst; anything far beyond is no covariance.
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

    /// What errors call the set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// d.
    pub fn width(&self) -> i64 {
        self.mu.size()[0]
    }

    /// Mean \[d\].
    pub fn mu(&self) -> &Tensor {
        &self.mu
    }

    /// Covariance \[d, d\].
    pub fn sigma(&self) -> &Tensor {
        &self.sigma
    }

    /// R \[d, rank\] with R Rᵀ = Σ: the Cholesky factor, or scaled eigenvectors where Σ is
    /// singular. Eigenvalues below d ε λ_max are rounding and left out, negative ones with them.
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

    /// The Cholesky factor, unless Σ is singular to rounding.
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

    /// Relative size below which an eigenvalue cannot be told from zero: d ε, as matrix ranks are
    /// commonly found.
    fn rounding(&self) -> f64 {
        self.width() as f64 * f64::EPSILON
    }
}

/// Fréchet distance of `a` and `b`.
///
/// # Errors
/// [`MathsError::Width`] for different widths, [`MathsError::Torch`] when a decomposition fails.
pub fn frechet(a: &Gaussian, b: &Gaussian) -> Result<Frechet, MathsError> {
    require_width(&b.name, b.width(), &a.name, a.width())?;
    frechet_to(&a.root()?, a, b)
}

/// Fréchet distance of `b` to a reference whose [`Gaussian::root`] is at hand.
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
        if 2.0 * slack <= TOLERANCE * found.distance {
            return Ok(found);
        }
    }
    let trace_root = nuclear_norm(&product, &b.name)?;
    Ok(assemble(reference, b, trace_root))
}

/// Sum of the singular values of M as roots of the eigenvalues of MMᵀ (or MᵀM, the smaller), and
/// how far rounding may have moved it.
///
/// Product and eigenvalues are backward stable: each eigenvalue is off by at most a modest multiple
/// of ε‖M‖² times, as rounding errors add up like a random walk (Higham & Mary 2019, SIAM J. Sci.
/// Comput. 41:A2815), the root of the longer side; the Frobenius norm stands for both. The root of
/// an eigenvalue λ off by δ is off by less than δ/√λ, and less than √δ.
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
    let values = square.f_linalg_eigvalsh("L").ok()?.clamp_min(0.0);
    let roots = values.sqrt();
    let off = (rows.max(columns) as f64).sqrt() * f64::EPSILON * square.trace().double_value(&[]);
    let slack = (off / &roots).clamp_max(off.sqrt());
    let [sum, slack] = [roots, slack].map(|each| each.sum(Kind::Double).double_value(&[]));
    (sum.is_finite() && slack.is_finite()).then_some((sum, slack))
}

/// Sum of singular values: by the polar factor where there is one, which needs no more than
/// products and inverses.
fn nuclear_norm(matrix: &Tensor, name: &str) -> Result<f64, MathsError> {
    if matrix.numel() == 0 {
        return Ok(0.0); // one of the sets has no variance at all
    }
    if let Some(sum) = crate::polar::nuclear_norm(matrix) {
        return Ok(sum);
    }
    let what = || format!("singular values of the product of roots with {name}");
    // `linalg_svdvals` of tch always names a driver, which libtorch refuses on the CPU.
    let (_, values, _) = matrix
        .f_svd(true, false)
        .map_err(|source| MathsError::Torch {
            what: what(),
            source,
        })?;
    Ok(values.sum(Kind::Double).double_value(&[]))
}

fn assemble(a: &Gaussian, b: &Gaussian, trace_root: f64) -> Frechet {
    let mean_term = (&a.mu - &b.mu).square().sum(Kind::Double).double_value(&[]);
    let traces = [&a.sigma, &b.sigma].map(|sigma| sigma.trace().double_value(&[]));
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
    fn the_fast_sum_says_how_far_it_may_be_off() {
        let (u, v) = (orthogonal(60, 0.0), orthogonal(60, 0.4));
        for decades in [0.0, 4.0, 8.0, 12.0] {
            let values = graded(60, decades);
            let (sum, slack) = by_eigenvalues(&(&u * &values).matmul(&v)).unwrap();
            let off = (sum - values.sum(Kind::Double).double_value(&[])).abs();
            assert!(
                off <= slack && slack < 1e-5,
                "{decades} decades: off by {off}, said {slack}"
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
