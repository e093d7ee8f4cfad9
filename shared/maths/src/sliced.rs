//! Sliced Wasserstein distance, approximated without projections: random projections of
//! high-dimensional features are nearly Gaussian (Nadjahi et al. 2021; spec §10.5).

use crate::{Features, Gaussian, MathsError, features::require_width};
use tch::Kind;

/// The approximated 2-Wasserstein distance of two sets of features, computed in their type:
/// √( ‖m_X − m_Y‖²/d + (√(mean ‖X − m_X‖²/d) − √(mean ‖Y − m_Y‖²/d))² ).
///
/// # Errors
/// [`MathsError::Width`] for sets of different width.
pub fn sliced_wasserstein(x: &Features, y: &Features) -> Result<f64, MathsError> {
    y.require_width_of(x)?;
    let centred = |set: &Features| {
        let mean = set.rows().mean_dim([0i64].as_slice(), false, set.kind());
        let squares =
            (set.rows() - &mean)
                .square()
                .sum_dim_intlist([1i64].as_slice(), false, set.kind());
        (mean, squares.mean(set.kind()).double_value(&[]))
    };
    let ((mean_x, spread_x), (mean_y, spread_y)) = (centred(x), centred(y));
    let gap = (mean_x - mean_y).square().sum(x.kind()).double_value(&[]);
    Ok(distance(gap, spread_x, spread_y, x.width()))
}

/// The same distance from means, unbiased covariances and numbers of rows, in float64; it needs no
/// single features.
///
/// # Errors
/// [`MathsError::Width`] for sets of different width.
pub fn sliced_wasserstein_of_gaussians(
    x: (&Gaussian, i64),
    y: (&Gaussian, i64),
) -> Result<f64, MathsError> {
    require_width(y.0.name(), y.0.width(), x.0.name(), x.0.width())?;
    // mean ‖X − m_X‖² = tr Σ (n − 1) / n, as Σ is unbiased and the mean is over n rows.
    let spread = |(set, count): (&Gaussian, i64)| {
        set.sigma().trace().double_value(&[]) * (count - 1) as f64 / count as f64
    };
    let gap = (x.0.mu() - y.0.mu())
        .square()
        .sum(Kind::Double)
        .double_value(&[]);
    Ok(distance(gap, spread(x), spread(y), x.0.width()))
}

fn distance(gap: f64, spread_x: f64, spread_y: f64, width: i64) -> f64 {
    let width = width as f64;
    (gap / width + ((spread_x / width).sqrt() - (spread_y / width).sqrt()).powi(2)).sqrt()
}
