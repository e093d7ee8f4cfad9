//! Building the programs of the workspace.

use crate::shell;

/// Builds every program: the demo, the tests and a user all run the same ones.
pub fn programs() -> Result<(), String> {
    shell::quiet(shell::cargo().args(["build", "--workspace", "--bins"]))
}
