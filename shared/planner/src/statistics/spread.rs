//! The spread of scores: between trainings of one network, and between the sample sets of one
//! training.

/// An estimated standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The standard deviation.
    pub(crate) deviation: f64,
    /// Its degrees of freedom; at least one.
    pub(crate) degrees: u32,
}

/// The spread at both levels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Components {
    /// Of the means of trainings of one network, each over its sets: what the uncertainty of a
    /// network's mean comes from. Absent where no network was trained twice.
    pub(crate) of_means: Option<Spread>,
    /// The part of it that comes from training; absent as above, and where a training has one set
    /// only.
    pub(crate) training: Option<f64>,
    /// Of the sets of one training; absent where every training has one set only.
    pub(crate) sampling: Option<Spread>,
}

/// Analysis of variance, sets within trainings within networks: `scores[network][training][set]`.
/// Every training has at least one set.
pub(crate) fn components(scores: &[Vec<Vec<f64>>]) -> Components {
    let trainings: Vec<&Vec<f64>> = scores.iter().flatten().collect();
    let sampling = pooled(trainings.iter().map(|sets| sets.as_slice()));
    let means: Vec<Vec<f64>> = scores
        .iter()
        .map(|network| network.iter().map(|sets| mean(sets)).collect())
        .collect();
    let of_means = pooled(means.iter().map(Vec::as_slice));
    let training = of_means.zip(sampling).map(|(of_means, sampling)| {
        // The mean of a training over its sets keeps this much of the spread of sampling.
        let kept = trainings.iter().map(|sets| 1.0 / sets.len() as f64);
        let share = kept.sum::<f64>() / trainings.len() as f64;
        let rest = of_means.deviation.powi(2) - share * sampling.deviation.powi(2);
        rest.max(0.0).sqrt()
    });
    Components {
        of_means,
        training,
        sampling,
    }
}

/// The standard deviation within groups, all groups having the same one.
fn pooled<'a>(groups: impl Iterator<Item = &'a [f64]>) -> Option<Spread> {
    let (mut squares, mut degrees) = (0.0, 0);
    for group in groups.filter(|group| group.len() > 1) {
        let mean = mean(group);
        squares += group
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        degrees += group.len() - 1;
    }
    (degrees > 0).then(|| Spread {
        deviation: (squares / degrees as f64).sqrt(),
        degrees: u32::try_from(degrees).unwrap_or(u32::MAX),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
