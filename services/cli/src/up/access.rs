//! Connection data of a local system: made once, kept in the home, handed to children and shells as
//! environment variables.

use crate::{home::Access, up::ports::Ports};
use anyhow::Result;
use cedm_contract::Service;
use cedm_runtime::deploy::Credentials;

impl Access {
    /// Data for a start now: passwords of the last time, ports of the last time where they are
    /// still free, so that a shell that ran `cedm env` before a restart is still right.
    ///
    /// # Errors
    /// When no port is free.
    pub fn renew(last: Option<Access>, ports: &mut Ports, prometheus: bool) -> Result<Self> {
        let port = |of: fn(&Access) -> u16| last.as_ref().map(of);
        let wanted_prometheus = last.as_ref().and_then(|access| access.prometheus_port);
        let (nats_port, nats_monitor_port, s3_port) = (
            ports.free(port(|a| a.nats_port))?,
            ports.free(port(|a| a.nats_monitor_port))?,
            ports.free(port(|a| a.s3_port))?,
        );
        let prometheus_port = if prometheus {
            Some(ports.free(wanted_prometheus)?)
        } else {
            None
        };
        let (bucket, credentials) = match last {
            Some(access) => (access.bucket, access.credentials),
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

    /// What a service's process reads, in its own name; a person's commands are those of
    /// [`Service::Cli`].
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
        let first = Access::renew(None, &mut Ports::default(), false).unwrap();
        let again = Access::renew(Some(first.clone()), &mut Ports::default(), false).unwrap();
        assert_eq!(first, again);
        let other = Access::renew(None, &mut Ports::default(), true).unwrap();
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
