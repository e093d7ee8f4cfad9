//! `cedm report`: write a sweep's report to files.

use crate::{args::Output, client, sweeps::Reader};
use anyhow::{Context, Result};
use cedm_contract::{
    ObjectRef,
    kinds::report::{DATA, PAGE},
};
use cedm_report::render;
use cedm_runtime::store::get_verified;
use cedm_terminal::{outjson, outln};
use clap::Args;
use serde_json::json;
use std::{fs, path::PathBuf};
use tokio::runtime::Handle;

/// Options of `cedm report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Name or id of the sweep, as `cedm status` shows it
    pub sweep: String,
    /// Folder for the report's files; created when it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes the report of a sweep, which need not be complete.
///
/// # Errors
/// When the sweep is unknown, the system does not answer, or the folder cannot be written.
pub fn run(args: &ReportArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let view = Reader::new(&connection).view(&args.sweep.parse()?).await?;
        let (store, handle) = (connection.store().clone(), Handle::current());
        let artefacts = move |object: &ObjectRef| {
            let found = handle.block_on(get_verified(store.as_ref(), object));
            let bytes = found.map_err(|error| cedm_runtime::chain(&error))??;
            Ok(bytes.to_vec())
        };
        // Rendering computes for seconds and blocks on reads of artefacts.
        let report = tokio::task::spawn_blocking(move || render(&view.outcome, &artefacts))
            .await
            .context("render the report")?;
        fs::create_dir_all(&args.out)
            .with_context(|| format!("create the folder {}", args.out.display()))?;
        let files = [(PAGE.as_str(), &report.html), (DATA.as_str(), &report.json)];
        let csvs = report.csvs.iter().map(|csv| (csv.name.as_str(), &csv.text));
        let mut names = Vec::new();
        for (name, text) in files.into_iter().chain(csvs) {
            fs::write(args.out.join(name), text)
                .with_context(|| format!("write {}", args.out.join(name).display()))?;
            names.push(name);
        }
        match output {
            Output::Json => {
                outjson!(json!({"headline": report.headline, "folder": args.out, "files": names}))
            }
            Output::Text => {
                outln!("{}", report.headline);
                outln!("{}", args.out.join(PAGE.as_str()).display());
                outln!(
                    "what the report reads was verified; of everything else the sizes were: `cedm fsck \
                     --sweep {}` reads all of it",
                    args.sweep
                );
            }
        }
        Ok(())
    })
}
