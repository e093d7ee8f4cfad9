//! Which network weights are of, for the message that they do not fit another.

use crate::{
    Architecture, CifarResnet, Weights, clip::ClipVision, extractors, inception::Inception,
    vit::Vit, weights::Encoder,
};

/// Names and shapes of the tensors of a network.
type Blueprint = Vec<(String, Vec<i64>)>;

/// The network whose tensors are most like these weights, in words: an extractor, or the one that
/// EDM samples with. `None` where less than half of any one's tensors are there.
pub fn nearest(weights: &Weights) -> Option<String> {
    let backbone = weights.backbone(Encoder::Teacher);
    let found: Vec<(&str, Blueprint, Weights)> = extractors()
        .filter_map(|candidate| {
            let (blueprint, theirs) = match candidate.architecture {
                Architecture::Vit(config) => (Vit::blueprint(config), backbone.shallow_clone()),
                Architecture::Clip(config) => {
                    let images = if backbone.has_below("visual.") {
                        backbone.below("visual.")
                    } else {
                        backbone.shallow_clone()
                    };
                    (ClipVision::blueprint(config), images)
                }
                Architecture::CifarResnet { blocks } => {
                    (CifarResnet::blueprint(blocks), backbone.shallow_clone())
                }
                Architecture::InceptionFid(_) => {
                    (Inception::blueprint(), Inception::upstream(weights))
                }
                Architecture::Pixels
                | Architecture::Pca
                | Architecture::VitOfFile
                | Architecture::TorchScript => return None,
            };
            Some((candidate.row.name, blueprint, theirs))
        })
        .collect();
    let best = |fits: &dyn Fn(&Weights, &str, &[i64]) -> bool| {
        let counted = found.iter().filter_map(|(name, blueprint, theirs)| {
            let all = blueprint.len();
            let count = blueprint
                .iter()
                .filter(|(name, shape)| fits(theirs, name, shape))
                .count();
            (2 * count > all).then_some((count, all, *name))
        });
        counted.max_by_key(|(count, all, _)| (count * 1000 / all, *count))
    };
    let same = |theirs: &Weights, name: &str, shape: &[i64]| {
        theirs.get(name).is_some_and(|found| found.size() == shape)
    };
    if let Some((count, all, name)) = best(&same) {
        return Some(format!("`{name}`, {count} of whose {all} tensors it holds"));
    }
    if is_song_unet(weights) {
        return Some("EDM's SongUNet, of which `cedm-sampler` draws images".to_owned());
    }
    // Another size of the same network.
    let named = |theirs: &Weights, name: &str, _: &[i64]| theirs.get(name).is_some();
    let (count, all, name) = best(&named)?;
    Some(format!(
        "`{name}`, {count} of whose {all} names it holds, with other shapes"
    ))
}

/// Whether the names are those of EDM's networks, whatever stands before them.
fn is_song_unet(weights: &Weights) -> bool {
    let has = |end: &str| weights.iter().any(|(name, _)| name.ends_with(end));
    let encoder = |name: &str| {
        let (_, own) = name.split_once("enc.")?;
        let (side, _) = own.strip_suffix("_conv.weight")?.split_once('x')?;
        side.parse::<u32>().ok()
    };
    has("map_layer0.weight") && weights.iter().any(|(name, _)| encoder(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    fn of(blueprint: Blueprint, shape: impl Fn(&[i64]) -> Vec<i64>) -> Weights {
        let tensor = |size: Vec<i64>| Tensor::zeros(&size[..], (Kind::Float, Device::Cpu));
        blueprint
            .into_iter()
            .map(|(name, size)| (name, tensor(shape(&size))))
            .collect()
    }

    #[test]
    fn networks_of_every_kind_are_known() {
        let check = |weights: &Weights, expected: &str| {
            let found = nearest(weights).unwrap();
            assert!(found.starts_with(expected), "{found}");
        };
        let own = |size: &[i64]| size.to_vec();
        let resnet = of(CifarResnet::blueprint(9), own);
        check(&resnet, "`cifar_resnet56`");
        // Three in four tensors of a network are enough.
        let mut part = resnet.shallow_clone();
        let names: Vec<String> = part.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names.iter().step_by(4) {
            part.remove(name);
        }
        check(&part, "`cifar_resnet56`");
        check(&of(Inception::blueprint(), own), "`inception");
        // The same names in another size.
        let narrow = of(CifarResnet::blueprint(9), |size| {
            size.iter().map(|_| 1).collect()
        });
        let found = nearest(&narrow).unwrap();
        assert!(
            found.ends_with("names it holds, with other shapes"),
            "{found}"
        );
        let one = |name: &str| (name.to_owned(), vec![1]);
        let song = [
            one("ema.model.map_layer0.weight"),
            one("ema.model.enc.32x32_conv.weight"),
        ];
        check(&of(song.to_vec(), own), "EDM's SongUNet");
        assert_eq!(nearest(&of(vec![one("a")], own)), None);
    }
}
