//! Who connects to NATS: read again at each connection, since files are renewed while a process
//! runs.

use super::nats::NatsArgs;
use crate::read_regular;
use anyhow::{Context, Result, bail, ensure};
use async_nats::ServerAddr;
use std::path::{Path, PathBuf};

/// No credentials file of NATS is as large.
const LARGEST_FILE: u64 = 64 * 1024;

/// Where the credentials are.
pub(super) enum Auth {
    None,
    Password(String, Secret),
    Token(PathBuf),
    Creds(PathBuf),
    NKey(PathBuf),
}

/// A password, or the file that holds it.
pub(super) enum Secret {
    Text(String),
    File(PathBuf),
}

impl Auth {
    /// The one way of authentication that the settings name.
    ///
    /// # Errors
    /// When they name several, or a user without a password.
    pub(super) fn of(args: &NatsArgs, addresses: &[ServerAddr]) -> Result<Self> {
        let in_url = addresses.iter().find(|address| address.has_user_pass());
        let named = [
            ("a user (CEDM_NATS_USER)", args.user.is_some()),
            ("a token (CEDM_NATS_TOKEN_FILE)", args.token_file.is_some()),
            ("credentials (CEDM_NATS_CREDS)", args.creds.is_some()),
            ("an nkey (CEDM_NATS_NKEY_FILE)", args.nkey_file.is_some()),
        ];
        let named: Vec<&str> = named
            .iter()
            .filter(|(_, is_named)| *is_named)
            .map(|(name, _)| *name)
            .collect();
        ensure!(
            named.len() < 2,
            "NATS: {} are given, expected one of them",
            named.join(" and ")
        );
        if let Some(user) = &args.user {
            return Ok(Self::Password(user.clone(), password(args)?));
        }
        let files = [
            (&args.token_file, Self::Token as fn(PathBuf) -> Self),
            (&args.creds, Self::Creds),
            (&args.nkey_file, Self::NKey),
        ];
        for (file, make) in files {
            if let Some(file) = file {
                return Ok(make(file.clone()));
            }
        }
        Ok(match in_url {
            Some(address) => Self::Password(
                address.username().unwrap_or_default().to_owned(),
                Secret::Text(address.password().unwrap_or_default().to_owned()),
            ),
            None => Self::None,
        })
    }

    /// What to answer to a server that sent `nonce`.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should; the error names it, and nothing
    /// of its contents.
    pub(super) fn current(&self, nonce: &[u8]) -> Result<async_nats::Auth> {
        let mut auth = async_nats::Auth::new();
        match self {
            Self::None => {}
            Self::Password(user, password) => {
                auth.username = Some(user.clone());
                auth.password = Some(match password {
                    Secret::Text(text) => text.clone(),
                    Secret::File(file) => line(file)?,
                });
            }
            Self::Token(file) => auth.token = Some(line(file)?),
            Self::Creds(file) => {
                let text = read(file)?;
                let (jwt, seed) = (
                    decorated(&text, "NATS USER JWT"),
                    decorated(&text, "USER NKEY SEED"),
                );
                let (Some(jwt), Some(seed)) = (jwt, seed) else {
                    bail!(
                        "{}: no credentials file of NATS: expected the blocks NATS USER JWT and USER NKEY SEED",
                        file.display()
                    );
                };
                auth.jwt = Some(jwt.to_owned());
                auth.signature = Some(key_pair(seed, file)?.sign(nonce).context("sign")?);
            }
            Self::NKey(file) => {
                let key = key_pair(&line(file)?, file)?;
                auth.nkey = Some(key.public_key());
                auth.signature = Some(key.sign(nonce).context("sign")?);
            }
        }
        Ok(auth)
    }
}

fn password(args: &NatsArgs) -> Result<Secret> {
    if let Some(password) = &args.password {
        return Ok(Secret::Text(password.clone()));
    }
    if let Some(file) = &args.password_file {
        return Ok(Secret::File(file.clone()));
    }
    let text = std::env::var("CEDM_NATS_PASSWORD").context(
        "a NATS user is given, but neither CEDM_NATS_PASSWORD nor CEDM_NATS_PASSWORD_FILE is set",
    )?;
    Ok(Secret::Text(text))
}

fn read(file: &Path) -> Result<String> {
    let context = || format!("NATS credentials: read {}", file.display());
    let bytes = read_regular(file, LARGEST_FILE).with_context(context)?;
    String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("it is not text"))
        .with_context(context)
}

/// The file's only line.
fn line(file: &Path) -> Result<String> {
    let text = read(file)?;
    let line = text.trim();
    ensure!(
        !line.is_empty() && !line.contains(['\n', '\r']),
        "NATS credentials: {}: expected one line, found {}",
        file.display(),
        line.lines().count()
    );
    Ok(line.to_owned())
}

/// What is between the lines `BEGIN <name>` and `END <name>`.
fn decorated<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    let is_rule = |line: &str, word: &str| {
        line.starts_with("---") && line.contains(&format!("{word} {name}"))
    };
    lines.find(|line| is_rule(line, "BEGIN"))?;
    lines
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with("---"))
}

fn key_pair(seed: &str, file: &Path) -> Result<nkeys::KeyPair> {
    let key = nkeys::KeyPair::from_seed(seed);
    key.map_err(|error| {
        anyhow::anyhow!(
            "NATS credentials: {}: no seed of an nkey: {error}",
            file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_credentials_file_is_read_anew_each_time() {
        let key = nkeys::KeyPair::new_user();
        let seed = key.seed().unwrap();
        let jwt = |name: &str| {
            format!(
                "-----BEGIN NATS USER JWT-----\n{name}\n------END NATS USER JWT------\n\nsecret!\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            )
        };
        let file = written(&jwt("one"));
        let auth = Auth::Creds(file.path().to_owned());
        let first = auth.current(b"nonce").unwrap();
        assert_eq!(first.jwt.as_deref(), Some("one"));
        key.verify(b"nonce", &first.signature.unwrap()).unwrap();
        std::fs::write(file.path(), jwt("two")).unwrap();
        assert_eq!(auth.current(b"").unwrap().jwt.as_deref(), Some("two"));
        std::fs::write(file.path(), "half of it").unwrap();
        let error = format!("{:#}", auth.current(b"").err().unwrap());
        assert!(
            error.contains("USER NKEY SEED") && !error.contains("half"),
            "{error}"
        );
    }

    #[test]
    fn one_way_of_authentication_is_chosen_or_refused() {
        let url: Vec<ServerAddr> = vec!["nats://ann:pw@one".parse().unwrap()];
        let of = |args: NatsArgs| Auth::of(&args, &url);
        let auth = of(NatsArgs::default()).unwrap().current(b"").unwrap();
        assert_eq!(
            (auth.username.as_deref(), auth.password.as_deref()),
            (Some("ann"), Some("pw"))
        );
        let file = written("tok\n");
        let token = NatsArgs {
            token_file: Some(file.path().to_owned()),
            ..NatsArgs::default()
        };
        let auth = of(token.clone()).unwrap().current(b"").unwrap();
        assert_eq!(auth.token.as_deref(), Some("tok"));
        let both = NatsArgs {
            creds: Some("x".into()),
            ..token
        };
        let error = of(both).err().unwrap().to_string();
        assert!(error.contains("(CEDM_NATS_TOKEN_FILE) and"), "{error}");
    }
}
