//! Create-only puts of the embedded store: of eight concurrent writers exactly one succeeds.

use anyhow::{Context, Result, ensure};
use cedm_runtime::store::{Created, S3Settings, S3Store, Store};
use cedm_tests::{System, program};
use std::{process::Command, sync::Arc};

const WRITERS: usize = 8;
const ROUNDS: usize = 60;

#[test]
fn of_eight_concurrent_writers_exactly_one_succeeds() -> Result<()> {
    // The store's keys are read from the environment only, so this test starts a store and then
    // runs itself again with its variables.
    if std::env::var_os("CEDM_RACE").is_some() {
        return tokio::runtime::Runtime::new()?.block_on(race());
    }
    ensure!(program("cedm-store")?.is_file());
    let system = System::start_with(&[
        "--workers",
        "extractor=0,clusterer=0,bounds=0,trainer=0,sampler=0,evaluator=0",
    ])?;
    let environment = system.run_json(&["up"])?["environment"].clone();
    let variables = environment
        .as_object()
        .context("no environment")?
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let mut again = Command::new(std::env::current_exe()?);
    let status = again
        .args([
            "--exact",
            "of_eight_concurrent_writers_exactly_one_succeeds",
        ])
        .envs(variables)
        .env("CEDM_RACE", "1")
        .status()?;
    ensure!(status.success(), "the race failed");
    Ok(())
}

async fn race() -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let settings = S3Settings {
        endpoint: Some(variable("CEDM_S3_ENDPOINT")?),
        bucket: variable("CEDM_S3_BUCKET")?,
        ..S3Settings::default()
    };
    let store = Arc::new(S3Store::open(&settings).await.unwrap());
    for round in 0..ROUNDS {
        let key = format!("race/{round}");
        let writers = (0..WRITERS).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                store
                    .put_if_absent(&key, vec![writer as u8; 100 + writer].into())
                    .await
            })
        });
        let mut winners = Vec::new();
        for (writer, handle) in writers.collect::<Vec<_>>().into_iter().enumerate() {
            match handle.await?? {
                Created::Yes => winners.push(writer),
                Created::Exists | Created::Conflict => {}
                Created::Unknown(reason) => anyhow::bail!("no answer: {reason}"),
            }
        }
        ensure!(
            winners.len() == 1,
            "round {round}: writers {winners:?} succeeded"
        );
        let found = store.get(&key).await?.context("the object is not there")?;
        ensure!(
            *found == *vec![winners[0] as u8; 100 + winners[0]],
            "round {round}: the object is not the winner's"
        );
    }
    Ok(())
}
