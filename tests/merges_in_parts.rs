//! Results of many shards are listed in parts, since a message names only so many inputs: whatever
//! the parts, the result is the same to the last bit.

use anyhow::{Context, Result, ensure};
use cedm_contract::{
    Hints, Input, Inputs, Job, JobKind, JobSpec, Kind, Manifest, Priority,
    kinds::{
        features::{FeaturesInputs, FeaturesParams},
        reference::{ReferenceInputs, ReferenceParams},
        sample_set::{SampleSetInputs, SampleSetParams},
        score::{ScoreInputs, ScoreParams},
    },
};
use cedm_runtime::{Connection, DeadLetters, SubmitOutcome, Submitter};
use cedm_tests::{System, digits, events::Watch, manifests};
use std::{
    fs,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(300);

/// Four shards of images, and of samples.
fn four_shards() -> String {
    digits::TINY
        .replace("shard_size = 16", "shard_size = 8")
        .replace("snapshots = 2", "snapshots = 1")
}

/// The manifests behind some inputs.
async fn made_by(submitter: &Submitter, inputs: &[&Input]) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    for input in inputs {
        let manifest = submitter.manifest(&input.key).await?;
        found.push(manifest.with_context(|| format!("no result of {}", input.role))?);
    }
    Ok(found)
}

