//! The resumable state of a run as one safetensors file: weights, running mean, Adam's moments,
//! counters. Nothing else is carried: every random stream is derived. The bytes are the same
//! whether or not the run was ever interrupted.

use crate::{
    DiffusionError,
    training::{Recipe, Training},
    weights,
};
use cedm_tensor_files::TensorFile;
use cedm_torch::tensor_files;
use serde_json::json;
use std::path::Path;
use tch::{Kind, Tensor};

/// Key in the metadata under which a state says which run it belongs to.
const RUN: &str = "cedm_run";
/// Tensor of a checkpoint that holds the training curve.
const CURVE: &str = "curve";

impl Training {
    /// What two runs must share for one to continue from the other's state: recipe and data. The
    /// cut into rounds is left out: it changes rounding and dropout masks, nothing else.
    fn identity(&self) -> String {
        let mut optimiser = serde_json::to_value(&self.recipe.optimiser)
            .expect("invariant: plain data always encodes");
        if let Some(fields) = optimiser.as_object_mut() {
            fields.remove("micro_batch");
        }
        let Recipe {
            network,
            augment,
            precision,
            seed,
            ..
        } = &self.recipe;
        json!({
            "network": network,
            "optimiser": optimiser,
            "augment": augment,
            "precision": precision,
            "seed": seed,
            "images and condition": self.data,
        })
        .to_string()
    }

    /// Writes the state, atomically.
    ///
    /// # Errors
    /// [`DiffusionError::TensorFile`].
    pub fn save_state(&self, path: &Path) -> Result<(), DiffusionError> {
        self.write_state(path, None)
    }

    /// The same with a training curve beside it, which the final state does not carry (it holds
    /// timings).
    ///
    /// # Errors
    /// [`DiffusionError::TensorFile`].
    pub fn save_checkpoint(&self, path: &Path, curve: &Tensor) -> Result<(), DiffusionError> {
        self.write_state(path, Some(curve))
    }

