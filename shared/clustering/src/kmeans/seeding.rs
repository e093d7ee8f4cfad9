//! Greedy k-means++: initial centroids far from each other (Arthur and Vassilvitskii 2007, with
//! several trials per centroid as in scikit-learn).

use super::rows::squared_norms;
use crate::random::{Purpose, stream};
use rand::Rng;
use tch::{Device, Kind, Tensor};

/// Initial centroids \[C, D\], chosen among the rows \[N, D\] with squared norms `squares` \[N\].
///
/// The first is uniform; each next one is the best of 2 + ⌊ln C⌋ rows (scikit-learn's number) drawn
/// with probability proportional to the squared distance from the centroids before it, best meaning
/// the lowest inertia. The draws depend on seed and start alone.
pub fn plus_plus(rows: &Tensor, squares: &Tensor, clusters: u32, seed: u64, start: u32) -> Tensor {
    let mut rng = stream(seed, Purpose::Seeding, start.into());
    let (count, device) = (rows.size()[0], rows.device());
    let trials = 2 + f64::from(clusters).ln() as i64;
    let transposed = rows.tr();
    let distances = |chosen: &Tensor| -> Tensor {
        let chosen_squares = squared_norms(chosen).unsqueeze(1);
        ((chosen.mm(&transposed) * -2.0 + chosen_squares) + squares.unsqueeze(0)).clamp_min(0.0)
    };
    let first = rows.narrow(0, rng.random_range(0..count), 1);
    let mut closest = distances(&first);
    let mut chosen = vec![first];
    for _ in 1..clusters {
        // Inverse transform sampling from the cumulative distances, in float64: a float32 sum over
        // many rows would leave some of them without any probability. On the CPU, because the order
        // of a running sum on a GPU, and so its bits, differs from run to run.
        let cumulative = closest
            .squeeze_dim(0)
            .to_kind(Kind::Double)
            .to_device(Device::Cpu)
            .cumsum(0, Kind::Double);
        let draws: Vec<f64> = (0..trials).map(|_| rng.random()).collect();
        let draws = Tensor::from_slice(&draws) * cumulative.narrow(0, count - 1, 1);
        let places = draws
            .searchsorted(&cumulative, false, false, "left", None::<&Tensor>)
            .clamp_max(count - 1)
            .to_device(device);
        let candidates = rows.index_select(0, &places);
        // The distances that every row would have to its nearest centroid with each candidate;
        // their sums in float64 decide.
        let reduced = distances(&candidates).minimum(&closest);
        let best = reduced
            .sum_dim_intlist([1].as_slice(), false, Kind::Double)
            .argmin(0, true);
        closest = reduced.index_select(0, &best);
        chosen.push(candidates.index_select(0, &best));
    }
    Tensor::cat(&chosen, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_distant_clusters_gets_one_centroid() {
        let rows = Tensor::arange(400, (Kind::Double, Device::Cpu))
            .remainder(8.0)
            .view([400, 1])
            * 1000.0;
        let chosen = plus_plus(&rows, &squared_norms(&rows), 8, 1, 0);
        let (sorted, _) = chosen.view(-1).sort(0, false);
        assert_eq!(
            Vec::<f64>::try_from(sorted).unwrap(),
            (0..8).map(|i| f64::from(i) * 1000.0).collect::<Vec<_>>()
        );
    }

    #[test]
    fn each_seed_and_start_has_its_own_repeatable_centroids() {
        let rows = (Tensor::arange(600, (Kind::Float, Device::Cpu)) * 1.7)
            .sin()
            .view([200, 3]);
        let seeded = |seed, start| plus_plus(&rows, &squared_norms(&rows), 5, seed, start);
        assert!(seeded(1, 0).equal(&seeded(1, 0)));
        assert!(!seeded(1, 0).equal(&seeded(1, 1)) && !seeded(1, 0).equal(&seeded(2, 0)));
    }
}
