//! A preset with single settings changed by name: `--set optimiser.lr=2e-3`.

use anyhow::{Context, bail};
use cedm_contract::kinds::train::OptimiserParams;
use cedm_sweep::{Preset, largest_divisor, preset, preset_names};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The preset with this name and these changes, each `<part>.<setting>=<value>` with a value in
/// JSON or a plain string.
///
/// # Errors
/// For an unknown preset (naming the known ones), an unknown setting, or a value of the wrong type.
pub fn settings(name: &str, changes: &[String]) -> anyhow::Result<Preset> {
    let mut preset = preset(name).with_context(|| {
        format!(
            "no preset `{name}`: there are {}",
            preset_names().join(", ")
        )
    })?;
    let mut tree = json!({
        "network": preset.network,
        "optimiser": preset.optimiser,
        "augment": preset.augment,
        "precision": preset.precision,
    });
    // Serialisation leaves this one out where it has its default, but it can be set like the
    // others.
    if let Some(network) = tree["network"].as_object_mut() {
        network.entry("channel_mult_noise").or_insert(Value::Null);
    }
    for change in changes {
        let (path, value) = change
            .split_once('=')
            .with_context(|| format!("`--set {change}`: expected path=value"))?;
        let slot = path
            .split('.')
            .try_fold(&mut tree, |node, part| node.as_object_mut()?.get_mut(part));
        let Some(slot) = slot else {
            bail!("`--set {change}`: there is no setting `{path}`")
        };
        *slot = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    }
    preset.network = decode(&tree, "network")?;
    preset.network.normalise();
    preset.optimiser = decode(&tree, "optimiser")?;
    preset.augment = decode(&tree, "augment")?;
    preset.precision = decode(&tree, "precision")?;
    // The preset's micro-batch is adapted to a changed batch, as in a sweep; one that was set
    // explicitly is only limited to the batch.
    let explicit = changes
        .iter()
        .any(|change| change.starts_with("optimiser.micro_batch="));
    let OptimiserParams {
        batch, micro_batch, ..
    } = preset.optimiser;
    preset.optimiser.micro_batch = if explicit {
        micro_batch.min(batch)
    } else {
        largest_divisor(batch, micro_batch)
    };
    Ok(preset)
}

fn decode<T: DeserializeOwned + Serialize>(tree: &Value, part: &str) -> anyhow::Result<T> {
    serde_json::from_value(tree[part].clone()).with_context(|| format!("settings of `{part}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_affects_its_setting_alone() {
        let plain = settings("cifar10", &[]).unwrap();
        let changed = settings(
            "cifar10",
            &[
                "optimiser.lr=2e-4".into(),
                "network.channel_mult=[1,2]".into(),
            ],
        )
        .unwrap();
        assert_eq!(changed.optimiser.lr, 2e-4);
        assert_eq!(changed.network.channel_mult, [1, 2]);
        assert_eq!(changed.augment, plain.augment);
        assert_eq!(plain.network.channel_mult_noise, None);
        let wider = settings("cifar10", &["network.channel_mult_noise=2".into()]).unwrap();
        assert_eq!(wider.network.channel_mult_noise, Some(2));
        let published = [
            "network.channel_mult_noise=2".into(),
            "network.embedding=ncsnpp".into(),
        ];
        assert_eq!(
            settings("cifar10", &published)
                .unwrap()
                .network
                .channel_mult_noise,
            None
        );
        let narrow = settings("cpu32-ncsnpp", &["network.channel_mult_noise=null".into()]).unwrap();
        assert_eq!(narrow.network.channel_mult_noise, None);
        let micro_batch =
            |changes: &[String]| settings("cifar10", changes).unwrap().optimiser.micro_batch;
        assert_eq!(micro_batch(&["optimiser.batch=384".into()]), 192);
        assert_eq!(micro_batch(&["optimiser.batch=32".into()]), 32);
        assert_eq!(
            micro_batch(&[
                "optimiser.batch=384".into(),
                "optimiser.micro_batch=256".into()
            ]),
            256
        );
    }

    #[test]
    fn unknown_presets_and_settings_are_named() {
        let says = |name: &str, change: &str| {
            format!("{:#}", settings(name, &[change.into()]).unwrap_err())
        };
        assert!(says("cifar11", "x=1").contains("no preset `cifar11`: there are cifar10"));
        assert!(
            says("cifar10", "optimiser.learning_rate=1")
                .contains("there is no setting `optimiser.learning_rate`")
        );
        assert!(says("cifar10", "optimiser.lr=fast").contains("settings of `optimiser`"));
        assert!(says("cifar10", "lr").contains("expected path=value"));
    }
}
