//! Every tensor of a network: its upstream name, shape and initial distribution, in the order of
//! the state dict.

/// How a tensor is initialised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Uniform on ±√(6 / (fan_in + fan_out)), times a gain: 1 for ordinary layers, 1e-5 for those
    /// that end a residual branch, √0.2 for queries, keys and values (spec §7.3, "Init").
    XavierUniform {
        /// Factor on the draw.
        gain: f64,
    },
    /// All zeros, for biases.
    Zeros,
    /// All ones, for the weights of norms.
    Ones,
    /// Normal, for Fourier frequencies.
    Normal {
        /// Standard deviation of the distribution; its mean is 0.
        std: f64,
    },
    /// The outer product of the resampling filter with itself, normalised to sum 1.
    ResampleFilter,
}

/// One tensor of the state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Upstream name with the `model.` prefix.
    pub name: String,
    /// Shape, row-major as in PyTorch.
    pub shape: Vec<i64>,
    /// How it is initialised.
    pub fill: Fill,
    /// Whether it is a parameter; buffers are not trained.
    pub trained: bool,
}

impl Entry {
    /// Number of elements of the tensor.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// A layer's handle to one of its tensors: an index into [`Layout::entries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(crate) usize);

/// All tensors of a network, in state-dict order; built by the layers' constructors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// The tensors in state-dict order.
    pub entries: Vec<Entry>,
}

impl Layout {
    /// Registers a trained tensor and returns its handle.
    pub fn parameter(&mut self, name: String, shape: &[i64], fill: Fill) -> Slot {
        self.entries.push(Entry {
            name,
            shape: shape.to_vec(),
            fill,
            trained: true,
        });
        Slot(self.entries.len() - 1)
    }

    /// Registers a buffer, a tensor that is stored but not trained, and returns its handle.
    pub fn buffer(&mut self, name: String, shape: &[i64], fill: Fill) -> Slot {
        self.entries.push(Entry {
            name,
            shape: shape.to_vec(),
            fill,
            trained: false,
        });
        Slot(self.entries.len() - 1)
    }

    /// Number of trained scalars; buffers do not count.
    pub fn parameter_count(&self) -> u64 {
        self.entries
            .iter()
            .filter(|entry| entry.trained)
            .map(|entry| entry.numel() as u64)
            .sum()
    }
}
