//! How often neighbours share a cluster, estimated from a sample of the rows, for clusterings such
//! as k-means that need no neighbours themselves.

use crate::{ClusteringError, directions::directions, kmeans::RowSource};
use tch::{Kind, Tensor};

/// Rows that are compared with the sample at a time.
const PIECE: i64 = 1 << 12;

/// Share of a row's `k` nearest other rows, by cosine, that lie in its own cluster: the mean over
/// at most `sample` evenly spaced rows. `ids` are the clusters of all rows. It takes one pass over
/// the source; a row of length zero is equally far from all others.
///
/// # Errors
/// [`ClusteringError::Setting`] if there is not one id per row, or only one row; otherwise the
/// errors of [`RowSource::piece`].
pub fn sampled_agreement(
    source: &dyn RowSource,
    ids: &[i64],
    k: i64,
    sample: i64,
) -> Result<f64, ClusteringError> {
    let count = source.count();
    if ids.len() as i64 != count || count < 2 {
        return Err(ClusteringError::setting(
            "ids",
            ids.len(),
            format!("one for each of the {count} rows, and two"),
        ));
    }
    let _guard = tch::no_grad_guard();
    let (k, sample) = (k.clamp(1, count - 1), sample.clamp(1, count));
    let places: Vec<i64> = (0..sample).map(|index| index * count / sample).collect();
    let sampled = directions(source.gather(&places)?.rows());
    let places = Tensor::from_slice(&places).to_device(sampled.device());
    let mut best: Option<(Tensor, Tensor)> = None;
    for first in (0..count).step_by(PIECE as usize) {
        let rows = directions(source.piece(first, PIECE.min(count - first))?.rows());
        let columns =
            Tensor::arange_start(first, first + rows.size()[0], (Kind::Int64, rows.device()));
        let itself = places.unsqueeze(1).eq_tensor(&columns);
        let similarity = sampled
            .mm(&rows.tr())
            .masked_fill(&itself, f64::NEG_INFINITY);
        let columns = columns.expand_as(&similarity);
        let (similarity, columns) = match best {
            Some((before, at)) => (
                Tensor::cat(&[before, similarity], 1),
                Tensor::cat(&[at, columns], 1),
            ),
            None => (similarity, columns),
        };
        let (values, chosen) = similarity.topk(k.min(similarity.size()[1]), 1, true, true);
        best = Some((values, columns.gather(1, &chosen, false)));
    }
    let (_, nearest) = best.expect("invariant: there are rows");
    let ids = Tensor::from_slice(ids).to_device(sampled.device());
    let theirs = ids.index_select(0, &nearest.view(-1)).view_as(&nearest);
    let own = ids.index_select(0, &places).unsqueeze(1);
    Ok(theirs
        .eq_tensor(&own)
        .to_kind(Kind::Double)
        .mean(Kind::Double)
        .double_value(&[]))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{DEFAULT_TILE_BYTES, nearest},
        *,
    };
    use cedm_maths::Features;
    use tch::Device;

    #[test]
    fn a_sample_of_all_rows_is_exact_and_a_smaller_one_is_close() {
        let count = PIECE + 500;
        let noise =
            (Tensor::arange(count * 5, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43758.5453;
        let noise = (&noise - noise.floor() - 0.5)
            .view([count, 5])
            .to_kind(Kind::Float);
        let groups = Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(7);
        let centres = (Tensor::arange(35, (Kind::Float, Device::Cpu)) * 2.7)
            .cos()
            .view([7, 5]);
        let features = Features::new(
            "features",
            &(noise * 1.5 + centres.index_select(0, &groups)),
        )
        .unwrap();
        let ids = Vec::<i64>::try_from(&groups).unwrap();
        let found = nearest(&features, 10, DEFAULT_TILE_BYTES, &mut |_, _| true)
            .unwrap()
            .unwrap()
            .indices;
        let theirs = groups
            .index_select(0, &found.to_kind(Kind::Int64).view(-1))
            .view([count, 10]);
        let whole = theirs
            .eq_tensor(&groups.unsqueeze(1))
            .to_kind(Kind::Double)
            .mean(Kind::Double)
            .double_value(&[]);
        assert!(whole > 0.3 && whole < 0.99, "{whole}");
        let all = sampled_agreement(&features, &ids, 10, count).unwrap();
        // Equal similarities may come in another order.
        assert!((all - whole).abs() < 1e-3, "{all} {whole}");
        let some = sampled_agreement(&features, &ids, 10, 800).unwrap();
        assert!((some - whole).abs() < 0.05, "{some} {whole}");
    }

    #[test]
    fn few_rows_and_zero_rows_are_allowed() {
        let features = Features::new(
            "features",
            &Tensor::from_slice2(&[[1f32, 0.0], [0.0, 0.0], [2.0, 0.1]]),
        )
        .unwrap();
        assert!(
            (sampled_agreement(&features, &[0, 1, 0], 50, 1000).unwrap() - 1.0 / 3.0).abs() < 1e-12
        );
        assert!(sampled_agreement(&features, &[0, 1], 50, 1000).is_err());
    }
}
