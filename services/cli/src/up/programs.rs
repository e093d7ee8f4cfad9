//! Where the programs are: ours beside this one, nats-server and Prometheus as installed.

use anyhow::{Context, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

/// One of our own programs, beside this one.
///
/// # Errors
/// When it was not built.
pub fn ours(name: &str) -> Result<PathBuf> {
    let here = env::current_exe().context("find this program's own path")?;
    let path = here.with_file_name(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: build the whole workspace (`cargo build`), or install all programs in one folder",
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
            "CEDM_NATS_SERVER names {}, which is no file",
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
        "nats-server was not found: run `cargo xtask setup` in the clone, install it on \
         the PATH, or name it in CEDM_NATS_SERVER",
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
            "CEDM_PROMETHEUS names {}, which is no file",
            path.display()
        );
        return Ok(path);
    }
    on_path("prometheus").context(
        "Prometheus is not installed: put it on the PATH, name it in \
         CEDM_PROMETHEUS, or leave --prometheus out",
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
