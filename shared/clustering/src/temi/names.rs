//! Heads under upstream's state-dict names: `head.heads.{h}.mlp.{0,2,…}.weight`,
//! `…last_layer.weight_g` and so on (spec §4.1).

use super::{HeadShape, Heads, Standardisation};
use crate::ClusteringError;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Heads with everything that assigning clusters needs.
#[derive(Debug)]
pub struct Model {
    /// What happens to features first.
    pub standardisation: Standardisation,
    /// Weights of all heads, stacked.
    pub heads: Heads,
    /// The one that assigns.
    pub best_head: i64,
}

impl Model {
    /// Logits \[rows, C\] of the best head for raw features \[rows, D\].
    pub fn best_logits(&self, features: &Tensor) -> Tensor {
        self.heads
            .group(self.best_head, 1)
            .forward(&self.standardisation.apply(features))
            .squeeze_dim(0)
    }
}

/// Name of a linear map: upstream's sequence also counts the activations, and is no sequence when
/// there is one map only.
fn map_name(head: i64, layer: i64, layers: i64, what: &str) -> String {
    if layers == 1 {
        format!("head.heads.{head}.mlp.{what}")
    } else {
        format!("head.heads.{head}.mlp.{}.{what}", 2 * layer)
    }
}

/// All tensors under upstream's names.
pub fn to_upstream(model: &Model) -> Vec<(String, Tensor)> {
    let shape = model.heads.shape;
    let mut named = vec![
        (
            "embed_mean".to_owned(),
            model.standardisation.mean.shallow_clone(),
        ),
        (
            "embed_std".to_owned(),
            model.standardisation.std.shallow_clone(),
        ),
        (
            "head.best_head_idx".to_owned(),
            Tensor::from(model.best_head),
        ),
    ];
    for head in 0..shape.heads {
        for layer in 0..shape.layers {
            let (weight, bias) = (
                &model.heads.weights[layer as usize],
                &model.heads.biases[layer as usize],
            );
            named.push((
                map_name(head, layer, shape.layers, "weight"),
                weight.get(head),
            ));
            named.push((
                map_name(head, layer, shape.layers, "bias"),
                bias.get(head).squeeze_dim(0),
            ));
        }
        named.push((
            format!("head.heads.{head}.last_layer.weight_g"),
            model.heads.weight_g.get(head),
        ));
        named.push((
            format!("head.heads.{head}.last_layer.weight_v"),
            model.heads.weight_v.get(head),
        ));
    }
    named
        .into_iter()
        .map(|(name, tensor)| (name, tensor.contiguous()))
        .collect()
}