    fn write_state(&self, path: &Path, curve: Option<&Tensor>) -> Result<(), DiffusionError> {
        let counters = Tensor::from_slice(&[
            self.learner.nimg as i64,
            self.learner.updates as i64,
            self.tick.1 as i64,
            self.learner.scale.log2,
            self.learner.scale.clean_steps as i64,
        ]);
        let tick_loss = Tensor::from_slice(&[self.tick.0]);
        let mut tensors: Vec<(String, &Tensor)> = vec![
            ("weights".into(), &self.learner.weights.flat),
            ("ema".into(), &self.learner.ema),
            ("exp_avg".into(), &self.learner.moments.first),
            ("exp_avg_sq".into(), &self.learner.moments.second),
            ("counters".into(), &counters),
            ("tick_loss".into(), &tick_loss),
        ];
        tensors.extend(
            self.learner
                .weights
                .buffers
                .iter()
                .enumerate()
                .map(|(index, buffer)| (format!("buffer.{index}"), buffer)),
        );
        tensors.extend(curve.map(|curve| (CURVE.to_owned(), curve)));
        let named: Vec<(&str, &Tensor)> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), *tensor))
            .collect();
        tensor_files::write(path, &named, &[(RUN, &self.identity())])?;
        Ok(())
    }

    /// Whether this run may be resumed from a state; nothing but the file's header is read.
    ///
    /// # Errors
    /// [`DiffusionError::State`] when it belongs to another run, [`DiffusionError::Checkpoint`]
    /// when it cannot be read.
    pub fn check_state(&self, path: &Path) -> Result<(), DiffusionError> {
        let file = TensorFile::open(path).map_err(DiffusionError::Checkpoint)?;
        self.check(&file)
    }

    fn check(&self, file: &TensorFile<'_>) -> Result<(), DiffusionError> {
        let other = |difference: String| DiffusionError::State {
            path: file.origin().to_owned(),
            difference,
        };
        let own = self.identity();
        match file.notes().get(RUN) {
            None => Err(other(format!("its metadata has no `{RUN}`"))),
            Some(run) if *run != own => Err(other(first_difference(run, &own))),
            Some(_) => Ok(()),
        }
    }

    /// Resumes from a state. Returns the training curve of a checkpoint that carries one.
    ///
    /// # Errors
    /// [`DiffusionError::State`] when it belongs to another run, [`DiffusionError::Checkpoint`]
    /// when it cannot be read or lacks a tensor.
    pub fn load_state(&mut self, path: &Path) -> Result<Option<Tensor>, DiffusionError> {
        self.read_state(path).map_err(DiffusionError::in_checkpoint)
    }

    fn read_state(&mut self, path: &Path) -> Result<Option<Tensor>, DiffusionError> {
        let file = TensorFile::open(path)?;
        self.check(&file)?;
        let other = |difference: String| DiffusionError::State {
            path: path.to_owned(),
            difference,
        };
        let get = |name: &str| tensor_files::tensor(&file, name);
        let counters = file.values::<i64>("counters")?;
        let tick_loss = get("tick_loss")?.double_value(&[0]);
        let [nimg, adam_steps, tick_steps, log2, clean_steps] = counters[..] else {
            return Err(other(format!(
                "it has {} counters instead of 5",
                counters.len()
            )));
        };
        tch::no_grad(|| -> Result<(), DiffusionError> {
            let targets = [
                ("weights", &mut self.learner.weights.flat),
                ("ema", &mut self.learner.ema),
                ("exp_avg", &mut self.learner.moments.first),
                ("exp_avg_sq", &mut self.learner.moments.second),
            ];
            for (name, target) in targets {
                let source = get(name)?;
                if source.size() != target.size() || source.kind() != Kind::Float {
                    return Err(other(format!(
                        "`{name}` is {:?} instead of {:?}",
                        source.size(),
                        target.size()
                    )));
                }
                target.copy_(&source);
            }
            for (index, buffer) in self.learner.weights.buffers.iter_mut().enumerate() {
                buffer.copy_(&get(&format!("buffer.{index}"))?);
            }
            Ok(())
        })?;
        self.learner.nimg = nimg as u64;
        self.learner.updates = adam_steps as u64;
        self.tick = (tick_loss, tick_steps as u64);
        (self.learner.scale.log2, self.learner.scale.clean_steps) = (log2, clean_steps as u64);
        Ok(file.has(CURVE).then(|| get(CURVE)).transpose()?)
    }

    /// Writes the running mean with upstream names, and the prior of the condition.
    ///
    /// # Errors
    /// [`DiffusionError::TensorFile`].
    pub fn save_ema(&self, path: &Path) -> Result<(), DiffusionError> {
        let (network, parameters) = (&self.learner.network, self.learner.ema_parameters());
        weights::save_conditioned(path, network, &parameters, &self.condition)
    }
}

/// The first setting in which two identities differ.
fn first_difference(theirs: &str, ours: &str) -> String {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let (theirs, ours) = (parse(theirs), parse(ours));
    let mut stack = vec![(String::new(), &theirs, &ours)];
    while let Some((path, a, b)) = stack.pop() {
        match (a.as_object(), b.as_object()) {
            (Some(a), Some(b)) => {
                let null = &serde_json::Value::Null;
                // A setting may stand on one side alone: it is left out where it has its default.
                for name in a
                    .keys()
                    .chain(b.keys().filter(|name| !a.contains_key(*name)))
                {
                    stack.push((
                        format!("{path}{}{name}", if path.is_empty() { "" } else { "." }),
                        a.get(name).unwrap_or(null),
                        b.get(name).unwrap_or(null),
                    ));
                }
            }
            _ if a != b => return format!("its {path} is {a}, this run's is {b}"),
            _ => {}
        }
    }
    "it was written by another version".into()
}
