//! Loading weights into a network: every name and shape is checked, and all mismatches are reported
//! in one error.

use super::Weights;
use crate::NetError;
use std::{cell::RefCell, collections::BTreeSet};
use tch::{Device, Kind, Tensor};

#[derive(Default)]
struct Notes {
    wanted: Vec<(String, Vec<i64>)>,
    used: BTreeSet<String>,
    missing: Vec<String>,
    misshapen: Vec<String>,
}

/// The loading of one network: tensors are taken by name, [`Loading::finish`] reports what did not
/// fit.
pub struct Loading<'a> {
    weights: &'a Weights,
    kind: Kind,
    device: Device,
    notes: RefCell<Notes>,
}

impl<'a> Loading<'a> {
    pub(super) fn new(weights: &'a Weights, kind: Kind, device: Device) -> Self {
        Self {
            weights,
            kind,
            device,
            notes: RefCell::default(),
        }
    }

    /// The tensor `name`, which must have `shape`, on the network's device and in its precision. An
    /// empty tensor when it does not fit; `finish` then fails.
    pub fn take(&self, name: &str, shape: &[i64]) -> Tensor {
        let mut notes = self.notes.borrow_mut();
        notes.used.insert(name.to_owned());
        notes.wanted.push((name.to_owned(), shape.to_vec()));
        match self.weights.get(name) {
            None => notes.missing.push(match self.weights.unread(name) {
                None => name.to_owned(),
                Some(reason) => format!("{name}: {reason}"),
            }),
            Some(found) if found.size() != shape => notes
                .misshapen
                .push(format!("{name}: {:?} instead of {shape:?}", found.size())),
            Some(found) => return found.to_device(self.device).to_kind(self.kind).contiguous(),
        }
        Tensor::zeros([0], (self.kind, self.device))
    }

    /// Whether the weights have this name.
    pub fn has(&self, name: &str) -> bool {
        self.weights.get(name).is_some()
    }

    /// The shape of a tensor, for networks whose size is read from their weights.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.weights.get(name).map(Tensor::size)
    }

    /// Marks names for which `known` is true as expected though the network does not read them.
    pub fn ignore(&self, known: impl Fn(&str) -> bool) {
        let names = self
            .weights
            .iter()
            .map(|(name, _)| name)
            .filter(|name| known(name))
            .map(str::to_owned);
        self.notes.borrow_mut().used.extend(names);
    }

    /// Checks that every tensor asked for was there and no other is left.
    ///
    /// # Errors
    /// [`NetError::Mismatch`] with all that is missing, unexpected or of another shape.
    pub fn finish(self, architecture: &str) -> Result<(), NetError> {
        let Notes {
            used,
            missing,
            misshapen,
            ..
        } = self.notes.into_inner();
        let unexpected: Vec<String> = self
            .weights
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| !used.contains(name))
            .collect();
        if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        Err(NetError::Mismatch {
            architecture: architecture.to_owned(),
            missing,
            unexpected,
            misshapen,
            nearest: None,
        })
    }
}

/// Names and shapes of every tensor that a network loads, in loading order.
pub fn blueprint<T>(assemble: impl FnOnce(&Loading<'_>) -> T) -> Vec<(String, Vec<i64>)> {
    let nothing = Weights::default();
    let from = nothing.load(Kind::Float, Device::Cpu);
    assemble(&from);
    from.notes.into_inner().wanted
}
