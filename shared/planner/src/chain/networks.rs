//! A network: its training in segments from snapshot to snapshot, the sample sets of each snapshot,
//! their scores.

use super::{PlanContext, clusters::NetworkCell, kimg, merge, scores};
use crate::{
    Cell, Purpose, Work,
    builder::{Dependency, NodeDraft, PlanBuilder},
    message,
    obstacles::network_obstacle,
};
use cedm_contract::kinds::{
    sample::{LabelSource, SampleInputs, SampleParams, SamplerParams},
    sample_set::{SampleSetInputs, SampleSetParams},
    train::{NetworkSpec, TrainInputs, TrainParams},
};

/// A sample set to be made: of which network, when, and which seeds.
pub(super) struct SetPlan {
    /// Coordinates, with training images and set.
    pub(super) cell: Cell,
    /// "temi C=20 at 29 kimg, set 0".
    pub(super) label: String,
    first_seed: u64,
    pub(super) images: u64,
    /// Whether the network is at the end of its budget.
    pub(super) last: bool,
}

impl SetPlan {
    /// What it is for.
    pub(super) fn purpose(&self) -> Purpose {
        self.cell.purpose
    }
}

/// Everything that follows from one condition.
pub(super) fn network<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    network: &NetworkCell,
) {
    let mut previous: Option<Dependency> = None;
    let mut from = 0;
    for to in &b.sweep.spec.training.snapshots_nimg {
        let weights = segment(b, context, network, previous, (from, *to));
        for set in sets(b, network, *to) {
            let samples = sample_set(b, network, weights, &set);
            scores::scores(b, context, network, samples, &set);
        }
        (previous, from) = (Some(weights), *to);
    }
}

/// Adds the job of one training segment.
fn segment<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    network: &NetworkCell,
    previous: Option<Dependency>,
    (from, to): (u64, u64),
) -> Dependency {
    let (training, set) = (&b.sweep.spec.training, context.images.set);
    let cell = Cell {
        nimg: Some(to),
        ..network.cell.clone()
    };
    let draft = NodeDraft::new(
        format!("train {} to {} kimg", network.label, kimg(to)),
        Work::kimg(to - from),
    );
    let inputs = TrainInputs {
        images: context.images.dependency,
        condition: network.condition,
        previous,
    };
    let spec = &b.sweep.spec;
    b.add_training(draft.cell(&cell), inputs, || {
        if let Some(reason) = network_obstacle(spec, set) {
            return Err(reason);
        }
        Ok(TrainParams {
            network: NetworkSpec {
                // Of a conditional network: its condition's clusters in use.
                label_dim: 0,
                channels: set.channels,
                ..training.network.clone()
            },
            optimiser: training.optimiser.clone(),
            augment: training.augment.clone(),
            precision: training.precision,
            seed: network.seed,
            from_nimg: from,
            to_nimg: to,
        })
    })
}

/// The sample sets of a snapshot: the full ones at the end, one smaller before (spec §9: seeds
/// follow on each other from 0). At the end also one as small as those before, and those with
/// uniform labels, where either says anything new.
fn sets(b: &PlanBuilder<'_>, network: &NetworkCell, nimg: u64) -> Vec<SetPlan> {
    let (sampling, last) = (
        &b.sweep.spec.sampling,
        nimg == b.sweep.spec.training.budget_nimg(),
    );
    let (count, images) = if last {
        (sampling.sets, sampling.images)
    } else {
        (
            u32::from(sampling.snapshot_images > 0),
            sampling.snapshot_images,
        )
    };
    let plan = |purpose, set: u32, images| {
        let what = match purpose {
            Purpose::Evaluation => format!("set {set}"),
            Purpose::Curve => "set for curves".to_owned(),
            Purpose::Uniform => format!("uniform set {set}"),
        };
        SetPlan {
            cell: Cell {
                nimg: Some(nimg),
                set: Some(set),
                purpose,
                ..network.cell.clone()
            },
            label: format!("{} at {} kimg, {what}", network.label, kimg(nimg)),
            // Seeds of consecutive sets follow on each other and never overlap; two networks' sets
            // i share seeds, and so noise, which pairs their scores.
            first_seed: u64::from(set) * images,
            images,
            last,
        }
    };
    let mut sets: Vec<SetPlan> = (0..count)
        .map(|set| plan(Purpose::Evaluation, set, images))
        .collect();
    if last {
        let fewer = sampling.snapshot_images;
        let earlier = b.sweep.spec.training.snapshots_nimg.len() > 1;
        // A Fréchet distance is biased by its number of images: the last point of a curve needs as
        // few of them as the earlier ones.
        sets.extend(
            (earlier && fewer > 0 && fewer < images).then(|| plan(Purpose::Curve, 0, fewer)),
        );
        let uniform = if network.condition.is_some() {
            sampling.uniform_sets
        } else {
            0
        };
        sets.extend((0..uniform).map(|set| plan(Purpose::Uniform, set, images)));
    }
    sets
}

