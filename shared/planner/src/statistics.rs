//! Which of several means may be the least, how likely each is, and how far apart two are, from a
//! few trainings each.
//!
//! Everything rests on one model: the score of a training is normal around the mean of its network,
//! with one spread for all networks, which is estimated from trainings of the same network. Then
//! the distributions are Dunnett's and Tukey's, for unequal numbers of trainings too.

mod normal;
mod ranges;
mod spread;

pub(crate) use spread::{Spread, components};

use normal::{Chi, cdf, over_normal};

/// The confidence of every interval and of every set.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// The mean of a few trainings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mean {
    /// The mean, less being better.
    pub(crate) value: f64,
    /// Trainings behind it; at least one.
    pub(crate) trainings: u32,
}

impl Mean {
    fn count(&self) -> f64 {
        f64::from(self.trainings)
    }
}

/// What can be said of one mean among others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Standing {
    /// How far it may be behind the best of the others: from, to; negative is ahead.
    pub(crate) behind: (f64, f64),
    /// Whether it may be the least of all.
    pub(crate) may_be_best: bool,
    /// Probability that it is the least of all, before the data every value being as likely.
    pub(crate) probability: f64,
}

/// Multiple comparisons with the best (Hsu 1984, Annals of Statistics 12:1136; for unequal numbers
/// Hsu 1996, *Multiple Comparisons*, section 4.2): with [`CONFIDENCE`], all intervals hold at once
/// and the set of those that may be best holds the best.
pub(crate) fn standings(means: &[Mean], spread: Spread) -> Vec<Standing> {
    let chi = Chi::new(spread.degrees);
    let critical: Vec<f64> = (0..means.len())
        .map(|at| critical_against(means, at, &chi))
        .collect();
    let error = |i: usize, j: usize| {
        spread.deviation * (1.0 / means[i].count() + 1.0 / means[j].count()).sqrt()
    };
    let others = |i: usize| (0..means.len()).filter(move |j| *j != i);
    let may_be_best =
        |i: usize| others(i).all(|j| means[i].value - means[j].value < critical[i] * error(i, j));
    let best: Vec<usize> = (0..means.len()).filter(|i| may_be_best(*i)).collect();
    (0..means.len())
        .map(|i| {
            let ahead = others(i)
                .map(|j| means[j].value - means[i].value + critical[i] * error(i, j))
                .fold(f64::INFINITY, f64::min)
                .max(0.0);
            let rivals = best.iter().filter(|j| **j != i);
            let behind = rivals
                .map(|j| means[i].value - means[*j].value + critical[*j] * error(i, *j))
                .fold(0.0, f64::max);
            Standing {
                behind: (-ahead, behind),
                may_be_best: best.contains(&i),
                probability: probability_of_least(means, i, spread, &chi),
            }
        })
        .collect()
}

/// Half the width of the interval for the difference of two of `count` means: all such intervals
/// hold at once (Tukey and Kramer).
pub(crate) fn half_width(count: usize, spread: Spread, (a, b): (Mean, Mean)) -> f64 {
    let chi = Chi::new(spread.degrees);
    let critical = ranges::quantile(CONFIDENCE, count, &chi) / 2f64.sqrt();
    critical * spread.deviation * (1.0 / a.count() + 1.0 / b.count()).sqrt()
}

/// Dunnett's one-sided quantile with the mean `at` as the control (Dunnett 1955, Journal of the
/// American Statistical Association 50:1096).
fn critical_against(means: &[Mean], at: usize, chi: &Chi) -> f64 {
    if means.len() < 2 {
        return 0.0;
    }
    // Equal numbers share a factor: one power instead of many factors.
    let mut ratios: Vec<(f64, i32)> = Vec::new();
    for (_, mean) in means.iter().enumerate().filter(|(j, _)| *j != at) {
        let ratio = mean.count() / means[at].count();
        match ratios.iter_mut().find(|(known, _)| *known == ratio) {
            Some((_, times)) => *times += 1,
            None => ratios.push((ratio, 1)),
        }
    }
    let probability = |critical: f64| {
        chi.mean(|q| {
            over_normal(|z| {
                let factor = |(ratio, times): &(f64, i32)| {
                    cdf(critical * q * (1.0 + ratio).sqrt() + z * ratio.sqrt()).powi(*times)
                };
                ratios.iter().map(factor).product()
            })
        })
    };
    normal::solve(probability, CONFIDENCE)
}

/// Probability that the mean `at` is the least, all means and the logarithm of the spread being
/// uniform before the data.
fn probability_of_least(means: &[Mean], at: usize, spread: Spread, chi: &Chi) -> f64 {
    let own = means[at];
    if spread.deviation == 0.0 {
        let least = means
            .iter()
            .map(|mean| mean.value)
            .fold(f64::INFINITY, f64::min);
        let ties = means.iter().filter(|mean| mean.value == least).count();
        return if own.value == least {
            1.0 / ties as f64
        } else {
            0.0
        };
    }
    chi.mean(|q| {
        let sigma = spread.deviation / q;
        over_normal(|z| {
            let value = own.value + z * sigma / own.count().sqrt();
            let others = means.iter().enumerate().filter(|(j, _)| *j != at);
            others
                .map(|(_, other)| cdf((other.value - value) * other.count().sqrt() / sigma))
                .product()
        })
    })
}

#[cfg(test)]
mod tests;
