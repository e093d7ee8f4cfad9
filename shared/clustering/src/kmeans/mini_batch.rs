//! Mini-batch k-means for sets that do not fit into memory (Sculley 2010).
//!
//! In memory at a time: one batch, its distances, a piece of the rows in the passes at the beginning (mean) and the end
//! (assignment), and the ids.

use super::{
    RowSource, check,
    rows::{assign, sums},
    seeding::plus_plus,
    source::Centred,
};
use crate::{
    ClusteringError,
    kmeans::Fitted,
    random::{Purpose, stream},
};
use cedm_contract::params::KmeansParams;
use rand::{Rng, seq::index::sample};
use tch::{Device, Kind, Tensor};

/// Batches without improvement of the smoothed inertia after which to stop.
const PATIENCE: u32 = 10;
/// A cluster with less than this share of the largest one's rows is starved: it starts anew from a row of the batch.
const STARVED: f64 = 0.01;
/// Rows per cluster between two looks for starved clusters.
const ROWS_BETWEEN_LOOKS: i64 = 10;
/// Batches' worth of rows that the initial centroids are chosen from.
const SEEDING_BATCHES: i64 = 3;

/// Clusters the rows of `source` by batches of `params.mini_batch`; the start whose centroids have the lowest inertia over all
/// rows wins. `progress` hears (starts done, in all, inertia so far) and says whether to go on; the result is `None` when it
/// said no.
///
/// # Errors
/// When a setting does not fit the data, or rows cannot be read or are no features.
pub fn fit_mini_batch(
    source: &dyn RowSource,
    clusters: u32,
    params: &KmeansParams,
    seed: u64,
    progress: &mut dyn FnMut(u32, u32, f64) -> bool,
) -> Result<Option<Fitted>, ClusteringError> {
    check(source.count(), clusters, params)?;
    if params.mini_batch == 0 {
        return Err(ClusteringError::setting("mini_batch", 0, "at least the number of clusters"));
    }
    let _guard = tch::no_grad_guard();
    let rows = Centred::new(source)?;
    let mut best: Option<Fitted> = None;
    let mut inertias = Vec::new();
    for start in 0..params.starts {
        let mut watch = |inertia: f64| progress(start, params.starts, inertia);
        let Some((centroids, iterations)) = one_start(&rows, clusters, params, seed, start, &mut watch)? else {
            return Ok(None);
        };
        let (ids, inertia) = rows.assign(&centroids)?;
        inertias.push(inertia);
        if best.as_ref().is_none_or(|best| inertia < best.inertia) {
            best = Some(Fitted {
                centroids: rows.uncentred(&centroids),
                ids,
                inertia,
                iterations,
                start,
                inertias: Vec::new(),
            });
        }
        if !progress(start + 1, params.starts, inertia) {
            return Ok(None);
        }
    }
    Ok(best.map(|best| Fitted { inertias, ..best }))
}

