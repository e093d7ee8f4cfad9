//! `cedm-parity [DIR]`: compares this implementation with numbers that reference implementations
//! computed.
//!
//! It reads every fixture file below DIR, recognises each by its own metadata (never by its name),
//! checks it and prints one line per comparison (outcome, file, what was compared, largest error,
//! tolerance), then a table of the largest errors and totals. It exits with 1 if a comparison fails
//! or a file is not recognised. It writes nothing.

#![forbid(unsafe_code)]

mod clustering;
mod diffusion;
mod extractors;
mod fixture;
mod metrics;
mod summary;

use fixture::{Comparison, Fixture, Verdict};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Parser)]
#[command(
    about = "Compare this implementation with every parity fixture below a folder",
    version
)]
struct Args {
    /// Folder with fixtures; default: $CEDM_PARITY_DIR, else ../shared/parity, else tests/parity
    dir: Option<PathBuf>,
    /// Check only fixtures whose path contains this text
    #[arg(long)]
    only: Option<String>,
    /// Print failures and totals only
    #[arg(long)]
    quiet: bool,
}

fn default_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CEDM_PARITY_DIR") {
        return dir.into();
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let beside = root.join("../shared/parity");
    if beside.is_dir() {
        beside
    } else {
        root.join("tests/parity")
    }
}

/// Checks one file. libtorch reports wrong shapes as panics, which are caught here, so that the
/// files that follow are still checked.
fn check_file(path: &std::path::Path) -> anyhow::Result<Verdict> {
    let checked = std::panic::catch_unwind(|| {
        let fixture = Fixture::open(path)?;
        for check in [
            diffusion::check,
            clustering::check,
            metrics::check,
            extractors::check,
        ] {
            match check(&fixture)? {
                Verdict::NotRecognised => {}
                verdict => return Ok(verdict),
            }
        }
        Ok(Verdict::NotRecognised)
    });
    checked.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map_or("no message", String::as_str);
        Err(anyhow::anyhow!(
            "{}",
            message.lines().next().unwrap_or_default()
        ))
    })
}

fn main() -> anyhow::Result<ExitCode> {
    let args = <Args as clap::Parser>::parse();
    let dir = args.dir.unwrap_or_else(default_dir);
    tch::set_num_threads(std::thread::available_parallelism().map_or(1, |n| n.get() as i32));
    let files = fixture::files_below(&dir)?;
    let (mut passed, mut failed, mut unknown) = (0usize, 0usize, 0usize);
    let mut summary = summary::Summary::default();
    for path in files {
        let shown = path
            .strip_prefix(&dir)
            .unwrap_or(&path)
            .display()
            .to_string();
        if args
            .only
            .as_ref()
            .is_some_and(|only| !shown.contains(only.as_str()))
        {
            continue;
        }
        match check_file(&path) {
            Ok(Verdict::Checked(comparisons)) if comparisons.is_empty() => {
                failed += 1;
                println!("FAIL {shown}: nothing in it was compared");
            }
            Ok(Verdict::Checked(comparisons)) => {
                summary.add(&shown, &comparisons);
                for Comparison {
                    what,
                    error,
                    tolerance,
                } in comparisons
                {
                    let ok = error <= tolerance; // NaN fails
                    if ok {
                        passed += 1
                    } else {
                        failed += 1
                    }
                    if !ok || !args.quiet {
                        println!(
                            "{} {shown}: {what}: worst {error:.3e}, allowed {tolerance:.1e}",
                            if ok { "ok  " } else { "FAIL" }
                        );
                    }
                }
            }
            Ok(Verdict::PartOf(owner)) => {
                if !args.quiet {
                    println!("part {shown}: read with {owner}");
                }
            }
            Ok(Verdict::NotRecognised) => {
                unknown += 1;
                println!("FAIL {shown}: not recognised by its metadata");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {shown}: {error:#}");
            }
        }
    }
    println!("{summary}");
    println!(
        "parity: {passed} passed, {failed} failed, {unknown} not recognised, below {}",
        dir.display()
    );
    anyhow::ensure!(passed > 0, "no fixture was checked below {}", dir.display());
    Ok(if failed + unknown == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