/// A sample set, by shards.
fn sample_set<'k>(
    b: &mut PlanBuilder<'k>,
    network: &NetworkCell,
    weights: Dependency,
    set: &SetPlan,
) -> Dependency {
    let id = format!("sample_set {}", set.label);
    if let Some(dependency) = b.existing(&id) {
        return dependency;
    }
    let sampling = &b.sweep.spec.sampling;
    let mut shards = Vec::new();
    for (index, first) in (0..set.images)
        .step_by(sampling.shard_size.max(1) as usize)
        .enumerate()
    {
        let count = u64::from(sampling.shard_size).min(set.images - first);
        let draft = NodeDraft::new(
            format!("sample {}, shard {index}", set.label),
            Work::images(count),
        );
        let inputs = SampleInputs {
            weights,
            condition: network.condition,
        };
        let params = SampleParams {
            sampler: match set.purpose() {
                Purpose::Uniform => SamplerParams {
                    labels: LabelSource::Uniform,
                    ..sampling.sampler.clone()
                },
                Purpose::Evaluation | Purpose::Curve => sampling.sampler.clone(),
            },
            first_seed: set.first_seed + first,
            count: count as u32,
        };
        shards.push(b.add(draft.cell(&set.cell), inputs, || Ok(params)));
    }
    set_of_shards(b, id, set, shards)
}

/// The set of these shards, where it has too many by way of parts: sets too, of some of the images.
fn set_of_shards<'k>(
    b: &mut PlanBuilder<'k>,
    id: String,
    set: &SetPlan,
    shards: Vec<Dependency>,
) -> Dependency {
    let whole = SampleSetParams {
        first_seed: set.first_seed,
        count: set.images,
    };
    // A part is no set of the sweep, and has no number among them.
    let cell_of_part = Cell {
        set: None,
        ..set.cell.clone()
    };
    let capacity = message::capacity(b, &id, whole.clone().into(), "shard", &[]);
    let shard_size = u64::from(b.sweep.spec.sampling.shard_size.max(1));
    let shards = merge::inputs(shards, capacity, |part| {
        let first = part.shards.start as u64 * shard_size;
        let end = (part.shards.end as u64 * shard_size).min(set.images);
        let params = SampleSetParams {
            first_seed: set.first_seed + first,
            count: end - first,
        };
        let draft = NodeDraft::new(format!("{id} {}", part.name), Work::one());
        let inputs = SampleSetInputs {
            shards: part.inputs,
        };
        b.add(draft.cell(&cell_of_part), inputs, || Ok(params))
    });
    b.add(
        NodeDraft::new(id, Work::one()).cell(&set.cell),
        SampleSetInputs { shards },
        || Ok(whole),
    )
}

/// The sample set of this number of the finished unconditional network, where the sweep has one:
/// what `ufd` compares with. Both networks' sets start from the same seeds, and so did their
/// trainings.
pub(super) fn unconditional_set<'k>(
    b: &mut PlanBuilder<'k>,
    context: PlanContext<'k>,
    (seed, number): (u64, u32),
) -> Option<(Dependency, SetPlan)> {
    let sweep = b.sweep;
    let clustering = sweep
        .spec
        .clusterings
        .iter()
        .find(|clustering| clustering.method.is_unconditional())?;
    let network = super::clusters::cells(b, context, clustering).pop()?;
    let network = network.trained_with(seed, &sweep.spec.training);
    let (mut weights, mut from) = (None, 0);
    for to in &sweep.spec.training.snapshots_nimg {
        weights = Some(segment(b, context, &network, weights, (from, *to)));
        from = *to;
    }
    let mut sets = sets(b, &network, from).into_iter();
    let set =
        sets.find(|set| set.cell.set == Some(number) && set.purpose() == Purpose::Evaluation)?;
    Some((sample_set(b, &network, weights?, &set), set))
}
