//! DINO's projection head, which the loss reads and which is thrown away afterwards (spec §12).

use cedm_nets::{NetError, Weights, normalise_rows, weights::Loading};
use tch::{Device, Kind, Tensor};

/// PyTorch's defaults of `BatchNorm1d`.
const BATCH_NORM_EPS: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// The projection head: linear layers with GELU between them, rows scaled to norm 1, and a last
/// layer without bias whose rows have norm g (weight normalisation).
pub struct DinoHead {
    layers: Vec<Layer>,
    /// Row norms of the last layer, \[K, 1\].
    weight_g: Tensor,
    /// Row directions of the last layer, \[K, bottleneck\].
    weight_v: Tensor,
}

/// A linear layer with the batch normalisation after it, where there is one.
struct Layer {
    weight: Tensor,
    bias: Tensor,
    norm: Option<HeadNorm>,
}

struct HeadNorm {
    /// `mlp.<index in the layer stack>`, for the names of its statistics.
    name: String,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
}

impl DinoHead {
    /// Loads a head under upstream's names (`mlp.0.weight`, …, `last_layer.weight_v`); the number
    /// of layers, their widths and whether they normalise batches are read from names and shapes.
    ///
    /// # Errors
    /// When names are missing or left over, or shapes do not fit.
    pub fn load(weights: &Weights, kind: Kind, device: Device) -> Result<Self, NetError> {
        let from = weights.load(kind, device);
        let take = |name: &str| from.take(name, &from.shape(name).unwrap_or_default());
        let layer = |name: &str, norm| Layer {
            weight: take(&format!("{name}.weight")),
            bias: take(&format!("{name}.bias")),
            norm,
        };
        let mut layers = Vec::new();
        // Upstream makes a head of one layer a plain `Linear`, a deeper one a `Sequential`.
        if from.has("mlp.weight") {
            layers.push(layer("mlp", None));
        } else {
            let mut at = 0;
            while from.has(&format!("mlp.{at}.weight")) {
                let name = format!("mlp.{}", at + 1);
                let norm = from
                    .has(&format!("{name}.running_mean"))
                    .then(|| HeadNorm::load(&from, name));
                let step = if norm.is_some() { 3 } else { 2 };
                layers.push(layer(&format!("mlp.{at}"), norm));
                // The activation has no weights, but takes an index of the `Sequential`.
                at += step;
            }
        }
        if layers.is_empty() {
            // Not a head at all: asking for a name makes `finish` report it as missing.
            let _ = take("mlp.0.weight");
        }
        let (weight_g, weight_v) = (take("last_layer.weight_g"), take("last_layer.weight_v"));
        from.finish("a DINO head")?;
        Ok(Self {
            layers,
            weight_g,
            weight_v,
        })
    }

    /// What the last layer reads: rows \[n, bottleneck\] of L2 norm 1, from features \[n, dim\].
    pub fn bottleneck(&self, x: &Tensor, train: bool) -> Tensor {
        let last = self.layers.len() - 1;
        let mut x = x.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            x = x.linear(&layer.weight, Some(&layer.bias));
            if let Some(norm) = &layer.norm {
                x = norm.forward(&x, train);
            }
            // No activation before rows are scaled to norm 1.
            if index < last {
                x = x.gelu("none");
            }
        }
        normalise_rows(&x)
    }

    /// Scores \[n, K\] of features \[n, dim\]. With `train`, batch statistics normalise and update
    /// the running ones.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        // PyTorch's `weight_norm`: w = g · v / ‖v‖, over each row. Computed at every pass, since v
        // is what is trained.
        let norm = self.weight_v.norm_scalaropt_dim(2.0, [1], true);
        self.bottleneck(x, train)
            .linear(&(&self.weight_g * &self.weight_v / norm), None::<&Tensor>)
    }

    /// Running means and variances of the batch normalisations, by name.
    pub fn statistics(&self) -> Vec<(String, Tensor)> {
        let of = |norm: &HeadNorm| {
            [("running_mean", &norm.mean), ("running_var", &norm.var)]
                .map(|(part, tensor)| (format!("{}.{part}", norm.name), tensor.shallow_clone()))
        };
        self.layers
            .iter()
            .filter_map(|layer| layer.norm.as_ref())
            .flat_map(of)
            .collect()
    }
}

impl HeadNorm {
    fn load(from: &Loading<'_>, name: String) -> Self {
        let shape = from
            .shape(&format!("{name}.running_mean"))
            .unwrap_or_default();
        let take = |part: &str| from.take(&format!("{name}.{part}"), &shape);
        let counter = format!("{name}.num_batches_tracked");
        from.ignore(|key| key == counter);
        Self {
            weight: take("weight"),
            bias: take("bias"),
            // Training updates these in place; copies leave the loaded weights as they were.
            mean: take("running_mean").copy(),
            var: take("running_var").copy(),
            name,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.var),
            train,
            BATCH_NORM_MOMENTUM,
            BATCH_NORM_EPS,
            false,
        )
    }
}
