//! Where the programs of a local system are: the project's own beside this one, nats-server and
//! Prometheus as installed.

use anyhow::{Context, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

/// One of the project's own programs, in the folder of this one.
///
/// # Errors
/// When it was not built.
pub fn own(name: &str) -> Result<PathBuf> {
    let this = env::current_exe().context("find this program's own path")?;
    let path = this.with_file_name(name);
    anyhow::ensure!(
        path.is_file(),
        "{} not found: build the whole workspace (`cargo build`), or install all programs in one folder",
        path.display()
    );
    Ok(path)
}

/// nats-server: `$CEDM_NATS_SERVER`, else `.deps/bin/nats-server` in a folder above this program,
/// else `$PATH`.
///
/// # Errors
/// When there is none.
pub fn nats_server() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CEDM_NATS_SERVER") {
        let path = PathBuf::from(path);
        anyhow::ensure!(
            path.is_file(),
            "CEDM_NATS_SERVER is {}: file not found",
            path.display()
        );
        return Ok(path);
    }
    let here = env::current_exe().context("find this program's own path")?;
    let fetched = here
        .ancestors()
        .map(|folder| folder.join(".deps/bin/nats-server"))
        .find(|path| path.is_file());
    fetched.or_else(|| on_path("nats-server")).context(
        "nats-server not found: run `cargo xtask setup` in the clone, install it on the PATH, or set \
         CEDM_NATS_SERVER to its path",
    )
}

/// Prometheus: `$CEDM_PROMETHEUS`, else `$PATH`.
///
/// # Errors
/// When there is none.
pub fn prometheus() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CEDM_PROMETHEUS") {
        let path = PathBuf::from(path);
        anyhow::ensure!(
            path.is_file(),
            "CEDM_PROMETHEUS is {}: file not found",
            path.display()
        );
        return Ok(path);
    }
    on_path("prometheus").context(
        "prometheus not found: install it on the PATH, set CEDM_PROMETHEUS to its path, or omit \
         --prometheus",
    )
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder: PathBuf| folder.join(name))
        .find(|file: &PathBuf| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