/// A job of kind `K`, performed by the system's own workers.
async fn perform<K: JobKind + Into<JobSpec>>(
    connection: &Connection,
    params: K,
    inputs: K::Inputs<&Manifest>,
) -> Result<Manifest> {
    let roles = inputs.into_roles().into_iter();
    let inputs = roles
        .map(|(role, manifest)| manifest.as_input(role))
        .collect();
    let job = Job::new(params.into(), inputs, Priority::P0, Hints::default());
    let submitter = Submitter::new(connection);
    let end = Instant::now() + TIMEOUT;
    if let SubmitOutcome::Cached(manifest) = submitter.submit(&job).await? {
        return Ok(*manifest);
    }
    loop {
        if let Some(manifest) = submitter.manifest(&job.key).await? {
            return Ok(manifest);
        }
        let letter = DeadLetters::new(connection).readable(&job.key).await?;
        ensure!(letter.is_none(), "{} is dead: {letter:?}", job.key);
        ensure!(Instant::now() < end, "{} is not done", job.key);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Inputs in parts of `size`.
fn cut(shards: &[Manifest], size: usize) -> Vec<Vec<&Manifest>> {
    shards
        .chunks(size)
        .map(|part| part.iter().collect())
        .collect()
}

async fn features_in_parts(connection: &Connection, whole: &Manifest, size: usize) -> Result<()> {
    let inputs = whole.inputs_of::<FeaturesParams>()?;
    let shards = made_by(&Submitter::new(connection), &inputs.shards).await?;
    let mut parts = Vec::new();
    for shards in cut(&shards, size) {
        let params = FeaturesParams {
            shards: shards.len() as u32,
            partial: true,
        };
        parts.push(perform(connection, params, FeaturesInputs { shards }).await?);
    }
    let params = FeaturesParams {
        shards: parts.len() as u32,
        partial: false,
    };
    let shards = parts.iter().collect();
    let made = perform(connection, params, FeaturesInputs { shards }).await?;
    assert_same(&made, whole, "features", size);
    Ok(())
}

async fn sample_set_in_parts(connection: &Connection, whole: &Manifest, size: usize) -> Result<()> {
    let inputs = whole.inputs_of::<SampleSetParams>()?;
    let (params, _) = whole.as_kind::<SampleSetParams>()?;
    let shards = made_by(&Submitter::new(connection), &inputs.shards).await?;
    let (mut parts, mut first_seed) = (Vec::new(), params.first_seed);
    for shards in cut(&shards, size) {
        let count = shards.len() as u64 * 8;
        let params = SampleSetParams { first_seed, count };
        first_seed += count;
        parts.push(perform(connection, params, SampleSetInputs { shards }).await?);
    }
    let shards = parts.iter().collect();
    let made = perform(connection, params.clone(), SampleSetInputs { shards }).await?;
    assert_same(&made, whole, "sample set", size);
    Ok(())
}

/// Parts of measured shards, as a reference and a score read them.
async fn measured_parts(
    connection: &Connection,
    whole: &ScoreParams,
    shards: &[Manifest],
    size: usize,
) -> Result<Vec<Manifest>> {
    let mut parts = Vec::new();
    for shards in cut(shards, size) {
        let params = ReferenceParams {
            extractor: whole.extractor.clone(),
            at_most: None,
            partial: true,
        };
        parts.push(perform(connection, params, ReferenceInputs { shards }).await?);
    }
    Ok(parts)
}

async fn score_in_parts(connection: &Connection, whole: &Manifest, size: usize) -> Result<()> {
    let submitter = Submitter::new(connection);
    let (params, _) = whole.as_kind::<ScoreParams>()?;
    let inputs = whole.inputs_of::<ScoreParams>()?;
    let reference = made_by(&submitter, &[inputs.reference]).await?.remove(0);
    // The other side of the score first.
    let measured = reference.inputs_of::<ReferenceParams>()?;
    let shards = made_by(&submitter, &measured.shards).await?;
    let parts = measured_parts(connection, params, &shards, size).await?;
    let (of_reference, _) = reference.as_kind::<ReferenceParams>()?;
    let shards = parts.iter().collect();
    let made = perform(connection, of_reference.clone(), ReferenceInputs { shards }).await?;
    assert_same(&made, &reference, "reference", size);

    let shards = made_by(&submitter, &inputs.shards).await?;
    let parts = measured_parts(connection, params, &shards, size).await?;
    let inputs = ScoreInputs {
        reference: &made,
        shards: parts.iter().collect(),
        unconditional: None,
        test: None,
        condition: None,
    };
    let made = perform(connection, params.clone(), inputs).await?;
    assert_same(&made, whole, "score", size);
    Ok(())
}

/// Another job with the same result: the digest is over all of its files and numbers.
fn assert_same(made: &Manifest, whole: &Manifest, what: &str, size: usize) {
    assert_ne!(
        made.key, whole.key,
        "{what}: the job in parts is another one"
    );
    assert_eq!(
        made.digest, whole.digest,
        "{what} in parts of {size}: {:?} instead of {:?}",
        made.result, whole.result
    );
}

/// Imports 64 digits in four shards and runs a sweep over them.
fn finished() -> Result<System> {
    let system = System::start()?;
    let archive = digits::archive().display().to_string();
    let import = ["import", &archive, "--name", "digits", "--max-images", "64"];
    system.run_json(&[&import[..], &["--shard-size", "16"]].concat())?;
    let file = system.home().join("parts.toml");
    fs::write(&file, four_shards()).context("write the sweep file")?;
    system.run_json(&["submit", &file.display().to_string(), "--name", "parts"])?;
    ensure!(Watch::on(&system, "parts")?.end(TIMEOUT)?, "not complete");
    Ok(system)
}

#[test]
fn results_are_the_same_however_they_are_cut_into_parts() -> Result<()> {
    finished()?.with_connection(async |connection| {
        let features = manifests(connection, Some(Kind::Features)).await?;
        let sample_sets = manifests(connection, Some(Kind::SampleSet)).await?;
        let scores = manifests(connection, Some(Kind::Score)).await?;
        for whole in features.iter().chain(&sample_sets) {
            ensure!(whole.inputs.len() == 4, "{:?}", whole.inputs);
        }
        for size in [1, 2, 3] {
            features_in_parts(connection, &features[0], size).await?;
            sample_set_in_parts(connection, &sample_sets[0], size).await?;
            score_in_parts(connection, &scores[0], size).await?;
        }
        Ok(())
    })
}
