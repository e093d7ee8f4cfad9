//! Generated credentials of a deployment on one machine.

use cedm_contract::Service;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One NATS password per service, and the key pair of the store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    nats: BTreeMap<String, String>,
    /// Access key id of the store.
    pub s3_access_key: String,
    /// Secret access key of the store.
    pub s3_secret_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

fn secret() -> String {
    format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    )
}

impl Credentials {
    /// New credentials, random for every service.
    pub fn generate() -> Self {
        let services = std::iter::once(Service::Cli).chain(Service::RUNNING.iter().copied());
        let nats = services
            .map(|service| (service.name().to_owned(), secret()))
            .collect();
        Self {
            nats,
            s3_access_key: format!("cedm{:016x}", rand::random::<u64>()),
            s3_secret_key: secret(),
        }
    }

    /// The password of a service; it connects to NATS under its own name.
    pub fn nats_password(&self, service: Service) -> &str {
        self.nats.get(service.name()).map_or("", String::as_str)
    }

    /// What a service's process finds in its environment: NATS, store, bucket, keys.
    pub fn environment(
        &self,
        service: Service,
        nats_url: &str,
        s3_endpoint: &str,
        bucket: &str,
    ) -> Vec<(&'static str, String)> {
        vec![
            ("CEDM_NATS_URL", nats_url.to_owned()),
            ("CEDM_NATS_USER", service.name().to_owned()),
            ("CEDM_NATS_PASSWORD", self.nats_password(service).to_owned()),
            ("CEDM_S3_ENDPOINT", s3_endpoint.to_owned()),
            ("CEDM_S3_BUCKET", bucket.to_owned()),
            ("CEDM_S3_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", self.s3_access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.s3_secret_key.clone()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_own_password() {
        let credentials = Credentials::generate();
        assert_ne!(
            credentials.nats_password(Service::Trainer),
            credentials.nats_password(Service::Sampler)
        );
    }
}
