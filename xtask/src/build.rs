//! Building the programs of the workspace.

use crate::commands;

/// Builds every program: the demo, the tests and a user all run the same ones.
pub fn programs() -> Result<(), String> {
    commands::run(commands::cargo().args(["build", "--workspace", "--bins"]))
}
