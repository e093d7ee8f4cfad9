//! Images by seed, in batches whose cut no one can see.
//!
//! Kernels may round differently for another batch size or another place in the batch. So the seeds
//! are cut into fixed blocks, aligned at multiples of the block size, and a block is always
//! computed whole: an image then depends on its seed and the weights, whatever range was asked for.
//! Ranges aligned to [`block_size`] waste nothing.

use super::{Guide, LabelSupply, draw, guidance, quantise, seeds::Drawn, solve};
use crate::{
    DiffusionError, Mode, Network, Parameters, Views, error::guard_memory, network::one_hot,
};
use cedm_contract::{Precision, kinds::sample::SamplerParams};
use tch::{Device, Kind, Tensor};

/// Images computed together.
pub fn block_size(resolution: i64, device: Device) -> u64 {
    let pixels = (resolution * resolution) as u64;
    match device {
        Device::Cpu => (4096 / pixels).clamp(4, 64).next_power_of_two(),
        // One block of 512 CIFAR images fills a large GPU.
        _ => (524_288 / pixels).clamp(16, 1024).next_power_of_two(),
    }
}

/// Finished images.
#[derive(Debug)]
pub struct Samples {
    /// u8 \[n, c, r, r\].
    pub images: Tensor,
    /// i64 \[n\], −1 when unconditional.
    pub labels: Tensor,
    /// i64 \[n\].
    pub seeds: Tensor,
}

/// A network ready to sample.
#[derive(Debug)]
pub struct Sampler {
    network: Network,
    views: Views,
    guide: Guide,
    params: SamplerParams,
    labels: LabelSupply,
    device: Device,
    block: u64,
}

impl Sampler {
    /// Checks the settings and moves the weights to the device.
    ///
    /// # Errors
    /// Settings out of range, or labels that do not fit the network.
    pub fn new(
        network: Network,
        weights: &Parameters,
        params: SamplerParams,
        labels: LabelSupply,
        device: Device,
    ) -> Result<Self, DiffusionError> {
        super::check(&params)?;
        let slots = network.architecture.label_dim;
        let refuse = |what: &str, found: String| {
            Err(DiffusionError::Labels {
                what: what.into(),
                found,
                expected: format!("{slots} label slots, as the network has"),
            })
        };
        match &labels {
            LabelSupply::None => {}
            LabelSupply::Prior(counts) if counts.len() as i64 != slots => {
                return refuse("prior", format!("{} label slots", counts.len()));
            }
            LabelSupply::Uniform(n) if *n != slots || slots == 0 => {
                return refuse("uniform labels", format!("{n} label slots"));
            }
            LabelSupply::Fixed(label) if !(0..slots).contains(label) => {
                return refuse("fixed label", format!("label {label}"));
            }
            LabelSupply::Rows(rows) if rows.size()[1] != slots => {
                return refuse("label vectors", format!("width {}", rows.size()[1]));
            }
            _ => {}
        }
        let views = tch::no_grad(|| {
            weights
                .to(Kind::Float, device)
                .views(&network.layout, activations(params.precision))
        });
        Ok(Self {
            block: block_size(network.architecture.resolution, device),
            network,
            views,
            guide: Guide::Unlabelled,
            params,
            labels,
            device,
        })
    }

    /// In blocks of another size, where memory is short. Images change by rounding, so one size
    /// belongs to one set.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for blocks of nothing.
    pub fn in_blocks_of(mut self, images: u64) -> Result<Self, DiffusionError> {
        if images == 0 {
            return Err(DiffusionError::Setting {
                field: "block",
                found: "0".into(),
                expected: "at least 1".into(),
            });
        }
        self.block = images;
        Ok(self)
    }

    /// Images computed together.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// Guides by a weaker network (autoguidance) instead of by the missing label.
    ///
    /// # Errors
    /// [`DiffusionError::Shape`] when the guide makes other images.
    pub fn guided_by(
        mut self,
        network: Network,
        weights: &Parameters,
    ) -> Result<Self, DiffusionError> {
        let shape = |network: &Network| {
            (
                network.architecture.channels,
                network.architecture.resolution,
                network.architecture.resolution,
            )
        };
        let fits = network.architecture.label_dim == 0
            || network.architecture.label_dim == self.network.architecture.label_dim;
        if shape(&network) != shape(&self.network) || !fits {
            return Err(DiffusionError::Shape {
                what: "guide".into(),
                found: format!(
                    "{:?} with {} labels",
                    shape(&network),
                    network.architecture.label_dim
                ),
                expected: format!(
                    "{:?} with {} labels or none",
                    shape(&self.network),
                    self.network.architecture.label_dim
                ),
            });
        }
        let views = tch::no_grad(|| {
            weights
                .to(Kind::Float, self.device)
                .views(&network.layout, activations(self.params.precision))
        });
        self.guide = Guide::Weaker(Box::new(network), views);
        Ok(self)
    }

