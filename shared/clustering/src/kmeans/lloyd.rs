//! Lloyd's algorithm from given initial centroids.

use super::rows::{Nearest, Rows};
use tch::{Device, Kind, Tensor};

/// The result of one run of Lloyd's algorithm.
#[derive(Debug)]
pub struct LloydRun {
    /// Final centroids \[C, D\], centred like the rows.
    pub centroids: Tensor,
    /// Index of the nearest final centroid of each row, i64 \[N\] on the CPU.
    pub ids: Tensor,
    /// Sum of squared distances to the final centroids.
    pub inertia: f64,
    /// Inertia of the assignment of each iteration, before its centroids moved.
    pub inertia_by_iteration: Vec<f64>,
    /// Number of iterations until convergence or the limit.
    pub iterations: u32,
}

/// Assigns rows and averages clusters until no id changes, or the sum over centroids of their
/// squared shift is at most `tolerance`, or `max_iterations` are done; a last assignment then makes
/// ids match the final centroids. `on_iteration` is called with each inertia and stops the run by
/// returning false.
pub fn lloyd(
    rows: &Rows,
    initial: &Tensor,
    max_iterations: u32,
    tolerance: f64,
    on_iteration: &mut dyn FnMut(f64) -> bool,
) -> LloydRun {
    let mut centroids = initial.shallow_clone();
    let mut inertia_by_iteration = Vec::new();
    let mut previous: Option<Tensor> = None;
    let mut fixed = None;
    while inertia_by_iteration.len() < max_iterations as usize {
        let nearest = rows.assign(&centroids);
        inertia_by_iteration.push(nearest.inertia);
        // The same assignment twice: its means are the centroids already.
        if previous
            .as_ref()
            .is_some_and(|previous| previous.equal(&nearest.ids))
        {
            fixed = Some(nearest.ids);
            break;
        }
        let moved = averages(rows, &centroids, &nearest);
        let shift = (&moved - &centroids)
            .square()
            .sum(Kind::Double)
            .double_value(&[]);
        centroids = moved;
        previous = Some(nearest.ids);
        if !on_iteration(nearest.inertia) || (tolerance > 0.0 && shift <= tolerance) {
            break;
        }
    }
    // After a stop by tolerance or by the limit, centroids have moved since the last assignment.
    let ids = fixed.unwrap_or_else(|| rows.assign(&centroids).ids);
    let inertia = rows.inertia(&centroids, &ids);
    let iterations = inertia_by_iteration.len() as u32;
    LloydRun {
        centroids,
        ids: ids.to_device(Device::Cpu),
        inertia,
        inertia_by_iteration,
        iterations,
    }
}

