//! What each service may do in the embedded store: the policy file of `cedm-store`, and the list
//! that a policy of another store has to allow.

use super::Credentials;
use cedm_contract::{
    CHECKPOINT_PREFIX, MANIFEST_PREFIX, NOTICE_PREFIX, OBJECT_PREFIX, PROBE_PREFIX, SUSPECT_PREFIX,
    SWEEP_PREFIX, SYSTEM_PREFIX, Service,
};
use serde_json::{Value, json};

/// Verbs of the store, with the prefixes of keys on which a service has them; the empty prefix
/// stands for every key. `create` is a put that never replaces anything.
///
/// Results cannot be told apart by kind, for their keys are hashes: every worker may write below
/// `object/`, where an attempt's prefix is its own, and digests show what was overwritten. It can
/// neither replace nor remove a manifest, a sweep, a data set or another's file.
pub fn allowed_objects(service: Service) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut allowed = vec![("get", vec![""]), ("list", vec![""])];
    match service {
        Service::Cli => allowed.extend([("put", vec![""]), ("delete", vec![""])]),
        Service::Coordinator => allowed.extend([
            (
                "put",
                vec![
                    MANIFEST_PREFIX,
                    OBJECT_PREFIX,
                    SWEEP_PREFIX,
                    SUSPECT_PREFIX,
                    SYSTEM_PREFIX,
                    PROBE_PREFIX,
                ],
            ),
            (
                "delete",
                vec![
                    MANIFEST_PREFIX,
                    SWEEP_PREFIX,
                    NOTICE_PREFIX,
                    CHECKPOINT_PREFIX,
                    PROBE_PREFIX,
                ],
            ),
        ]),
        // Their jobs are long and have checkpoints, of which old ones are removed.
        Service::Extractor | Service::Clusterer | Service::Trainer => allowed.extend([
            ("create", vec![MANIFEST_PREFIX, NOTICE_PREFIX, PROBE_PREFIX]),
            ("put", vec![OBJECT_PREFIX, CHECKPOINT_PREFIX]),
            ("delete", vec![CHECKPOINT_PREFIX, PROBE_PREFIX]),
        ]),
        Service::Bounds | Service::Sampler | Service::Evaluator => allowed.extend([
            ("create", vec![MANIFEST_PREFIX, NOTICE_PREFIX, PROBE_PREFIX]),
            ("put", vec![OBJECT_PREFIX]),
            ("delete", vec![PROBE_PREFIX]),
        ]),
    }
    allowed
}

/// The policy of `cedm-store --policy`: one identity per service, as JSON. It holds secrets.
pub fn render_store_policy(credentials: &Credentials) -> String {
    let services = std::iter::once(Service::Cli).chain(Service::RUNNING.iter().copied());
    let identities: Vec<Value> = services
        .map(|service| {
            let (access_key, secret_key) = credentials.s3_keys(service);
            let allow: Vec<Value> = allowed_objects(service)
                .into_iter()
                .map(|(verb, prefixes)| json!({"verbs": [verb], "prefixes": prefixes}))
                .collect();
            json!({"name": service.name(), "access_key": access_key, "secret_key": secret_key, "allow": allow})
        })
        .collect();
    json!({ "identities": identities }).to_string()
}
