//! [`HeadShape`]: the sizes of a stack of heads, and the counts that follow from them.

use crate::ClusteringError;
use cedm_contract::kinds::cluster::TemiParams;

/// Sizes of a stack of identical heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Number of heads, H.
    pub heads: i64,
    /// Number of features per row, D.
    pub inputs: i64,
    /// Number of linear maps before the last layer.
    pub layers: i64,
    /// Width between those maps.
    pub hidden: i64,
    /// Width of the input of the last layer.
    pub bottleneck: i64,
    /// Number of clusters, C.
    pub clusters: i64,
}

impl HeadShape {
    /// Sizes from the parameters, the width of the features and C.
    ///
    /// # Errors
    /// [`ClusteringError::Setting`] if one of them is zero.
    pub fn new(params: &TemiParams, inputs: i64, clusters: u32) -> Result<Self, ClusteringError> {
        let sizes = [
            ("heads", params.heads),
            ("layers", params.layers),
            ("hidden", params.hidden),
            ("bottleneck", params.bottleneck),
        ];
        if let Some(&(setting, _)) = sizes.iter().find(|&&(_, size)| size == 0) {
            return Err(ClusteringError::setting(setting, 0, "at least 1"));
        }
        Ok(Self {
            heads: params.heads.into(),
            inputs,
            layers: params.layers.into(),
            hidden: params.hidden.into(),
            bottleneck: params.bottleneck.into(),
            clusters: clusters.into(),
        })
    }
    /// (inputs, outputs) of each linear map before the last layer.
    pub fn maps(&self) -> Vec<(i64, i64)> {
        let input = |layer: i64| if layer == 0 { self.inputs } else { self.hidden };
        let output = |layer: i64| {
            if layer + 1 == self.layers {
                self.bottleneck
            } else {
                self.hidden
            }
        };
        (0..self.layers)
            .map(|layer| (input(layer), output(layer)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_sizes_are_those_of_the_paper() {
        let shape = HeadShape::new(&TemiParams::default(), 768, 100).unwrap();
        assert_eq!(shape.maps(), [(768, 512), (512, 256)]);
    }

    #[test]
    fn a_single_layer_maps_features_to_the_bottleneck() {
        let params = TemiParams {
            layers: 1,
            bottleneck: 24,
            ..TemiParams::default()
        };
        assert_eq!(HeadShape::new(&params, 48, 12).unwrap().maps(), [(48, 24)]);
    }

    #[test]
    fn zero_sizes_are_rejected() {
        let params = TemiParams {
            hidden: 0,
            ..TemiParams::default()
        };
        assert_eq!(
            HeadShape::new(&params, 48, 12).unwrap_err().to_string(),
            "hidden is 0, expected at least 1"
        );
    }
}
