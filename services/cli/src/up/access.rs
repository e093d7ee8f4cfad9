//! Connection data of a local system: made once, kept in the home, handed to children and shells as environment variables.

use crate::{home::Access, up::ports::Ports};
use anyhow::Result;

impl Access {
    /// Data for a start now: passwords of the last time, ports of the last time where they are still free, so that a shell
    /// that ran `cedm env` before a restart is still right.
    ///
    /// # Errors
    /// When no port is free.
    pub fn renew(last: Option<Access>, ports: &mut Ports, prometheus: bool) -> Result<Self> {
        let port = |of: fn(&Access) -> u16| last.as_ref().map(of);
        let wanted_prometheus = last.as_ref().and_then(|access| access.prometheus_port);
        let (nats_port, nats_monitor_port, s3_port) =
            (ports.free(port(|a| a.nats_port))?, ports.free(port(|a| a.nats_monitor_port))?, ports.free(port(|a| a.s3_port))?);
        let prometheus_port = if prometheus { Some(ports.free(wanted_prometheus)?) } else { None };
        Ok(match last {
            Some(access) => Self { nats_port, nats_monitor_port, s3_port, prometheus_port, ..access },
            None => Self {
                nats_port,
                nats_monitor_port,
                nats_user: "cedm".to_owned(),
                nats_password: secret("n"),
                s3_port,
                s3_access_key: secret("k")[..20].to_owned(),
                s3_secret_key: secret("s"),
                bucket: "cedm".to_owned(),
                prometheus_port,
            },
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

    /// What every program of ours reads.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("CEDM_NATS_URL", self.nats_url()),
            ("CEDM_NATS_USER", self.nats_user.clone()),
            ("CEDM_NATS_PASSWORD", self.nats_password.clone()),
            ("CEDM_S3_ENDPOINT", self.s3_url()),
            ("CEDM_S3_BUCKET", self.bucket.clone()),
            ("AWS_ACCESS_KEY_ID", self.s3_access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.s3_secret_key.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// 160 random bits in hexadecimal behind a letter: nats-server would read a text that starts with a digit as a number.
fn secret(letter: &str) -> String {
    let bytes: [u8; 20] = rand::random();
    bytes.iter().fold(letter.to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_keeps_passwords_and_ports() {
        let first = Access::renew(None, &mut Ports::default(), false).unwrap();
        let again = Access::renew(Some(first.clone()), &mut Ports::default(), false).unwrap();
        assert_eq!(first, again);
        let other = Access::renew(None, &mut Ports::default(), true).unwrap();
        assert_ne!(first.nats_password, other.nats_password);
        assert!(other.prometheus_port.is_some());
    }
}