/// Each batch pulls its nearest centroids towards it, by one over the rows that a centroid has seen. Stops when the smoothed
/// inertia of the batches has not improved for ten of them, or after `max_iterations` passes over the data. Returns (centred)
/// centroids and the number of batches.
fn one_start(
    data: &Centred<'_>,
    clusters: u32,
    params: &KmeansParams,
    seed: u64,
    start: u32,
    watch: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<(Tensor, u32)>, ClusteringError> {
    let (count, size) = (data.count(), i64::from(params.mini_batch).min(data.count()));
    let draw = |batch: u64, rows: i64| {
        let mut rng = stream(seed, Purpose::MiniBatch, u64::from(start) << 40 | batch);
        let places: Vec<i64> = (0..rows).map(|_| rng.random_range(0..count)).collect();
        data.draw(&places)
    };
    let (sample, squares) = draw(0, (SEEDING_BATCHES * size).max(i64::from(clusters)))?;
    let mut centroids = plus_plus(&sample, &squares, clusters, seed, start);
    let mut seen = Tensor::zeros([clusters.into(), 1], (Kind::Double, centroids.device()));
    let batches = u64::from(params.max_iterations) * (count as u64).div_ceil(size as u64);
    let smoothing = (2.0 * size as f64 / (count as f64 + 1.0)).min(1.0);
    let (mut smoothed, mut best, mut waited, mut done, mut unseen) = (None, f64::INFINITY, 0, 0, 0);
    for batch in 1..=batches {
        let (rows, squares) = draw(batch, size)?;
        let nearest = assign(&rows, &squares, &centroids);
        let (sums, counts) = sums(&rows, &nearest.ids, clusters.into());
        let counts = counts.unsqueeze(1);
        seen += &counts;
        let pull = (sums - &counts * centroids.to_kind(Kind::Double)) / seen.clamp_min(1.0);
        centroids = &centroids + pull.to_kind(rows.kind());
        done += 1;
        unseen += size;
        if unseen >= ROWS_BETWEEN_LOOKS * i64::from(clusters) {
            unseen = 0;
            let mut rng = stream(seed, Purpose::Relocation, u64::from(start) << 40 | batch);
            relocate_starved(&mut centroids, &mut seen, &rows, &mut rng);
        }
        let inertia = nearest.inertia / size as f64;
        let now = smoothed.map_or(inertia, |old: f64| old * (1.0 - smoothing) + inertia * smoothing);
        smoothed = Some(now);
        waited = if now < best { 0 } else { waited + 1 };
        best = best.min(now);
        if !watch(now * count as f64) {
            return Ok(None);
        }
        if waited >= PATIENCE {
            break;
        }
    }
    Ok(Some((centroids, done)))
}

/// Moves the centroids of starved clusters, the poorest first and at most as many as half the batch, to different rows of the batch drawn
/// at random, as scikit-learn's `reassignment_ratio` does. They then count as having seen what the poorest of the others has.
fn relocate_starved(centroids: &mut Tensor, seen: &mut Tensor, batch: &Tensor, rng: &mut impl Rng) {
    let counts = Vec::<f64>::try_from(seen.view(-1).to_device(Device::Cpu)).expect("invariant: a vector of float64");
    let limit = STARVED * counts.iter().copied().fold(0.0, f64::max);
    let mut starved: Vec<usize> = (0..counts.len()).filter(|cluster| counts[*cluster] < limit).collect();
    starved.sort_by(|a, b| counts[*a].total_cmp(&counts[*b]).then(a.cmp(b)));
    starved.truncate(batch.size()[0] as usize / 2);
    if starved.is_empty() {
        return;
    }
    let rows: Vec<i64> = sample(rng, batch.size()[0] as usize, starved.len())
        .into_iter()
        .map(|row| row as i64)
        .collect();
    let poorest = counts.iter().copied().filter(|count| *count >= limit).fold(f64::INFINITY, f64::min);
    let places: Vec<i64> = starved.into_iter().map(|cluster| cluster as i64).collect();
    let [places, rows] = [places, rows].map(|list| Tensor::from_slice(&list).to_device(batch.device()));
    *centroids = centroids.index_copy(0, &places, &batch.index_select(0, &rows));
    *seen = seen.index_fill(0, &places, poorest);
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

    #[test]
    fn starved_clusters_start_anew_from_rows_of_the_batch() {
        let batch = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([6, 2]) + 100.0;
        let mut centroids = Tensor::zeros([4, 2], (Kind::Float, Device::Cpu));
        let mut seen = Tensor::from_slice(&[500.0, 0.0, 40.0, 3.0]).view([4, 1]);
        relocate_starved(&mut centroids, &mut seen, &batch, &mut stream(0, Purpose::Relocation, 0));
        assert_eq!(Vec::<f64>::try_from(seen.view(-1)).unwrap(), [500.0, 40.0, 40.0, 40.0]);
        let rows = Vec::<f32>::try_from(centroids.view(-1)).unwrap();
        assert_eq!((&rows[..2], &rows[4..6]), ([0.0; 2].as_slice(), [0.0; 2].as_slice()));
        assert!(rows[2] >= 100.0 && rows[6] >= 100.0 && rows[2] != rows[6], "{rows:?}");
    }

    #[test]
    fn a_badly_placed_start_still_uses_every_cluster() {
        // All of the first rows are alike, the others far apart: seeds drawn from few rows would starve without relocation.
        let count = 4000;
        let places = Tensor::arange(count, (Kind::Int64, Device::Cpu));
        let far = places.remainder(8).to_kind(Kind::Float) * 50.0;
        let noise = (places.to_kind(Kind::Float) * 12.9898).sin();
        let features = Features::new(&Tensor::stack(&[far, noise], 1)).unwrap();
        let params = KmeansParams {
            mini_batch: 64,
            starts: 1,
            max_iterations: 5,
            ..KmeansParams::default()
        };
        let found = fit(&features, 8, &params, 1, &mut |_, _, _| true).unwrap().unwrap();
        let used: std::collections::BTreeSet<i64> = Vec::<i64>::try_from(&found.ids).unwrap().into_iter().collect();
        assert_eq!(used.len(), 8);
    }

    /// Rows that are made when they are asked for; no more than `most` at once.
    struct Made {
        count: i64,
        most: std::cell::Cell<i64>,
    }
    impl Made {
        fn row(place: i64) -> [f32; 2] {
            let noise = (place as f32 * 12.9898).sin();
            [(place % 5) as f32 * 10.0 + noise, noise * 0.5]
        }
    }
    impl RowSource for Made {
        fn count(&self) -> i64 {
            self.count
        }
        fn width(&self) -> i64 {
            2
        }
        fn piece(&self, first: i64, count: i64) -> Result<Features, ClusteringError> {
            self.gather(&(first..first + count).collect::<Vec<_>>())
        }
        fn gather(&self, places: &[i64]) -> Result<Features, ClusteringError> {
            self.most.set(self.most.get().max(places.len() as i64));
            let values: Vec<f32> = places.iter().flat_map(|place| Self::row(*place)).collect();
            Features::new(&Tensor::from_slice(&values).view([-1, 2]))
        }
    }

    #[test]
    fn rows_need_not_be_in_memory() {
        let made = Made {
            count: 100_000,
            most: std::cell::Cell::new(0),
        };
        let params = KmeansParams {
            mini_batch: 500,
            starts: 2,
            max_iterations: 1,
            ..KmeansParams::default()
        };
        let found = fit_mini_batch(&made, 5, &params, 0, &mut |_, _, _| true).unwrap().unwrap();
        assert!(made.most.get() <= 1 << 14, "{} rows at once", made.most.get());
        let ids = Vec::<i64>::try_from(&found.ids).unwrap();
        assert!(ids.iter().enumerate().all(|(row, id)| *id == ids[row % 5]));
        // the same rows in memory give the same bits
        let whole = made.piece(0, made.count).unwrap();
        let again = fit(&whole, 5, &params, 0, &mut |_, _, _| true).unwrap().unwrap();
        assert!(again.centroids.equal(&found.centroids) && again.ids.equal(&found.ids));
        assert_eq!(again.inertias, found.inertias);
    }
}
