//! Integrals over the normal distribution and over that of an estimated spread, and the solution of
//! an equation.

/// Distance of the points at which integrands over the normal distribution are evaluated: the rule
/// of equal weights converges exponentially for smooth integrands.
const STEP: f64 = 0.2;
/// Beyond this many standard deviations nothing counts in double precision.
const REACH: f64 = 8.4;

/// The normal distribution function.
pub(super) fn cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// Mean of `f` over the standard normal distribution.
pub(super) fn over_normal(f: impl Fn(f64) -> f64) -> f64 {
    let points = (REACH / STEP) as i32;
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (-points..=points)
        .map(|point| {
            let z = f64::from(point) * STEP;
            STEP * density(z) * f(z)
        })
        .sum()
}

/// The distribution of an estimated standard deviation over the true one: the root of chi-squared
/// over its degrees of freedom.
pub(super) struct Chi {
    /// Values with their weights, which sum to 1.
    points: Vec<(f64, f64)>,
}

impl Chi {
    /// With so many degrees of freedom; at least one.
    pub(super) fn new(degrees: u32) -> Self {
        let degrees = f64::from(degrees.max(1));
        // In t = ln q the density is degrees·t − degrees·e^{2t}/2 up to a constant: both tails
        // fall exponentially, so that equal weights converge as above.
        let log_density = |t: f64| degrees * (t - 0.5 * (2.0 * t).exp() + 0.5);
        let step = 0.25 / (2.0 * degrees).sqrt();
        let mut points = Vec::new();
        for direction in [-1.0, 1.0] {
            for number in 0.. {
                if number == 0 && direction > 0.0 {
                    continue;
                }
                let t = direction * step * f64::from(number);
                let log_weight = log_density(t);
                if log_weight < -40.0 {
                    break;
                }
                points.push((t.exp(), log_weight.exp()));
            }
        }
        let sum: f64 = points.iter().map(|(_, weight)| weight).sum();
        points.iter_mut().for_each(|(_, weight)| *weight /= sum);
        Self { points }
    }

    /// Mean of `f` over the distribution.
    pub(super) fn mean(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.points.iter().map(|(q, weight)| weight * f(*q)).sum()
    }
}

/// The x at which a distribution function of a positive quantity reaches `level`, to ten digits.
pub(super) fn solve(f: impl Fn(f64) -> f64, level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 4.0);
    let (mut below, mut above) = (f(low) - level, f(high) - level);
    if below >= 0.0 {
        return low;
    }
    while above < 0.0 {
        (low, below) = (high, above);
        high *= 2.0;
        above = f(high) - level;
    }
    // Regula falsi, halving the value of an end that stays twice ("Illinois").
    let mut last = 0;
    for _ in 0..200 {
        let x = (low * above - high * below) / (above - below);
        let at = f(x) - level;
        if at.abs() < 1e-13 || high - low < 1e-11 * high {
            return x;
        }
        if at < 0.0 {
            (low, below) = (x, at);
            if last < 0 {
                above /= 2.0;
            }
            last = -1;
        } else {
            (high, above) = (x, at);
            if last > 0 {
                below /= 2.0;
            }
            last = 1;
        }
    }
    0.5 * (low + high)
}
