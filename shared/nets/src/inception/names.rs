//! Other names of the same weights: those of pytorch-fid's wrapper and of NVIDIA's detector, which
//! follows the TensorFlow graph of 2015-12-05.

use crate::Weights;
use tch::Tensor;

/// pytorch-fid groups the modules into four blocks: their names there and here.
const WRAPPER: [(&str, &str); 16] = [
    ("blocks.0.0", "Conv2d_1a_3x3"),
    ("blocks.0.1", "Conv2d_2a_3x3"),
    ("blocks.0.2", "Conv2d_2b_3x3"),
    ("blocks.1.0", "Conv2d_3b_1x1"),
    ("blocks.1.1", "Conv2d_4a_3x3"),
    ("blocks.2.0", "Mixed_5b"),
    ("blocks.2.1", "Mixed_5c"),
    ("blocks.2.2", "Mixed_5d"),
    ("blocks.2.3", "Mixed_6a"),
    ("blocks.2.4", "Mixed_6b"),
    ("blocks.2.5", "Mixed_6c"),
    ("blocks.2.6", "Mixed_6d"),
    ("blocks.2.7", "Mixed_6e"),
    ("blocks.3.0", "Mixed_7a"),
    ("blocks.3.1", "Mixed_7b"),
    ("blocks.3.2", "Mixed_7c"),
];

const STEM: [(&str, &str); 5] = [
    ("conv", "Conv2d_1a_3x3"),
    ("conv_1", "Conv2d_2a_3x3"),
    ("conv_2", "Conv2d_2b_3x3"),
    ("conv_3", "Conv2d_3b_1x1"),
    ("conv_4", "Conv2d_4a_3x3"),
];

/// Blocks of the detector, `mixed` being the first and `mixed_10` the last.
const MIXED: [&str; 11] = [
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c",
];

/// Branches of a block: names in the detector, names here.
fn branches(block: &str) -> &'static [(&'static str, &'static str)] {
    // The detector names towers by their order in the graph, torchvision by their kernels.
    match &block[..7] {
        "Mixed_5" => &[
            ("conv", "branch1x1"),
            ("tower.conv", "branch5x5_1"),
            ("tower.conv_1", "branch5x5_2"),
            ("tower_1.conv", "branch3x3dbl_1"),
            ("tower_1.conv_1", "branch3x3dbl_2"),
            ("tower_1.conv_2", "branch3x3dbl_3"),
            ("tower_2.conv", "branch_pool"),
        ],
        "Mixed_6" if block == "Mixed_6a" => &[
            ("conv", "branch3x3"),
            ("tower.conv", "branch3x3dbl_1"),
            ("tower.conv_1", "branch3x3dbl_2"),
            ("tower.conv_2", "branch3x3dbl_3"),
        ],
        "Mixed_6" => &[
            ("conv", "branch1x1"),
            ("tower.conv", "branch7x7_1"),
            ("tower.conv_1", "branch7x7_2"),
            ("tower.conv_2", "branch7x7_3"),
            ("tower_1.conv", "branch7x7dbl_1"),
            ("tower_1.conv_1", "branch7x7dbl_2"),
            ("tower_1.conv_2", "branch7x7dbl_3"),
            ("tower_1.conv_3", "branch7x7dbl_4"),
            ("tower_1.conv_4", "branch7x7dbl_5"),
            ("tower_2.conv", "branch_pool"),
        ],
        _ if block == "Mixed_7a" => &[
            ("tower.conv", "branch3x3_1"),
            ("tower.conv_1", "branch3x3_2"),
            ("tower_1.conv", "branch7x7x3_1"),
            ("tower_1.conv_1", "branch7x7x3_2"),
            ("tower_1.conv_2", "branch7x7x3_3"),
            ("tower_1.conv_3", "branch7x7x3_4"),
        ],
        _ => &[
            ("conv", "branch1x1"),
            ("tower_conv", "branch3x3_1"),
            ("tower_mixed_conv", "branch3x3_2a"),
            ("tower_mixed_conv_1", "branch3x3_2b"),
            ("tower_1_conv", "branch3x3dbl_1"),
            ("tower_1_conv_1", "branch3x3dbl_2"),
            ("tower_1_mixed_conv", "branch3x3dbl_3a"),
            ("tower_1_mixed_conv_1", "branch3x3dbl_3b"),
            ("tower_2_conv", "branch_pool"),
        ],
    }
}

/// Every convolution: its name in the detector, its name here.
fn convolutions() -> Vec<(String, String)> {
    // The stem's layers have no block around them.
    let mut all: Vec<_> = STEM
        .iter()
        .map(|(theirs, ours)| (format!("layers.{theirs}"), (*ours).to_owned()))
        .collect();
    for (index, block) in MIXED.iter().enumerate() {
        let theirs = if index == 0 {
            "mixed".to_owned()
        } else {
            format!("mixed_{index}")
        };
        all.extend(branches(block).iter().map(|(branch, name)| {
            (
                format!("layers.{theirs}.{branch}"),
                format!("{block}.{name}"),
            )
        }));
    }
    all
}

/// The weights under torchvision's names, from any of the three sets of names.
pub(super) fn normalised(weights: &Weights) -> Weights {
    // Only the detector has such names.
    if weights.has_below("layers.") {
        from_detector(weights)
    } else {
        from_wrapper(weights)
    }
}

fn from_wrapper(weights: &Weights) -> Weights {
    weights.renamed(|name| {
        // Followed by a dot, or `blocks.2.1` would fit `blocks.2.10`.
        let block = WRAPPER.iter().find_map(|(theirs, ours)| {
            Some(format!(
                "{ours}.{}",
                name.strip_prefix(theirs)?.strip_prefix('.')?
            ))
        });
        Some(block.unwrap_or_else(|| name.to_owned()))
    })
}

/// The detector's normalisations have no factor, since TensorFlow's graph has none: it is 1 here.
fn from_detector(weights: &Weights) -> Weights {
    let mut out = weights.renamed(|name| match name {
        "output.weight" => Some("fc.weight".to_owned()),
        "output.bias" => Some("fc.bias".to_owned()),
        _ => None,
    });
    for (theirs, ours) in convolutions() {
        // The detector calls the shift of a normalisation `beta`, as TensorFlow does.
        for (part, name) in [
            ("weight", "conv.weight"),
            ("beta", "bn.bias"),
            ("mean", "bn.running_mean"),
            ("var", "bn.running_var"),
        ] {
            if let Some(tensor) = weights.get(&format!("{theirs}.{part}")) {
                out.insert(format!("{ours}.{name}"), tensor.shallow_clone());
            }
        }
        if let Some(beta) = weights.get(&format!("{theirs}.beta")) {
            out.insert(format!("{ours}.bn.weight"), Tensor::ones_like(beta));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_convolution_has_one_name_on_each_side() {
        let mut all = convolutions();
        assert_eq!(all.len(), 94);
        assert!(all.contains(&(
            "layers.mixed_4.tower.conv_1".to_owned(),
            "Mixed_6b.branch7x7_2".to_owned()
        )));
        assert!(all.contains(&(
            "layers.mixed_10.tower_1_mixed_conv".to_owned(),
            "Mixed_7c.branch3x3dbl_3a".to_owned()
        )));
        all.sort_by(|a, b| a.1.cmp(&b.1));
        assert!(all.windows(2).all(|pair| pair[0].1 != pair[1].1));
    }
}
