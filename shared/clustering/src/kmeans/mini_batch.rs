//! Mini-batch k-means for sets that do not fit into memory (Sculley 2010).
//!
//! What is in memory at a time: one batch with its distances, a piece of the rows in the passes at
//! the beginning (mean) and the end (assignment), and id and distance of every row.

use super::{
    RowSource, check,
    rows::{assign, sums},
    seeding::plus_plus,
    source::{Centred, SourceAssignment},
};
use crate::{
    ClusteringError,
    kmeans::Fitted,
    random::{Purpose, stream},
};
use cedm_contract::kinds::cluster::KmeansParams;
use rand::Rng;
use tch::{Kind, Tensor};

/// Batches without improvement of the smoothed inertia after which a start ends: scikit-learn's
/// `max_no_improvement`.
const PATIENCE: u32 = 10;
/// Largest number of passes over all rows to fill empty clusters. Each pass costs a reading of the
/// whole set, and a filled cluster may empty another.
const MAX_REFILLS: u32 = 3;
/// Number of batches of rows that the initial centroids are chosen from: scikit-learn's
/// `init_size`.
const SEEDING_BATCHES: i64 = 3;

/// Clusters the rows of `source` by batches of `params.mini_batch` rows; the start whose centroids
/// have the lowest inertia over all rows wins. `progress` is called with (starts done, starts in
/// all, inertia so far); if it returns false the result is `None`.
///
/// # Errors
/// [`ClusteringError::Setting`] for a setting that is out of range or does not fit the data;
/// otherwise the errors of [`RowSource::piece`].
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
        let mut on_batch = |inertia: f64| progress(start, params.starts, inertia);
        let Some((centroids, iterations)) =
            one_start(&rows, clusters, params, seed, start, &mut on_batch)?
        else {
            return Ok(None);
        };
        let (centroids, SourceAssignment { ids, inertia, .. }) =
            assign_all(&rows, centroids, clusters)?;
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

/// One start: the (centred) centroids and the number of batches, or `None` if `on_batch` returned
/// false.
///
/// Each batch moves the centroids that are nearest to its rows towards them, with a learning rate
/// of one over the number of rows that a centroid has received so far (Sculley 2010). It ends when
/// the smoothed inertia of the batches has not improved for [`PATIENCE`] of them, or after
/// `max_iterations` passes over the data.
fn one_start(
    data: &Centred<'_>,
    clusters: u32,
    params: &KmeansParams,
    seed: u64,
    start: u32,
    on_batch: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<(Tensor, u32)>, ClusteringError> {
    let (count, size) = (data.count(), i64::from(params.mini_batch).min(data.count()));
    let draw = |batch: u64, rows: i64| {
        // Index of the stream: the start in the upper 24 bits, the batch in the lower 40.
        let mut rng = stream(seed, Purpose::MiniBatch, u64::from(start) << 40 | batch);
        let places: Vec<i64> = (0..rows).map(|_| rng.random_range(0..count)).collect();
        data.gather(&places)
    };
    let (sample, squares) = draw(0, (SEEDING_BATCHES * size).max(i64::from(clusters)))?;
    let mut centroids = plus_plus(&sample, &squares, clusters, seed, start);
    let mut received = Tensor::zeros([clusters.into(), 1], (Kind::Double, centroids.device()));
    let batches = u64::from(params.max_iterations) * (count as u64).div_ceil(size as u64);
    // Weight of a new batch in the smoothed inertia, as in scikit-learn: an average over about as
    // many batches as make one pass over the data.
    let smoothing = (2.0 * size as f64 / (count as f64 + 1.0)).min(1.0);
    let (mut smoothed, mut best, mut waited, mut done) = (None, f64::INFINITY, 0, 0);
    for batch in 1..=batches {
        let (sample, squares) = draw(batch, size)?;
        let nearest = assign(&sample, &squares, &centroids);
        let (sums, counts) = sums(&sample, &nearest.ids, clusters.into());
        let counts = counts.unsqueeze(1);
        received += &counts;
        let shift = (sums - &counts * centroids.to_kind(Kind::Double)) / received.clamp_min(1.0);
        centroids = &centroids + shift.to_kind(sample.kind());
        done += 1;
        let inertia = nearest.inertia / size as f64;
        let now = smoothed.map_or(inertia, |old: f64| {
            old * (1.0 - smoothing) + inertia * smoothing
        });
        smoothed = Some(now);
        waited = if now < best { 0 } else { waited + 1 };
        best = best.min(now);
        if !on_batch(now * count as f64) {
            return Ok(None);
        }
        if waited >= PATIENCE {
            break;
        }
    }
    Ok(Some((centroids, done)))
}

/// The nearest centroid of every row, and the centroids. An empty cluster (of two equal initial
/// centroids, say) moves to the row that is farthest from its own centroid, as in Lloyd's
/// iterations, unless every row lies on its centroid.
fn assign_all(
    rows: &Centred<'_>,
    mut centroids: Tensor,
    clusters: u32,
) -> Result<(Tensor, SourceAssignment), ClusteringError> {
    let mut assigned = rows.assign(&centroids)?;
    for _ in 0..MAX_REFILLS {
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
        let farthest =
            Vec::<i64>::try_from(order.narrow(0, 0, count)).expect("invariant: a vector of int64");
        let (chosen, _) = rows.gather(&farthest)?;
        let places = empty.narrow(0, 0, count).to_device(centroids.device());
        centroids = centroids.index_copy(0, &places, &chosen);
        assigned = rows.assign(&centroids)?;
    }
    Ok((centroids, assigned))
}

#[cfg(test)]
mod tests {
    use super::{super::fit, *};
    use cedm_maths::Features;
    use tch::Device;

    #[test]
    fn inertia_is_close_to_that_of_full_iterations() {
        let values = (Tensor::arange(8000, (Kind::Float, Device::Cpu)) * 12.9898)
            .sin()
            .view([2000, 4]);
        let centre = Tensor::arange(2000, (Kind::Float, Device::Cpu))
            .remainder(10.0)
            .view([2000, 1])
            * Tensor::from_slice(&[3f32, -2.0, 5.0, 1.0]);
        let features = Features::new("features", &(values + centre)).unwrap();
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
            let features = Features::new("features", features).unwrap();
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

    /// A source that computes rows on request and records the largest request in `most`.
    struct ComputedRows {
        count: i64,
        most: std::cell::Cell<i64>,
    }
    impl ComputedRows {
        fn row(place: i64) -> [f32; 2] {
            let noise = (place as f32 * 12.9898).sin();
            [(place % 5) as f32 * 10.0 + noise, noise * 0.5]
        }
    }
    impl RowSource for ComputedRows {
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
            let rows = Tensor::from_slice(&values).view([-1, 2]);
            Ok(Features::new("features", &rows)?)
        }
    }

    #[test]
    fn rows_need_not_be_in_memory() {
        let made = ComputedRows {
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
