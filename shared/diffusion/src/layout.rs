//! Every tensor of a network: its upstream name, shape and initial distribution, in the order of
//! the state dict.

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Uniform on ±√(6 / (fan_in + fan_out)), times the gain: 1, 1e-5 ("near zero, not zero") or
    /// √0.2 (spec §7.3).
    XavierUniform {
        /// Factor on the draw.
        gain: f64,
    },
    /// Zero: biases.
    Zeros,
    /// One: weights of norms.
    Ones,
    /// Normal with this standard deviation: Fourier frequencies.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// The normalised resampling filter.
    ResampleFilter,
}

/// One tensor of the state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Upstream name with the `model.` prefix.
    pub name: String,
    /// Shape.
    pub shape: Vec<i64>,
    /// How it starts.
    pub fill: Fill,
    /// Whether it is trained; buffers are not.
    pub trained: bool,
}

impl Entry {
    /// Number of elements.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// Where a layer finds its tensor: an index into [`Layout::entries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(crate) usize);

/// The inventory of a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// In state-dict order.
    pub entries: Vec<Entry>,
}

impl Layout {
    /// Adds a trained tensor.
    pub fn parameter(&mut self, name: String, shape: &[i64], fill: Fill) -> Slot {
        self.entries.push(Entry {
            name,
            shape: shape.to_vec(),
            fill,
            trained: true,
        });
        Slot(self.entries.len() - 1)
    }

    /// Adds a tensor that is not trained.
    pub fn buffer(&mut self, name: String, shape: &[i64], fill: Fill) -> Slot {
        self.entries.push(Entry {
            name,
            shape: shape.to_vec(),
            fill,
            trained: false,
        });
        Slot(self.entries.len() - 1)
    }

    /// Number of trained numbers.
    pub fn parameter_count(&self) -> u64 {
        self.entries
            .iter()
            .filter(|entry| entry.trained)
            .map(|entry| entry.numel() as u64)
            .sum()
    }
}
