//! Generated credentials of one machine's deployment, in one file that only its owner reads.

use crate::RuntimeError;
use anyhow::Context as _;
use cedm_contract::Service;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap, fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path,
};

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
    /// Fresh ones.
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

    /// Those of the file; generated and written there, with mode 0600, when it does not exist.
    ///
    /// # Errors
    /// When the file cannot be read, written or understood.
    pub fn load_or_create(path: &Path) -> Result<Self, RuntimeError> {
        let describe = || format!("credentials {}", path.display());
        match std::fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).with_context(describe)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let credentials = Self::generate();
                let text = serde_json::to_vec_pretty(&credentials).with_context(describe)?;
                // Whole or not at all: a process killed here must not leave half a file to the
                // next.
                let part = path.with_extension("part");
                let mut file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&part)
                    .with_context(describe)?;
                file.write_all(&text).with_context(describe)?;
                file.sync_all().with_context(describe)?;
                std::fs::rename(&part, path).with_context(describe)?;
                Ok(credentials)
            }
            Err(error) => Err(error).with_context(describe)?,
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
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn created_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        let first = Credentials::load_or_create(&path).unwrap();
        assert!(first == Credentials::load_or_create(&path).unwrap());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_ne!(
            first.nats_password(Service::Trainer),
            first.nats_password(Service::Sampler)
        );
    }
}
