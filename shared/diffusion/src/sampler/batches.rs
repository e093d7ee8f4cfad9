//! [`Sampler`]: images by seed, where an image does not depend on the range it was requested in.
//!
//! Kernels may round differently for another batch size or another position in the batch. So seeds
//! are cut into fixed blocks, aligned at multiples of the block size, and a block is always
//! computed whole: an image then depends on its seed, the weights and the block size alone. Ranges
//! aligned to [`block_size`] waste nothing.

use super::{Guide, LabelDistribution, SampleStart, draw_start, guidance, quantise, solve};
use crate::{
    DiffusionError, Mode, Network, Parameters, Views, error::guard_memory, network::one_hot,
};
use cedm_contract::{Precision, kinds::sample::SamplerParams};
use tch::{Device, Kind, Tensor};

/// Default number of images that are computed together on this device, a power of two.
pub fn block_size(resolution: i64, device: Device) -> u64 {
    let pixels = (resolution * resolution) as u64;
    match device {
        // About 4,096 pixels: 4 images of 32×32, 64 of 8×8.
        Device::Cpu => (4096 / pixels).clamp(4, 64).next_power_of_two(),
        // One block of 512 CIFAR images fills a large GPU.
        _ => (524_288 / pixels).clamp(16, 1024).next_power_of_two(),
    }
}

/// Finished images with their labels and seeds, on the CPU.
#[derive(Debug)]
pub struct Samples {
    /// u8 \[n, c, r, r\].
    pub images: Tensor,
    /// Label of each image (or row of the condition's vectors), i64 \[n\]; −1 when unconditional.
    pub labels: Tensor,
    /// Seed of each image, i64 \[n\].
    pub seeds: Tensor,
}

/// A network on its device, with everything that a range of seeds needs.
#[derive(Debug)]
pub struct Sampler {
    network: Network,
    views: Views,
    guide: Guide,
    params: SamplerParams,
    labels: LabelDistribution,
    device: Device,
    block: u64,
}

impl Sampler {
    /// Checks the settings and copies the weights to the device.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for settings out of range, [`DiffusionError::Labels`] for labels
    /// that do not fit the network.
    pub fn new(
        network: Network,
        weights: &Parameters,
        params: SamplerParams,
        labels: LabelDistribution,
        device: Device,
    ) -> Result<Self, DiffusionError> {
        super::check(&params)?;
        let slots = network.architecture.label_dim;
        let mismatch = |what: &str, found: String| {
            Err(DiffusionError::Labels {
                what: what.into(),
                found,
                expected: format!("{slots} label slots, as the network has"),
            })
        };
        match &labels {
            LabelDistribution::None => {}
            LabelDistribution::Prior(counts) if counts.len() as i64 != slots => {
                return mismatch("prior", format!("{} label slots", counts.len()));
            }
            LabelDistribution::Uniform(n) if *n != slots || slots == 0 => {
                return mismatch("uniform labels", format!("{n} label slots"));
            }
            LabelDistribution::Fixed(label) if !(0..slots).contains(label) => {
                return mismatch("fixed label", format!("label {label}"));
            }
            LabelDistribution::Rows(rows) if rows.size()[1] != slots => {
                return mismatch("label vectors", format!("width {}", rows.size()[1]));
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

    /// The same sampler with another block size, for machines with little memory. Images change by
    /// rounding, so a sample set must be made with one block size.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for a block size of 0.
    pub fn with_block_size(mut self, images: u64) -> Result<Self, DiffusionError> {
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

    /// Number of images that are computed together.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// The same sampler with a weaker network as its guide (autoguidance) instead of the network
    /// itself without a label.
    ///
    /// # Errors
    /// [`DiffusionError::Shape`] when the guide's images or labels have another shape.
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

    /// The images of seeds `first..first + count`, or `None` if `progress` returned false after a
    /// block; it is called with the number of finished images after every block, and after every
    /// call of the network within one.
    ///
    /// # Errors
    /// [`DiffusionError::OutOfMemory`] with a block size to try.
    pub fn images(
        &self,
        first: u64,
        count: u64,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Samples>, DiffusionError> {
        let block = self.block;
        let (mut images, mut labels) = (Vec::new(), Vec::new());
        // From the start of the first seed's block; images outside the range are computed and
        // dropped.
        let mut start = first - first % block;
        while start < first + count {
            // Drawn for the whole block, even where the range ends in it.
            let starts: Vec<SampleStart> = (start..start + block)
                .map(|seed| self.start(seed))
                .collect();
            let done = start.max(first) - first;
            let pixels = self.sample_block(&starts, &mut || {
                progress(done);
            })?;
            let (from, to) = (first.max(start), (first + count).min(start + block));
            images.push(pixels.narrow(0, (from - start) as i64, (to - from) as i64));
            labels.extend(
                starts[(from - start) as usize..(to - start) as usize]
                    .iter()
                    .map(|start| start.label),
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

    fn start(&self, seed: u64) -> SampleStart {
        let (channels, side) = self.shape();
        let churn = (self.params.s_churn > 0.0).then_some(i64::from(self.params.steps));
        draw_start(seed, [channels, side, side], &self.labels, churn)
    }

    /// Images u8 \[n, c, r, r\] on the CPU of one block.
    fn sample_block(
        &self,
        starts: &[SampleStart],
        on_call: &mut dyn FnMut(),
    ) -> Result<Tensor, DiffusionError> {
        let at = format!(
            "sampling {} images at {} pixels",
            starts.len(),
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
        guard_memory(at, advice, || {
            tch::no_grad(|| self.solve_block(starts, on_call))
        })
    }

    fn solve_block(&self, starts: &[SampleStart], on_call: &mut dyn FnMut()) -> Tensor {
        let latents: Vec<&Tensor> = starts.iter().map(|start| &start.latents).collect();
        let latents = Tensor::stack(&latents, 0).to_device(self.device);
        let ids: Vec<i64> = starts.iter().map(|start| start.label).collect();
        let slots = self.network.architecture.label_dim;
        let labels = match &self.labels {
            LabelDistribution::None => None,
            LabelDistribution::Rows(rows) => Some(
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
            part: None,
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
            let of = |start: &SampleStart| {
                start
                    .churn
                    .as_ref()
                    .expect("invariant: drawn where churn is on")
                    .get(step as i64)
            };
            Tensor::stack(&starts.iter().map(of).collect::<Vec<_>>(), 0).to_device(self.device)
        };
        quantise(&solve(
            &self.params,
            &latents,
            &mut denoise,
            &mut noise,
            &mut |_| on_call(),
        ))
        .to_device(Device::Cpu)
    }
}

/// Type of the network's activations; TF32 is float32 to PyTorch, with another matrix product.
fn activations(precision: Precision) -> Option<Kind> {
    match precision {
        Precision::Fp32 | Precision::Tf32 => None,
        Precision::Bf16 => Some(Kind::BFloat16),
        Precision::Fp16 => Some(Kind::Half),
    }
}
