//! Authenticity: the share of generated rows that are not copies of training rows (Alaa et al.
//! 2022; spec §10.5).

use crate::{Features, MathsError, Nearest, nearest, radii};

/// Authenticity of every generated row, with the distances it follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticity {
    /// Percentage of authentic rows.
    pub percent: f64,
    /// The nearest real row of each generated one.
    pub nearest: Vec<Nearest>,
    /// Whether each generated row is farther from its nearest real row than that row is from its
    /// own nearest other real row.
    pub authentic: Vec<bool>,
}

/// Authenticity of the generated set `fake` against the training set `real`, both in one feature
/// space; distances are Euclidean.
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
