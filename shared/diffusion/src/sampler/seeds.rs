//! The random draws of one image, a function of its seed alone: latents first, then the label, then
//! churn noise (spec §9).

use tch::{Device, Kind, Tensor};

/// The distribution that labels are drawn from.
#[derive(Debug)]
pub enum LabelDistribution {
    /// No labels: the network is unconditional.
    None,
    /// The empirical prior p(c), in proportion to these counts.
    Prior(Vec<i64>),
    /// Uniform over this number of labels.
    Uniform(i64),
    /// The same label for every image.
    Fixed(i64),
    /// A row of these vectors \[n, d\], all with equal probability (oracle features).
    Rows(Tensor),
}

/// The random draws that one image starts from.
#[derive(Debug)]
pub struct SampleStart {
    /// Unit latents \[c, r, r\] f32.
    pub latents: Tensor,
    /// Label, or row of the vectors; −1 when unconditional.
    pub label: i64,
    /// Unit churn noise \[steps, c, r, r\], if any is needed.
    pub churn: Option<Tensor>,
}

/// Draws the start of the image of `seed` in the shape \[c, r, r\], with churn noise for
/// `churn_steps` steps if given.
///
/// It draws on the CPU, so that a seed means the same on every device. Latents come first: equal
/// seeds give equal latents whatever the labels are.
pub fn draw_start(
    seed: u64,
    shape: [i64; 3],
    labels: &LabelDistribution,
    churn_steps: Option<i64>,
) -> SampleStart {
    // Modulo 2³² as upstream, where a seed beyond it repeats an image.
    tch::manual_seed((seed % (1 << 32)) as i64);
    let options = (Kind::Float, Device::Cpu);
    let latents = Tensor::randn(shape, options);
    let uniform = |n: i64| Tensor::randint(n, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
    let label = match labels {
        LabelDistribution::None => -1,
        // float32, as upstream's multinomial has it: float64 could draw another label.
        LabelDistribution::Prior(counts) => Tensor::from_slice(counts)
            .to_kind(Kind::Float)
            .multinomial(1, true)
            .int64_value(&[0]),
        LabelDistribution::Uniform(n) => uniform(*n),
        LabelDistribution::Fixed(label) => *label,
        LabelDistribution::Rows(rows) => uniform(rows.size()[0]),
    };
    let churn = churn_steps.map(|steps| {
        Tensor::stack(
            &(0..steps)
                .map(|_| Tensor::randn(shape, options))
                .collect::<Vec<_>>(),
            0,
        )
    });
    SampleStart {
        latents,
        label,
        churn,
    }
}
