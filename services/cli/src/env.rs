//! `cedm env`: connection data as shell exports.

use crate::{args::Output, home::Home};
use anyhow::{Context, Result};
use cedm_contract::Service;
use std::collections::BTreeMap;

/// Prints the variables that every program of ours reads.
///
/// # Errors
/// When no system was ever started in this home.
pub fn run(home: &Home, output: Output) -> Result<()> {
    let access = home.access()?.with_context(|| {
        format!(
            "no system was ever started in {}: `cedm up` starts one",
            home.path().display()
        )
    })?;
    let variables = access.environment(Service::Cli);
    match output {
        Output::Json => crate::say!(
            "{}",
            serde_json::to_string(&variables.into_iter().collect::<BTreeMap<_, _>>())?
        ),
        Output::Text => variables
            .iter()
            .for_each(|(name, value)| crate::say!("export {name}={}", quoted(value))),
    }
    Ok(())
}

/// In single quotes, which every shell takes literally.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold() {
        assert_eq!(quoted("nats://x"), "'nats://x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
