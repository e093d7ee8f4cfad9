//! `cedm env`: the variables that name a system, as shell exports.

use crate::{args::Output, home::Home};
use anyhow::{Context, Result};
use cedm_contract::Service;
use cedm_terminal::{outjson, outln};
use std::collections::BTreeMap;

/// Prints the variables that every program of the project reads.
///
/// # Errors
/// When no system was ever started in this home.
pub fn run(home: &Home, output: Output) -> Result<()> {
    let endpoints = home.endpoints()?.with_context(|| {
        format!(
            "no system was ever started in {}: `cedm up` starts one",
            home.path().display()
        )
    })?;
    let variables = endpoints.environment(Service::Cli);
    match output {
        Output::Json => outjson!(serde_json::to_string(
            &variables.into_iter().collect::<BTreeMap<_, _>>()
        )?),
        Output::Text => variables
            .iter()
            .for_each(|(name, value)| outln!("export {name}={}", quoted(value))),
    }
    Ok(())
}

/// The text in single quotes, which every shell takes literally.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_escaped_for_the_shell() {
        assert_eq!(quoted("nats://x"), "'nats://x'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
