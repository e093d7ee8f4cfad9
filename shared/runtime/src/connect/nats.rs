//! How to reach NATS: the settings that every program has, and the connection that follows from
//! them.

use super::{START, auth::Auth};
use crate::{RetryPolicy, RuntimeError, worker_name};
use anyhow::Context as _;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, rustls,
};
use cedm_contract::Names;
use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

/// Between two tries to get a lost connection back.
const RECONNECT: RetryPolicy =
    RetryPolicy::doubling(Duration::from_millis(100), Duration::from_secs(4));
/// The oldest server whose streams can schedule messages.
const OLDEST_SERVER: (u64, u64) = (2, 12);
/// First tokens of JetStream's subjects.
const STANDARD_API: &str = "$JS.API";

/// Where NATS is and who connects. Secrets come from the environment or from files, never from
/// arguments, which show in process lists. Files are read again at every connection.
#[derive(Clone, clap::Args)]
pub struct NatsArgs {
    /// NATS servers, separated by commas; any of them will do. A user and a password may be part of
    /// a URL.
    #[arg(
        long = "nats-url",
        env = "CEDM_NATS_URL",
        hide_env_values = true,
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL,…"
    )]
    pub url: String,
    /// Prefix of streams, buckets and subjects: installations with different ones can share an
    /// account. The same for all processes.
    #[arg(
        long = "nats-prefix",
        env = "CEDM_NATS_PREFIX",
        default_value_t,
        value_name = "PREFIX"
    )]
    pub names: Names,
    /// NATS user; its password is read from CEDM_NATS_PASSWORD or the password file.
    #[arg(long = "nats-user", env = "CEDM_NATS_USER", value_name = "USER")]
    pub user: Option<String>,
    /// The password, where it does not come from the environment.
    #[arg(skip)]
    pub password: Option<String>,
    /// File with the user's password.
    #[arg(
        long = "nats-password-file",
        env = "CEDM_NATS_PASSWORD_FILE",
        value_name = "FILE",
        requires = "user"
    )]
    pub password_file: Option<PathBuf>,
    /// File with a token, instead of a user.
    #[arg(
        long = "nats-token-file",
        env = "CEDM_NATS_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// NATS credentials file (JWT and seed), instead of a user.
    #[arg(long = "nats-creds", env = "CEDM_NATS_CREDS", value_name = "FILE")]
    pub creds: Option<PathBuf>,
    /// File with the seed of an nkey (SU…), instead of a user.
    #[arg(
        long = "nats-nkey-file",
        env = "CEDM_NATS_NKEY_FILE",
        value_name = "FILE"
    )]
    pub nkey_file: Option<PathBuf>,
    /// PEM file with the certificates of the authorities to trust instead of the system's, for a
    /// NATS server behind TLS.
    #[arg(long = "nats-ca-file", env = "CEDM_NATS_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with this client's certificate, where the server asks for one.
    #[arg(
        long = "nats-cert-file",
        env = "CEDM_NATS_CERT_FILE",
        value_name = "FILE",
        requires = "key_file"
    )]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the private key of that certificate.
    #[arg(
        long = "nats-key-file",
        env = "CEDM_NATS_KEY_FILE",
        value_name = "FILE",
        requires = "cert_file"
    )]
    pub key_file: Option<PathBuf>,
    /// JetStream domain, where JetStream is behind a leaf node.
    #[arg(
        long = "nats-domain",
        env = "CEDM_NATS_DOMAIN",
        value_name = "DOMAIN",
        conflicts_with = "api_prefix"
    )]
    pub domain: Option<String>,
    /// First tokens of JetStream's subjects, where JetStream is imported from another account
    /// (`$JS.API` otherwise).
    #[arg(
        long = "nats-api-prefix",
        env = "CEDM_NATS_API_PREFIX",
        value_name = "SUBJECT"
    )]
    pub api_prefix: Option<String>,
}

impl Default for NatsArgs {
    /// A server on this machine that asks for no credentials.
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            names: Names::default(),
            user: None,
            password: None,
            password_file: None,
            token_file: None,
            creds: None,
            nkey_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            domain: None,
            api_prefix: None,
        }
    }
}

