//! `cedm report`: a sweep's report as files.

use crate::{
    args::{Output, ReportArgs},
    client,
    sweeps::Reader,
};
use anyhow::{Context, Result};
use cedm_contract::{
    Digest, ObjectRef,
    kinds::report::{DATA, PAGE},
};
use cedm_report::{Artefacts, render};
use cedm_runtime::{Connection, store::Store};
use serde_json::json;
use std::{fs, sync::Arc};
use tokio::runtime::Handle;

/// Writes the report of a sweep, finished or not.
///
/// # Errors
/// When the sweep is unknown, the system does not answer, or the folder cannot be written.
pub fn run(args: &ReportArgs, output: Output) -> Result<()> {
    client::block_on(async {
        let connection = client::connect().await?;
        let view = Reader::new(&connection).view(&args.sweep.parse()?).await?;
        let artefacts = Stored {
            store: store(&connection),
            handle: Handle::current(),
        };
        // Rendering is plain computation that asks for bytes in between.
        let report = tokio::task::spawn_blocking(move || render(&view.outcome, &artefacts))
            .await
            .context("make the report")?;
        fs::create_dir_all(&args.out)
            .with_context(|| format!("make the folder {}", args.out.display()))?;
        let files = [(PAGE.as_str(), &report.html), (DATA.as_str(), &report.json)];
        let csvs = report.csvs.iter().map(|csv| (csv.name.as_str(), &csv.text));
        let mut names = Vec::new();
        for (name, text) in files.into_iter().chain(csvs) {
            fs::write(args.out.join(name), text)
                .with_context(|| format!("write {}", args.out.join(name).display()))?;
            names.push(name);
        }
        match output {
            Output::Json => crate::say!(
                "{}",
                json!({"headline": report.headline, "folder": args.out, "files": names})
            ),
            Output::Text => crate::say!("{}\n{}", report.headline, args.out.join(PAGE).display()),
        }
        Ok(())
    })
}

fn store(connection: &Connection) -> Arc<dyn Store> {
    connection.store().clone()
}

/// Artefacts from the store, verified.
struct Stored {
    store: Arc<dyn Store>,
    handle: Handle,
}

impl Artefacts for Stored {
    fn bytes(&self, object: &ObjectRef) -> Result<Vec<u8>, String> {
        let found = self
            .handle
            .block_on(self.store.get(&object.object))
            .map_err(|error| error.to_string())?;
        let bytes = found.ok_or_else(|| format!("object `{}` is gone", object.object))?;
        if Digest::of(&bytes) != object.digest {
            return Err(format!("object `{}` is damaged", object.object));
        }
        Ok(bytes.to_vec())
    }
}