    /// Channels and side of the images.
    pub fn shape(&self) -> (i64, i64) {
        (
            self.network.architecture.channels,
            self.network.architecture.resolution,
        )
    }

    /// Images of seeds `first..first + count`. `progress` hears the number finished and may stop it
    /// by returning false.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfMemory`]; `Ok(None)` when stopped.
    pub fn images(
        &self,
        first: u64,
        count: u64,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Samples>, DiffusionError> {
        let block = self.block;
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        let mut start = first - first % block;
        while start < first + count {
            let drawn: Vec<Drawn> = (start..start + block).map(|seed| self.draw(seed)).collect();
            let pixels = self.guarded(&drawn)?;
            let (from, to) = (first.max(start), (first + count).min(start + block));
            images.push(pixels.narrow(0, (from - start) as i64, (to - from) as i64));
            labels.extend(
                drawn[(from - start) as usize..(to - start) as usize]
                    .iter()
                    .map(|drawn| drawn.label),
            );
            start += block;
            if !progress(to - first) {
                return Ok(None);
            }
        }
        let (channels, side) = self.shape();
        let images = match images.is_empty() {
            true => Tensor::zeros([0, channels, side, side], (Kind::Uint8, Device::Cpu)),
            false => Tensor::cat(&images, 0),
        };
        let seeds: Vec<i64> = (first..first + count).map(|seed| seed as i64).collect();
        Ok(Some(Samples {
            images,
            labels: Tensor::from_slice(&labels),
            seeds: Tensor::from_slice(&seeds),
        }))
    }

    fn draw(&self, seed: u64) -> Drawn {
        let (channels, side) = self.shape();
        let churn = (self.params.s_churn > 0.0).then_some(i64::from(self.params.steps));
        draw(seed, [channels, side, side], &self.labels, churn)
    }

    fn guarded(&self, drawn: &[Drawn]) -> Result<Tensor, DiffusionError> {
        let at = format!(
            "sampling {} images at {} pixels",
            drawn.len(),
            self.network.architecture.resolution
        );
        let advice = match self.block / 2 {
            0 => "fewer processes beside this one: the block is 1 image already".to_owned(),
            smaller => format!(
                "blocks of {smaller} images instead of {} (`sampler run --block {smaller}`), or \
                 fewer processes beside this one",
                self.block
            ),
        };
        guard_memory(at, advice, || tch::no_grad(|| self.solved(drawn)))
    }

    fn solved(&self, drawn: &[Drawn]) -> Tensor {
        let latents = Tensor::stack(
            &drawn.iter().map(|drawn| &drawn.latents).collect::<Vec<_>>(),
            0,
        )
        .to_device(self.device);
        let ids: Vec<i64> = drawn.iter().map(|drawn| drawn.label).collect();
        let slots = self.network.architecture.label_dim;
        let labels = match &self.labels {
            LabelSupply::None => None,
            LabelSupply::Rows(rows) => Some(
                rows.index_select(0, &Tensor::from_slice(&ids))
                    .to_device(self.device),
            ),
            _ => Some(one_hot(
                &Tensor::from_slice(&ids),
                slots,
                Kind::Float,
                self.device,
            )),
        };
        let mode = Mode {
            train: false,
            activations: activations(self.params.precision),
            channels_last: self.device.is_cuda(),
        };
        let mut denoise = |x: &Tensor, sigma: f64| {
            let own = (&self.network, &self.views);
            guidance::denoise(
                own,
                &self.guide,
                &self.params.guidance,
                labels.as_ref(),
                mode,
                Kind::Float,
                (x, sigma),
            )
        };
        let mut noise = |step: usize| {
            let of = |drawn: &Drawn| {
                drawn
                    .churn
                    .as_ref()
                    .expect("invariant: drawn where churn is on")
                    .get(step as i64)
            };
            Tensor::stack(&drawn.iter().map(of).collect::<Vec<_>>(), 0).to_device(self.device)
        };
        quantise(&solve(
            &self.params,
            &latents,
            &mut denoise,
            &mut noise,
            &mut |_| (),
        ))
        .to_device(Device::Cpu)
    }
}

fn activations(precision: Precision) -> Option<Kind> {
    match precision {
        Precision::Fp32 | Precision::Tf32 => None,
        Precision::Bf16 => Some(Kind::BFloat16),
        Precision::Fp16 => Some(Kind::Half),
    }
}
