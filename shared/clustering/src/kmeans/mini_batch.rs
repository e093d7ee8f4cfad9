//! Mini-batch k-means (Sculley 2010) for sets whose full iterations take too long.

use super::{LloydRun, Rows, plus_plus, rows};
use crate::random::{Purpose, stream};
use cedm_contract::params::KmeansParams;
use rand::Rng;
use tch::{Device, Kind, Tensor};

/// Batches without improvement of the smoothed inertia after which to stop.
const PATIENCE: u32 = 10;
/// Batches' worth of rows that the initial centroids are chosen from.
const SEEDING_BATCHES: i64 = 3;

/// Each batch pulls its nearest centroids towards it, by one over the rows that a centroid has seen. Stops when the smoothed
/// inertia of the batches has not improved for ten of them, or after `max_iterations` passes over the data.
pub fn mini_batch(
    data: &Rows,
    clusters: u32,
    params: &KmeansParams,
    seed: u64,
    start: u32,
    watch: &mut dyn FnMut(f64) -> bool,
) -> LloydRun {
    let (count, size) = (data.count(), i64::from(params.mini_batch).min(data.count()));
    let draw = |batch: u64, rows: i64| -> (Tensor, Tensor) {
        let mut rng = stream(seed, Purpose::MiniBatch, u64::from(start) << 40 | batch);
        let places: Vec<i64> = (0..rows).map(|_| rng.random_range(0..count)).collect();
        let places = Tensor::from_slice(&places).to_device(data.centred().device());
        (data.centred().index_select(0, &places), data.squares().index_select(0, &places))
    };
    let (sample, squares) = draw(0, (SEEDING_BATCHES * size).max(i64::from(clusters)));
    let mut centroids = plus_plus(&sample, &squares, clusters, seed, start);
    let mut seen = Tensor::zeros([clusters.into(), 1], (Kind::Double, centroids.device()));
    let batches = u64::from(params.max_iterations) * (count as u64).div_ceil(size as u64);
    let smoothing = (2.0 * size as f64 / (count as f64 + 1.0)).min(1.0);
    let (mut smoothed, mut best, mut waited) = (None, f64::INFINITY, 0);
    let mut inertia_by_iteration = Vec::new();
    for batch in 1..=batches {
        let (sample, squares) = draw(batch, size);
        let nearest = rows::assign(&sample, &squares, &centroids);
        let (sums, counts) = rows::sums(&sample, &nearest.ids, clusters.into());
        let counts = counts.unsqueeze(1);
        seen += &counts;
        let pull = (sums - &counts * centroids.to_kind(Kind::Double)) / seen.clamp_min(1.0);
        centroids = &centroids + pull.to_kind(sample.kind());
        let inertia = nearest.inertia / size as f64;
        inertia_by_iteration.push(nearest.inertia);
        let now = smoothed.map_or(inertia, |old: f64| old * (1.0 - smoothing) + inertia * smoothing);
        smoothed = Some(now);
        waited = if now < best { 0 } else { waited + 1 };
        best = best.min(now);
        if !watch(now * count as f64) || waited >= PATIENCE {
            break;
        }
    }
    let ids = data.assign(&centroids).ids;
    let inertia = data.inertia(&centroids, &ids);
    let iterations = inertia_by_iteration.len() as u32;
    LloydRun {
        centroids,
        ids: ids.to_device(Device::Cpu),
        inertia,
        inertia_by_iteration,
        iterations,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit;
    use super::*;
    use crate::Features;

    #[test]
    fn comes_close_to_full_iterations() {
        let values = (Tensor::arange(8000, (Kind::Float, Device::Cpu)) * 12.9898).sin().view([2000, 4]);
        let centre =
            Tensor::arange(2000, (Kind::Float, Device::Cpu)).remainder(10.0).view([2000, 1]) * Tensor::from_slice(&[3f32, -2.0, 5.0, 1.0]);
        let features = Features::new(&(values + centre)).unwrap();
        let inertia = |mini_batch| {
            let params = KmeansParams {
                mini_batch,
                starts: 3,
                ..KmeansParams::default()
            };
            fit(&features, 10, &params, 0, &mut |_, _, _| true).unwrap().unwrap().inertia
        };
        let (full, mini) = (inertia(0), inertia(256));
        assert!(mini >= full * 0.999 && mini < full * 1.1, "{mini} against {full}");
    }
}
