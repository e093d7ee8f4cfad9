//! How to reach a local system: ports on loopback and generated credentials, kept in the home and
//! passed to children and shells as environment variables.

use crate::up::ports::Ports;
use anyhow::Result;
use cedm_contract::Service;
use cedm_runtime::deploy::Credentials;
use serde::{Deserialize, Serialize};

/// Ports and credentials of a local system, kept in `access.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Client port of nats-server.
    pub nats_port: u16,
    /// Port of nats-server's HTTP monitoring.
    pub nats_monitor_port: u16,
    /// Port of the embedded store.
    pub s3_port: u16,
    /// Bucket in the embedded store.
    pub bucket: String,
    /// Port of Prometheus, where it was asked for.
    #[serde(default)]
    pub prometheus_port: Option<u16>,
    /// Generated at the first start and kept from then on.
    pub credentials: Credentials,
}

impl Endpoints {
    /// Endpoints for a new start. Credentials of the previous start are kept, and its ports where
    /// they are still free, so that variables exported by `cedm env` stay valid over a restart.
    ///
    /// # Errors
    /// When no port is free.
    pub fn renew(previous: Option<Endpoints>, ports: &mut Ports, prometheus: bool) -> Result<Self> {
        let port = |of: fn(&Endpoints) -> u16| previous.as_ref().map(of);
        let previous_prometheus = previous.as_ref().and_then(|last| last.prometheus_port);
        let (nats_port, nats_monitor_port, s3_port) = (
            ports.free(port(|a| a.nats_port))?,
            ports.free(port(|a| a.nats_monitor_port))?,
            ports.free(port(|a| a.s3_port))?,
        );
        let prometheus_port = if prometheus {
            Some(ports.free(previous_prometheus)?)
        } else {
            None
        };
        let (bucket, credentials) = match previous {
            Some(last) => (last.bucket, last.credentials.completed()),
            None => ("cedm".to_owned(), Credentials::generate()),
        };
        Ok(Self {
            nats_port,
            nats_monitor_port,
            s3_port,
            bucket,
            prometheus_port,
            credentials,
        })
    }

    /// Client URL of nats-server, without credentials.
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.nats_port)
    }
    /// URL of the store.
    pub fn s3_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    /// The environment variables of a service's process, which connects under its own name;
    /// commands typed by a person use [`Service::Cli`].
    pub fn environment(&self, service: Service) -> Vec<(String, String)> {
        let variables =
            self.credentials
                .environment(service, &self.nats_url(), &self.s3_url(), &self.bucket);
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_credentials_and_ports() {
        let first = Endpoints::renew(None, &mut Ports::default(), false).unwrap();
        let again = Endpoints::renew(Some(first.clone()), &mut Ports::default(), false).unwrap();
        assert_eq!(first, again);
        let other = Endpoints::renew(None, &mut Ports::default(), true).unwrap();
        assert_ne!(first.credentials, other.credentials);
        let password = |service| first.credentials.nats_password(service).to_owned();
        assert!(
            first
                .environment(Service::Trainer)
                .contains(&("CEDM_NATS_PASSWORD".to_owned(), password(Service::Trainer)))
        );
        assert!(other.prometheus_port.is_some());
    }
}
