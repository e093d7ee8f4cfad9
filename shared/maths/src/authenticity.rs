//! Authenticity: which generated rows are no copies (spec §10.5).

use crate::{Features, MathsError, Nearest, nearest, radii};

/// Which generated rows are authentic.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticity {
    /// Percentage of authentic rows.
    pub percent: f64,
    /// The nearest real row of each generated one.
    pub nearest: Vec<Nearest>,
    /// Whether it is farther from that row than that row is from its own nearest other real row.
    pub authentic: Vec<bool>,
}

/// Authenticity of `fake` against the training set `real`.
///
/// # Errors
/// [`MathsError::TooFew`] for a training set of one row, [`MathsError::Width`] for sets of
/// different width.
pub fn authenticity(real: &Features, fake: &Features) -> Result<Authenticity, MathsError> {
    let nearest = nearest(fake, real)?;
    let own = radii(real, 1)?;
    let authentic: Vec<bool> = nearest
        .iter()
        .map(|near| own[near.index as usize] < near.distance)
        .collect();
    let percent =
        100.0 * authentic.iter().filter(|&&flag| flag).count() as f64 / authentic.len() as f64;
    Ok(Authenticity {
        percent,
        nearest,
        authentic,
    })
}