/// Means of the clusters \[C, D\]. As in scikit-learn, an empty cluster takes the row that is
/// farthest from its own centroid (the next empty one the next farthest row), which leaves the
/// cluster it was in.
fn averages(rows: &Rows, centroids: &Tensor, nearest: &Nearest) -> Tensor {
    let clusters = centroids.size()[0];
    let (sums, counts) = rows.sums(&nearest.ids, clusters);
    let empty = Vec::<i64>::try_from(counts.eq(0.0).nonzero().view(-1).to_device(Device::Cpu))
        .expect("invariant: indices");
    if !empty.is_empty() {
        // A stable sort: of equally far rows the first, on every device.
        let (_, farthest) = nearest.distances.sort_stable(true, 0, true);
        let mut donors = (0..farthest.size()[0]).map(|rank| farthest.int64_value(&[rank]));
        for cluster in empty {
            // A cluster of one row would become empty itself.
            let Some((row, old)) = donors
                .by_ref()
                .map(|row| (row, nearest.ids.int64_value(&[row])))
                .find(|&(_, old)| counts.double_value(&[old]) > 1.0)
            else {
                break;
            };
            let moved = rows.centred().get(row).to_kind(Kind::Double);
            let _ = sums.get(old).g_sub_(&moved);
            sums.get(cluster).copy_(&moved);
            let _ = counts.get(old).g_sub_scalar_(1.0);
            let _ = counts.get(cluster).fill_(1.0);
        }
    }
    // A cluster is still empty if there are too few rows: its centroid stays where it was.
    let stays = counts.eq(0.0).unsqueeze(1);
    let means = (sums / counts.unsqueeze(1).clamp_min(1.0)).to_kind(centroids.kind());
    centroids.where_self(&stays, &means)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{fit, plus_plus},
        *,
    };
    use cedm_contract::kinds::cluster::KmeansParams;
    use cedm_maths::Features;

    fn blobs() -> Features {
        let noise = (Tensor::arange(600, (Kind::Float, Device::Cpu)) * 12.9898)
            .sin()
            .view([300, 2]);
        let centre = Tensor::arange(300, (Kind::Float, Device::Cpu))
            .remainder(3.0)
            .view([300, 1])
            * 10.0;
        Features::new("features", &(noise + centre + 1000.0)).unwrap()
    }

    #[test]
    fn well_separated_clusters_are_found() {
        let fitted = fit(&blobs(), 3, &KmeansParams::default(), 0, &mut |_, _, _| {
            true
        })
        .unwrap()
        .unwrap();
        let ids = Vec::<i64>::try_from(&fitted.ids).unwrap();
        assert!(
            (0..300).all(|row| ids[row] == ids[row % 3])
                && ids[0] != ids[1]
                && ids[1] != ids[2]
                && ids[0] != ids[2]
        );
        assert_eq!(fitted.inertias.len(), 10);
        assert!((fitted.centroids.mean(Kind::Double).double_value(&[]) - 1010.0).abs() < 0.1);
    }

    #[test]
    fn inertia_never_rises_and_the_result_is_a_fixed_point() {
        let rows = Rows::new(&blobs());
        let run = lloyd(
            &rows,
            &plus_plus(rows.centred(), rows.squares(), 7, 3, 0),
            300,
            0.0,
            &mut |_| true,
        );
        assert!(
            run.inertia_by_iteration
                .windows(2)
                .all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6)),
            "{:?}",
            run.inertia_by_iteration
        );
        let again = lloyd(&rows, &run.centroids, 1, 0.0, &mut |_| true);
        assert!(again.ids.equal(&run.ids));
    }

    #[test]
    fn an_empty_cluster_moves_to_the_farthest_row() {
        let features = Features::new(
            "features",
            &Tensor::from_slice2(&[[0f64, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]),
        )
        .unwrap();
        let rows = Rows::new(&features);
        let initial = rows.centred_centroids(&Tensor::from_slice2(&[[0f64, 0.0], [500.0, 500.0]]));
        let run = lloyd(&rows, &initial, 300, 0.0, &mut |_| true);
        assert_eq!(Vec::<i64>::try_from(&run.ids).unwrap(), [0, 0, 0, 1]);
        assert!(
            (rows.uncentred(&run.centroids).get(1) - 9.0)
                .abs()
                .max()
                .double_value(&[])
                < 1e-12
        );
    }

    #[test]
    fn equal_rows_leave_clusters_empty_and_centroids_finite() {
        let features = Features::new(
            "features",
            &Tensor::ones([6, 2], (Kind::Float, Device::Cpu)),
        )
        .unwrap();
        let fitted = fit(&features, 3, &KmeansParams::default(), 0, &mut |_, _, _| {
            true
        })
        .unwrap()
        .unwrap();
        assert_eq!(fitted.inertia, 0.0);
        assert_eq!(fitted.centroids.isfinite().all().int64_value(&[]), 1);
    }

    #[test]
    fn settings_out_of_range_are_rejected() {
        let check = |clusters, params: KmeansParams, expect: &str| {
            let error = fit(&blobs(), clusters, &params, 0, &mut |_, _, _| true)
                .unwrap_err()
                .to_string();
            assert_eq!(error, expect);
        };
        check(
            1,
            KmeansParams::default(),
            "clusters is 1, expected at least 2",
        );
        check(
            301,
            KmeansParams::default(),
            "clusters is 301, expected at most the number of images, 300",
        );
        check(
            3,
            KmeansParams {
                starts: 0,
                ..KmeansParams::default()
            },
            "starts is 0, expected at least 1",
        );
        check(
            30,
            KmeansParams {
                mini_batch: 20,
                ..KmeansParams::default()
            },
            "mini_batch is 20, expected 0, or at least the 30 clusters",
        );
    }
}
