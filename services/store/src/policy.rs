//! Who may do what: identities with a key pair each, and rules of verbs and key prefixes.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, fs, os::unix::fs::PermissionsExt, path::Path};

/// One key pair that may do everything.
#[derive(Clone)]
pub struct Keys {
    /// The access key id.
    pub access: String,
    /// The secret access key, used to verify signatures.
    pub secret: String,
}
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What a request does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Read it, or ask for its size.
    Get,
    /// See its key in a listing.
    List,
    /// Write it unless it exists (`If-None-Match: *`).
    Create,
    /// Write it in place of any other; includes `create`.
    Put,
    /// Remove an object, which succeeds where there is none.
    Delete,
}

/// Verbs that are allowed on all keys with one of the prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What may be done with objects of these keys.
    pub verbs: Vec<Verb>,
    /// The prefixes; the empty one stands for every key.
    pub prefixes: Vec<String>,
}

/// A key pair and its rules. What no rule allows is denied.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// A name for the log.
    pub name: String,
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
    /// What it may do.
    pub allow: Vec<Rule>,
}
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Whether a rule allows the verb on the key, or (for a listing) on every key with this prefix.
    pub(crate) fn may(&self, verb: Verb, key: &str) -> bool {
        let covers = |given: Verb| given == verb || (given == Verb::Put && verb == Verb::Create);
        self.allow.iter().any(|rule| {
            rule.verbs.iter().copied().any(covers)
                && rule.prefixes.iter().any(|prefix| key.starts_with(prefix))
        })
    }
}

/// All identities of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub(crate) identities: Vec<Identity>,
}

impl From<Keys> for Policy {
    fn from(keys: Keys) -> Self {
        let verbs = vec![Verb::Get, Verb::List, Verb::Put, Verb::Delete];
        let everything = Rule {
            verbs,
            prefixes: vec![String::new()],
        };
        Self {
            identities: vec![Identity {
                name: "owner".to_owned(),
                access_key: keys.access,
                secret_key: keys.secret,
                allow: vec![everything],
            }],
        }
    }
}

impl Policy {
    /// The policy in a JSON text.
    ///
    /// # Errors
    /// When it is malformed, names nobody, or two identities share an access key.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let policy: Self = serde_json::from_str(text)?;
        ensure!(!policy.identities.is_empty(), "the policy has no identity");
        let mut known = HashSet::new();
        for identity in &policy.identities {
            let name = &identity.name;
            ensure!(
                !identity.access_key.is_empty() && !identity.secret_key.is_empty(),
                "identity `{name}` has an empty key"
            );
            ensure!(
                known.insert(identity.access_key.as_str()),
                "identity `{name}` has the access key of another identity"
            );
        }
        Ok(policy)
    }

    /// The policy in a file, which must be readable by its owner alone: it holds secrets.
    ///
    /// # Errors
    /// When others can read it, or it cannot be parsed.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let about = fs::metadata(path).with_context(|| format!("read {shown}"))?;
        let mode = about.permissions().mode() & 0o777;
        ensure!(
            mode & 0o077 == 0,
            "{shown} has mode {mode:03o}: others can read its secrets; expected 600"
        );
        let text = fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
        Self::parse(&text).with_context(|| format!("policy {shown}"))
    }

    pub(crate) fn identity(&self, access_key: &str) -> Option<&Identity> {
        self.identities
            .iter()
            .find(|identity| identity.access_key == access_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"identities": [{"name": "a", "access_key": "k", "secret_key": "s", "allow":
        [{"verbs": ["get", "list"], "prefixes": [""]}, {"verbs": ["create"], "prefixes": ["manifest/"]},
         {"verbs": ["put"], "prefixes": ["object/"]}]}]}"#;

    #[test]
    fn what_no_rule_allows_is_denied() {
        let policy = Policy::parse(ONE).unwrap();
        let identity = policy.identity("k").unwrap();
        for (verb, key, expect) in [
            (Verb::Get, "sweep/a/spec", true),
            (Verb::List, "", true),
            (Verb::Create, "manifest/a", true),
            (Verb::Put, "manifest/a", false),
            (Verb::Put, "object/a", true),
            (Verb::Create, "object/a", true),
            (Verb::Put, "objects", false),
            (Verb::Delete, "object/a", false),
        ] {
            assert_eq!(identity.may(verb, key), expect, "{verb:?} {key}");
        }
        assert!(policy.identity("other").is_none());
    }

    #[test]
    fn a_policy_that_means_nothing_or_is_open_to_others_is_refused() {
        for (text, expect) in [
            (r#"{"identities": []}"#, "no identity"),
            (&ONE.replace("\"get\"", "\"gett\""), "gett"),
            (&ONE.replace("\"k\"", "\"\""), "empty key"),
        ] {
            let error = format!("{:#}", Policy::parse(text).unwrap_err());
            assert!(error.contains(expect), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.json");
        fs::write(&file, ONE).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = format!("{:#}", Policy::load(&file).unwrap_err());
        assert!(error.contains("mode 640"), "{error}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Policy::load(&file).unwrap();
    }
}
