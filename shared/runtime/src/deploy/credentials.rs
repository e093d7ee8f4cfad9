//! Generated credentials of a deployment on one machine.

use cedm_contract::{Names, Service};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One NATS password and one key pair of the store per service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    nats: BTreeMap<String, String>,
    /// Access key id of a store with one key pair.
    pub s3_access_key: String,
    /// Secret access key of a store with one key pair.
    pub s3_secret_key: String,
    /// Access key id and secret of each service.
    #[serde(default)]
    s3: BTreeMap<String, (String, String)>,
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

fn access_key() -> String {
    format!("cedm{:016x}", rand::random::<u64>())
}

fn services() -> impl Iterator<Item = Service> {
    std::iter::once(Service::Cli).chain(Service::RUNNING.iter().copied())
}

impl Credentials {
    /// New credentials, random for every service.
    pub fn generate() -> Self {
        let nats = services()
            .map(|service| (service.name().to_owned(), secret()))
            .collect();
        let new = Self {
            nats,
            s3_access_key: access_key(),
            s3_secret_key: secret(),
            s3: BTreeMap::new(),
        };
        new.completed()
    }

    /// The same with a key pair of the store for every service: credentials of an earlier version
    /// have one for all.
    pub fn completed(mut self) -> Self {
        for service in services() {
            let pair = self.s3.entry(service.name().to_owned());
            pair.or_insert_with(|| (access_key(), secret()));
        }
        self
    }

    /// The access key id and the secret of a service.
    pub fn s3_keys(&self, service: Service) -> (String, String) {
        self.s3.get(service.name()).cloned().unwrap_or_default()
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
        let (access_key, secret_key) = self.s3_keys(service);
        vec![
            ("CEDM_NATS_URL", nats_url.to_owned()),
            // Whatever the environment of whoever starts it says.
            ("CEDM_NATS_PREFIX", Names::default().to_string()),
            ("CEDM_NATS_USER", service.name().to_owned()),
            ("CEDM_NATS_PASSWORD", self.nats_password(service).to_owned()),
            ("CEDM_S3_ENDPOINT", s3_endpoint.to_owned()),
            ("CEDM_S3_BUCKET", bucket.to_owned()),
            ("CEDM_S3_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", access_key),
            ("AWS_SECRET_ACCESS_KEY", secret_key),
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
        assert_ne!(
            credentials.s3_keys(Service::Trainer),
            credentials.s3_keys(Service::Sampler)
        );
    }

    #[test]
    fn credentials_of_an_earlier_version_are_completed_once() {
        let new = Credentials::generate();
        let mut old = serde_json::to_value(&new).unwrap();
        old.as_object_mut().unwrap().remove("s3");
        let read: Credentials = serde_json::from_value(old).unwrap();
        let completed = read.completed();
        assert!(!completed.s3_keys(Service::Sampler).1.is_empty());
        assert_eq!(completed.clone().completed(), completed);
    }
}