/// Shows no password, token or seed.
impl fmt::Debug for NatsArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsArgs")
            .field("url", &self.servers())
            .field("names", &self.names)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl NatsArgs {
    /// The servers as logs and errors may name them: without what a URL says of users.
    pub fn servers(&self) -> String {
        let shown = self.url.split(',').map(|url| without_user(url.trim()));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// First tokens of JetStream's subjects.
    pub(super) fn api(&self) -> String {
        match (&self.api_prefix, &self.domain) {
            (Some(prefix), _) => prefix.clone(),
            (None, Some(domain)) => format!("$JS.{domain}.API"),
            (None, None) => STANDARD_API.to_owned(),
        }
    }

    fn addresses(&self) -> Result<Vec<ServerAddr>, RuntimeError> {
        let urls = self.url.split(',').map(str::trim);
        let parsed = urls.filter(|url| !url.is_empty()).map(|url| {
            url.parse::<ServerAddr>().map_err(|error| {
                let shown = without_user(url);
                anyhow::anyhow!("CEDM_NATS_URL: `{shown}`: {error}; expected nats://host:port, or several separated by commas")
            })
        });
        let addresses = parsed.collect::<anyhow::Result<Vec<_>>>()?;
        if addresses.is_empty() {
            return Err(anyhow::anyhow!("CEDM_NATS_URL names no server").into());
        }
        Ok(addresses)
    }

    /// Connects, waiting for a server up to the time-out. `name` shows in NATS' monitoring and
    /// prefixes the inbox.
    ///
    /// # Errors
    /// When no server can be reached in time; at once when one refuses the credentials, when TLS
    /// fails, or when a setting or a file is wrong.
    pub(super) async fn connect(
        &self,
        name: &str,
        timeout: Duration,
        on_refusal: impl Fn(String) + Send + Sync + 'static,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Client, RuntimeError> {
        let addresses = self.addresses()?;
        let auth = Auth::of(self, &addresses)?;
        // What cannot be read now is an error of the settings; later it may be a file being
        // written.
        auth.current(b"")?;
        let options = self.options(name, auth, on_refusal, on_event)?;
        let action = format!("connect to {}", self.servers());
        let connect = || options.clone().connect(addresses.as_slice());
        let client = START
            .within(timeout)
            .retry(&action, |error: &ConnectError| !is_final(error), connect)
            .await;
        let client = client.map_err(|error| match tls_error(&error) {
            Some(tls) => RuntimeError::Other(anyhow::anyhow!(
                "{action}: TLS: {tls} (CEDM_NATS_CA_FILE, CEDM_NATS_CERT_FILE)"
            )),
            None => RuntimeError::broker(action.clone(), error),
        })?;
        self.check_version(&client.server_info().version)?;
        Ok(client)
    }

    fn options(
        &self,
        name: &str,
        auth: Auth,
        on_refusal: impl Fn(String) + Send + Sync + 'static,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ConnectOptions, RuntimeError> {
        let auth = Arc::new(auth);
        let on_event = Arc::new(on_event);
        let mut options = ConnectOptions::with_auth_callback(move |nonce| {
            let current = auth.current(&nonce).map_err(|error| {
                let reason = format!("{error:#}");
                on_refusal(reason.clone());
                async_nats::AuthError::new(reason)
            });
            std::future::ready(current)
        })
        .name(format!("cedm-{name}"))
        .custom_inbox_prefix(format!("_INBOX_{name}"))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(Duration::from_secs(10)))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempt| {
            RECONNECT.delay_with_jitter(attempt as u64, worker_name().as_bytes())
        })
        .event_callback(move |event| {
            on_event(&event);
            std::future::ready(())
        });
        for file in [&self.ca_file, &self.cert_file, &self.key_file]
            .into_iter()
            .flatten()
        {
            crate::open_regular(file)
                .with_context(|| format!("NATS over TLS: read {}", file.display()))?;
        }
        if let Some(file) = &self.ca_file {
            options = options
                .add_root_certificates(file.clone())
                .require_tls(true);
        }
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            options = options
                .add_client_certificate(cert.clone(), key.clone())
                .require_tls(true);
        }
        Ok(options)
    }

    /// Refuses a server that is too old. Behind a leaf node or an import JetStream is another
    /// server's, which the creation of the streams finds out.
    fn check_version(&self, version: &str) -> Result<(), RuntimeError> {
        if self.domain.is_some() || self.api_prefix.is_some() {
            return Ok(());
        }
        let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
        match (parts.next().flatten(), parts.next().flatten()) {
            (Some(major), Some(minor)) if (major, minor) < OLDEST_SERVER => Err(anyhow::anyhow!(
                "the NATS server at {} is version {version}, expected version {}.{} or later: an older one loses delayed jobs",
                self.servers(),
                OLDEST_SERVER.0,
                OLDEST_SERVER.1
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// A URL without its user and password.
fn without_user(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://{}", &url[..scheme], &url[at + 1..])
        }
        (None, Some(at)) => url[at + 1..].to_owned(),
        _ => url.to_owned(),
    }
}

/// Whether trying again cannot help.
fn is_final(error: &ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::ServerParse
            | ConnectErrorKind::Tls
    ) || tls_error(error).is_some()
}

/// What is wrong with TLS, where that is the reason.
fn tls_error(error: &ConnectError) -> Option<String> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls.to_string());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        let args = NatsArgs {
            url: "nats://ann:s3cret@one:4222, s3cret@two,nats://bob:s3c@ret@three".to_owned(),
            password: Some("s3cret".to_owned()),
            ..NatsArgs::default()
        };
        assert_eq!(args.servers(), "nats://one:4222, two, nats://three");
        for shown in [format!("{args:?}"), args.servers()] {
            assert!(!shown.contains("s3c"), "{shown}");
        }
        let broken = NatsArgs {
            url: "http://ann:s3cret@one".to_owned(),
            ..NatsArgs::default()
        };
        let error = broken.addresses().unwrap_err().to_string();
        assert!(
            error.contains("CEDM_NATS_URL") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn a_server_that_cannot_schedule_messages_is_refused() {
        let args = NatsArgs::default();
        for old in ["2.9.25", "2.10.26", "2.11.11", "1.4.1"] {
            let error = args.check_version(old).unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("2.12"), "{error}");
        }
        for sound in ["2.12.0", "2.12.0-RC.1", "2.15.1", "3.0.0", "unknown"] {
            args.check_version(sound).unwrap();
        }
    }
}