/// Heads from tensors under upstream's names; sizes are read off the shapes. Prefixes `module.` are
/// dropped, names of a backbone ignored. `l2_norm` is no part of a state dict and must be known.
///
/// # Errors
/// When a tensor is missing or its shape does not fit the others.
pub fn from_upstream(
    named: &HashMap<String, Tensor>,
    l2_norm: bool,
) -> Result<Model, ClusteringError> {
    let named: HashMap<&str, &Tensor> = named
        .iter()
        .map(|(name, tensor)| (name.strip_prefix("module.").unwrap_or(name), tensor))
        .collect();
    let find = |name: &str| {
        named
            .get(name)
            .copied()
            .ok_or_else(|| weights(format!("`{name}` is missing")))
    };
    let heads = (0..)
        .take_while(|head| {
            named.contains_key(format!("head.heads.{head}.last_layer.weight_v").as_str())
        })
        .count() as i64;
    let single = named.contains_key("head.heads.0.mlp.weight");
    let counted = (0..)
        .take_while(|layer| {
            named.contains_key(format!("head.heads.0.mlp.{}.weight", 2 * layer).as_str())
        })
        .count() as i64;
    let layers = if single { 1 } else { counted };
    if heads == 0 || layers == 0 {
        return Err(weights(
            "no `head.heads.0.last_layer.weight_v` or no `head.heads.0.mlp.*`: is it a TEMI state dict?".to_owned(),
        ));
    }
    let size = |name: String, dim: usize| -> Result<i64, ClusteringError> {
        find(&name)?
            .size()
            .get(dim)
            .copied()
            .ok_or_else(|| weights(format!("`{name}` is not a matrix")))
    };
    let shape = HeadShape {
        heads,
        layers,
        inputs: size(map_name(0, 0, layers, "weight"), 1)?,
        hidden: size(map_name(0, 0, layers, "weight"), 0)?,
        bottleneck: size("head.heads.0.last_layer.weight_v".to_owned(), 1)?,
        clusters: size("head.heads.0.last_layer.weight_v".to_owned(), 0)?,
    };
    let stack =
        |name: &dyn Fn(i64) -> String, expected: &[i64]| -> Result<Tensor, ClusteringError> {
            let each = (0..heads).map(|head| {
                let (name, tensor) = (name(head), find(&name(head))?);
                if tensor.size() != expected {
                    return Err(weights(format!(
                        "`{name}` has shape {:?}, expected {expected:?}",
                        tensor.size()
                    )));
                }
                Ok(tensor.shallow_clone())
            });
            Ok(Tensor::stack(&each.collect::<Result<Vec<_>, _>>()?, 0))
        };
    let (mut biases, mut maps) = (Vec::new(), Vec::new());
    for (layer, &(inputs, outputs)) in shape.maps().iter().enumerate() {
        maps.push(stack(
            &|head| map_name(head, layer as i64, layers, "weight"),
            &[outputs, inputs],
        )?);
        biases.push(
            stack(
                &|head| map_name(head, layer as i64, layers, "bias"),
                &[outputs],
            )?
            .unsqueeze(1),
        );
    }
    let weight_g = stack(
        &|head| format!("head.heads.{head}.last_layer.weight_g"),
        &[shape.clusters, 1],
    )?;
    let weight_v = stack(
        &|head| format!("head.heads.{head}.last_layer.weight_v"),
        &[shape.clusters, shape.bottleneck],
    )?;
    let kind = weight_v.kind();
    let identity = Standardisation::identity(shape.inputs, kind, weight_v.device());
    let optional = |name: &str, otherwise: Tensor| -> Result<Tensor, ClusteringError> {
        let Some(tensor) = named.get(name) else {
            return Ok(otherwise);
        };
        if tensor.numel() as i64 == shape.inputs {
            return Ok(tensor.to_kind(kind).view(-1));
        }
        Err(weights(format!(
            "`{name}` has shape {:?}, expected [{}]",
            tensor.size(),
            shape.inputs
        )))
    };
    let standardisation = Standardisation {
        mean: optional("embed_mean", identity.mean)?,
        std: optional("embed_std", identity.std)?,
        l2_norm,
    };
    let best_head = named
        .get("head.best_head_idx")
        .map_or(0, |tensor| tensor.int64_value(&[]));
    if !(0..heads).contains(&best_head) {
        return Err(weights(format!(
            "`head.best_head_idx` is {best_head}, there are {heads} heads"
        )));
    }
    if maps
        .iter()
        .chain(&biases)
        .chain([&weight_g])
        .any(|tensor| tensor.kind() != kind)
        || !matches!(kind, Kind::Float | Kind::Double)
    {
        return Err(weights(
            "mixed or unusable types: expected float32 or float64 throughout".to_owned(),
        ));
    }
    Ok(Model {
        standardisation,
        heads: Heads {
            shape,
            biases,
            weights: maps,
            weight_g,
            weight_v,
        },
        best_head,
    })
}

fn weights(reason: String) -> ClusteringError {
    ClusteringError::Weights { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn model(layers: i64) -> Model {
        let shape = HeadShape {
            heads: 3,
            inputs: 6,
            layers,
            hidden: 5,
            bottleneck: 4,
            clusters: 7,
        };
        // upstream's hidden width of a single map is its bottleneck
        let shape = if layers == 1 {
            HeadShape { hidden: 4, ..shape }
        } else {
            shape
        };
        let heads = Heads::initialise(shape, 0, Kind::Float, Device::Cpu);
        Model {
            standardisation: Standardisation::identity(6, Kind::Float, Device::Cpu),
            heads,
            best_head: 2,
        }
    }

    #[test]
    fn export_and_import_are_inverse() {
        for layers in 1..=3 {
            let before = model(layers);
            let after = from_upstream(&to_upstream(&before).into_iter().collect(), false).unwrap();
            assert_eq!(
                (after.heads.shape, after.best_head),
                (before.heads.shape, 2)
            );
            assert!(
                after
                    .heads
                    .tensors()
                    .iter()
                    .zip(before.heads.tensors())
                    .all(|(a, b)| a.equal(b))
            );
        }
    }

    fn check(change: impl Fn(&mut HashMap<String, Tensor>), expect: &str) {
        let mut named = to_upstream(&model(2)).into_iter().collect();
        change(&mut named);
        let error = from_upstream(&named, false).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        check(
            |named| drop(named.remove("head.heads.1.mlp.2.bias")),
            "`head.heads.1.mlp.2.bias` is missing",
        );
        check(
            |named| {
                drop(named.insert(
                    "head.heads.2.mlp.0.weight".into(),
                    Tensor::zeros([5, 9], (Kind::Float, Device::Cpu)),
                ))
            },
            "[5, 9]",
        );
        check(
            |named| drop(named.insert("head.best_head_idx".into(), Tensor::from(3i64))),
            "is 3, there are 3 heads",
        );
        check(|named| named.clear(), "is it a TEMI state dict?");
    }
}
