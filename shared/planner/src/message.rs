//! The size of a job's message, before there is a job: a message names each input, and the broker
//! takes no more than [`MAX_MESSAGE_BYTES`].

use crate::builder::PlanBuilder;
use cedm_contract::{Digest, Input, JobKey, JobSpec, MAX_MESSAGE_BYTES, numbered_role};
use std::sync::LazyLock;

/// Bytes of an input whose role has no characters: keys and digests are all of one length.
static EMPTY_ROLE_BYTES: LazyLock<usize> = LazyLock::new(|| input("").message_bytes());

/// Some input with this role.
fn input(role: impl Into<String>) -> Input {
    Input {
        role: role.into(),
        key: JobKey::of(b""),
        digest: Digest::of(b""),
    }
}

/// Bytes that these inputs take in a message.
pub(crate) fn least_bytes<T>(roles: &[(String, T)]) -> usize {
    let of = |(role, _): &(String, T)| role.len() + *EMPTY_ROLE_BYTES;
    roles.iter().map(of).sum()
}

/// Inputs numbered `<role>/00000` and so on that the message of a job has room for, beside one
/// input for each of `others`.
pub(crate) fn capacity(
    b: &PlanBuilder<'_>,
    label: &str,
    spec: JobSpec,
    role: &str,
    others: &[&str],
) -> usize {
    let others = others.iter().map(|role| input(*role)).collect();
    // A list of more than 15 has a header of 3 bytes in place of 1.
    let rest = b.job(label, spec, others).message_bytes() + 2;
    MAX_MESSAGE_BYTES.saturating_sub(rest) / input(numbered_role(role, 0)).message_bytes()
}

/// The sentence for a job that is too large.
pub(crate) fn too_large(inputs: usize, bytes: usize) -> String {
    format!(
        "its message names {inputs} inputs and takes {bytes} bytes: a message has at most \
         {MAX_MESSAGE_BYTES}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Observed, State, Work, builder::NodeDraft, fixtures};
    use cedm_contract::{
        Kind,
        kinds::features::{FeaturesInputs, FeaturesParams},
    };

    /// To the byte: one input more is one too many.
    #[test]
    fn the_room_in_a_message_is_exact() {
        let (sweep, observed): (_, Observed) = fixtures::sweep("digits", fixtures::TOML);
        let b = PlanBuilder::new(&sweep, &observed);
        let spec = JobSpec::from(FeaturesParams {
            shards: 500,
            partial: false,
        });
        let others = ["images", "condition"];
        let capacity = capacity(&b, "features", spec.clone(), "shard", &others);
        let job = |shards: usize| {
            let numbered = (0..shards).map(|index| input(numbered_role("shard", index)));
            let inputs = others.iter().map(|role| input(*role)).chain(numbered);
            b.job("features", spec.clone(), inputs.collect())
        };
        assert!(job(capacity).encode().is_ok() && job(capacity + 1).encode().is_err());
        let roles: Vec<(String, ())> = job(capacity)
            .inputs
            .iter()
            .map(|input| (input.role.clone(), ()))
            .collect();
        let rest = job(capacity).message_bytes() - least_bytes(&roles);
        assert!(rest < 1_000, "{rest} bytes are not those of inputs");
    }

    /// Before any of its inputs is made, which may take days.
    #[test]
    fn a_job_that_no_message_can_hold_is_dead_from_the_start() {
        let (sweep, observed): (_, Observed) = fixtures::sweep("digits", fixtures::TOML);
        let mut b = PlanBuilder::new(&sweep, &observed);
        let open = NodeDraft::new("open", Work::one());
        let open = b.add_dead(open, Kind::Extract, "not done".to_owned());
        for (id, shards) in [("small", 400), ("large", 600)] {
            let inputs = FeaturesInputs {
                shards: vec![open; shards],
            };
            let params = FeaturesParams {
                shards: shards as u32,
                partial: false,
            };
            b.add(NodeDraft::new(id, Work::one()), inputs, || Ok(params));
        }
        let plan = b.finish().plan(&observed);
        assert_eq!(plan.node("small").unwrap().unsendable(), None);
        let large = plan.node("large").unwrap();
        let reason = large.unsendable().unwrap();
        assert!(
            reason.contains("600 inputs") && reason.contains("65536"),
            "{reason}"
        );
        assert_eq!(large.state, State::Dead { reason });
    }
}
