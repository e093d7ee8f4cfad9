//! What an image starts from, by its seed alone: latents first, then the label, then churn noise
//! (spec §9).

use tch::{Device, Kind, Tensor};

/// Where labels come from, with the numbers that needs.
#[derive(Debug)]
pub enum LabelSupply {
    /// Unconditional.
    None,
    /// p(c) in proportion to these counts.
    Prior(Vec<i64>),
    /// Every one of so many labels equally often.
    Uniform(i64),
    /// Always this one.
    Fixed(i64),
    /// A row of these vectors \[n, d\], each equally often.
    Rows(Tensor),
}

/// The start of one image.
#[derive(Debug)]
pub struct Drawn {
    /// Unit latents \[c, r, r\] f32.
    pub latents: Tensor,
    /// Label, or row of the vectors; −1 when unconditional.
    pub label: i64,
    /// Unit churn noise \[steps, c, r, r\], if any is needed.
    pub churn: Option<Tensor>,
}

/// Draws on the CPU, so that a seed means the same on every device. Latents come first: equal seeds
/// give equal noise whatever the labels are.
pub fn draw(seed: u64, shape: [i64; 3], labels: &LabelSupply, churn_steps: Option<i64>) -> Drawn {
    tch::manual_seed((seed % (1 << 32)) as i64);
    let options = (Kind::Float, Device::Cpu);
    let latents = Tensor::randn(shape, options);
    let uniform = |n: i64| Tensor::randint(n, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
    let label = match labels {
        LabelSupply::None => -1,
        LabelSupply::Prior(counts) => Tensor::from_slice(counts)
            .to_kind(Kind::Float)
            .multinomial(1, true)
            .int64_value(&[0]),
        LabelSupply::Uniform(n) => uniform(*n),
        LabelSupply::Fixed(label) => *label,
        LabelSupply::Rows(rows) => uniform(rows.size()[0]),
    };
    let churn = churn_steps.map(|steps| {
        Tensor::stack(
            &(0..steps)
                .map(|_| Tensor::randn(shape, options))
                .collect::<Vec<_>>(),
            0,
        )
    });
    Drawn {
        latents,
        label,
        churn,
    }
}
