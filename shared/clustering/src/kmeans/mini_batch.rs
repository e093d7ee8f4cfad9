//! Mini-batch k-means for sets that do not fit into memory (Sculley 2010).
//!
//! In memory at a time: one batch, its distances, a piece of the rows in the passes at the
//! beginning (mean) and the end (assignment), and the ids with their distances.

use super::{
    RowSource, check,
    rows::{assign, sums},
    seeding::plus_plus,
    source::{Assigned, Centred},
};
use crate::{
    ClusteringError,
    kmeans::Fitted,
    random::{Purpose, stream},
};
use cedm_contract::kinds::cluster::KmeansParams;
use rand::Rng;
use tch::{Kind, Tensor};

/// Batches without improvement of the smoothed inertia after which to stop.
const PATIENCE: u32 = 10;
/// Passes over all rows to fill clusters that none of them is nearest to.
const MOST_FILLINGS: u32 = 3;
/// Batches' worth of rows that the initial centroids are chosen from.
const SEEDING_BATCHES: i64 = 3;

/// Clusters the rows of `source` by batches of `params.mini_batch`; the start whose centroids have
/// the lowest inertia over all rows wins. `progress` hears (starts done, in all, inertia so far)
/// and says whether to go on; the result is `None` when it said no.
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
        return Err(ClusteringError::setting(
            "mini_batch",
            0,
            "at least the number of clusters",
        ));
    }
    let _guard = tch::no_grad_guard();
    let rows = Centred::new(source)?;
    let mut best: Option<Fitted> = None;
    let mut inertias = Vec::new();
    for start in 0..params.starts {
        let mut watch = |inertia: f64| progress(start, params.starts, inertia);
        let Some((centroids, iterations)) =
            one_start(&rows, clusters, params, seed, start, &mut watch)?
        else {
            return Ok(None);
        };
        let (centroids, Assigned { ids, inertia, .. }) = assign_all(&rows, centroids, clusters)?;
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

/// Each batch pulls its nearest centroids towards it, by one over the rows that a centroid has
/// seen. Stops when the smoothed inertia of the batches has not improved for ten of them, or after
/// `max_iterations` passes over the data. Returns (centred) centroids and the number of batches.
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
    let (mut smoothed, mut best, mut waited, mut done) = (None, f64::INFINITY, 0, 0);
    for batch in 1..=batches {
        let (sample, squares) = draw(batch, size)?;
        let nearest = assign(&sample, &squares, &centroids);
        let (sums, counts) = sums(&sample, &nearest.ids, clusters.into());
        let counts = counts.unsqueeze(1);
        seen += &counts;
        let pull = (sums - &counts * centroids.to_kind(Kind::Double)) / seen.clamp_min(1.0);
        centroids = &centroids + pull.to_kind(sample.kind());
        done += 1;
        let inertia = nearest.inertia / size as f64;
        let now = smoothed.map_or(inertia, |old: f64| {
            old * (1.0 - smoothing) + inertia * smoothing
        });
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

/// The nearest centroid of every row. Clusters that stay empty (seeds that were alike, say) move to
/// the rows furthest from their own centroids, as those of full iterations do; where every row lies
/// on its centroid, none does.
fn assign_all(
    rows: &Centred<'_>,
    mut centroids: Tensor,
    clusters: u32,
) -> Result<(Tensor, Assigned), ClusteringError> {
    let mut assigned = rows.assign(&centroids)?;
    for _ in 0..MOST_FILLINGS {
        let empty = assigned
            .ids
            .bincount::<Tensor>(None, clusters.into())
            .eq(0)
            .nonzero()
            .view(-1);
        let apart = assigned.distances.gt(0.0).sum(Kind::Int64).int64_value(&[]);
        let count = empty.size()[0].min(apart);
        if count == 0 {
            break;
        }
        let (_, order) = assigned.distances.sort_stable(true, 0, true);
        let furthest =
            Vec::<i64>::try_from(order.narrow(0, 0, count)).expect("invariant: a vector of int64");
        let (chosen, _) = rows.draw(&furthest)?;
        let places = empty.narrow(0, 0, count).to_device(centroids.device());
        centroids = centroids.index_copy(0, &places, &chosen);
        assigned = rows.assign(&centroids)?;
    }
    Ok((centroids, assigned))
}

#[cfg(test)]
mod tests {
    use super::{super::fit, *};
    use crate::Features;
    use tch::Device;

    #[test]
    fn comes_close_to_full_iterations() {
        let values = (Tensor::arange(8000, (Kind::Float, Device::Cpu)) * 12.9898)
            .sin()
            .view([2000, 4]);
        let centre = Tensor::arange(2000, (Kind::Float, Device::Cpu))
            .remainder(10.0)
            .view([2000, 1])
            * Tensor::from_slice(&[3f32, -2.0, 5.0, 1.0]);
        let features = Features::new(&(values + centre)).unwrap();
        let inertia = |mini_batch| {
            let params = KmeansParams {
                mini_batch,
                starts: 3,
                ..KmeansParams::default()
            };
            fit(&features, 10, &params, 0, &mut |_, _, _| true)
                .unwrap()
                .unwrap()
                .inertia
        };
        let (full, mini) = (inertia(0), inertia(256));
        assert!(
            mini >= full * 0.999 && mini < full * 1.1,
            "{mini} against {full}"
        );
    }

    #[test]
    fn seeds_that_are_alike_do_not_stay_empty() {
        // Nine rows of ten are the same: the rows that seeds are chosen from hold fewer different
        // ones than there are clusters.
        let count = 4000;
        let places = Tensor::arange(count, (Kind::Int64, Device::Cpu));
        let apart = places.remainder(10).eq(3).to_kind(Kind::Float).unsqueeze(1);
        let waves = (Tensor::arange(count * 3, (Kind::Float, Device::Cpu)) * 12.9898)
            .sin()
            .view([count, 3]);
        let params = KmeansParams {
            mini_batch: 64,
            starts: 1,
            max_iterations: 5,
            ..KmeansParams::default()
        };
        let used = |features: &Tensor| {
            let features = Features::new(features).unwrap();
            let found = fit(&features, 60, &params, 1, &mut |_, _, _| true)
                .unwrap()
                .unwrap();
            let sizes = Vec::<i64>::try_from(found.ids.bincount::<Tensor>(None, 60)).unwrap();
            sizes.iter().filter(|size| **size > 0).count()
        };
        assert_eq!(used(&(waves * &apart * 10.0)), 60);
        assert_eq!(
            used(&apart.expand([count, 3], false)),
            2,
            "no more clusters than rows that differ"
        );
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
        let found = fit_mini_batch(&made, 5, &params, 0, &mut |_, _, _| true)
            .unwrap()
            .unwrap();
        assert!(
            made.most.get() <= 1 << 14,
            "{} rows at once",
            made.most.get()
        );
        let ids = Vec::<i64>::try_from(&found.ids).unwrap();
        assert!(ids.iter().enumerate().all(|(row, id)| *id == ids[row % 5]));
        // the same rows in memory give the same bits
        let whole = made.piece(0, made.count).unwrap();
        let again = fit(&whole, 5, &params, 0, &mut |_, _, _| true)
            .unwrap()
            .unwrap();
        assert!(again.centroids.equal(&found.centroids) && again.ids.equal(&found.ids));
        assert_eq!(again.inertias, found.inertias);
    }
}
