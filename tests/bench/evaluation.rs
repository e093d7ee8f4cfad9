//! Times the formulas of evaluation on files that `evaluation.py` wrote: `fd A.npz B.npz`, `prdc
//! REAL.npy FAKE.npy`, `kid REAL.npy FAKE.npy`. One JSON line on stdout; reading files is not
//! timed.

#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use cedm_maths::{Features, MeanStd, frechet_to, kid, prdc, random_subsets, read_statistics};
use std::{path::Path, time::Instant};
use tch::Tensor;

fn main() -> anyhow::Result<()> {
    let _guard = tch::no_grad_guard();
    let threads = std::env::var("CEDM_THREADS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    tch::set_num_threads(threads);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, first, second] = &arguments[..] else {
        bail!("expected: fd|prdc|kid FIRST SECOND, found {arguments:?}")
    };
    let (first, second) = (Path::new(first), Path::new(second));
    match what.as_str() {
        "fd" => distance(first, second),
        "prdc" => balls(&features("real", first)?, &features("fake", second)?),
        "kid" => kernel(
            &features("real", first)?.double(),
            &features("fake", second)?.double(),
        ),
        other => bail!("`{other}` is none of fd, prdc, kid"),
    }
}

fn features(name: &str, file: &Path) -> anyhow::Result<Features> {
    let rows = Tensor::read_npy(file).with_context(|| format!("read {}", file.display()))?;
    Ok(Features::new(name, &rows)?)
}

fn distance(first: &Path, second: &Path) -> anyhow::Result<()> {
    let (reference, generated) = (
        read_statistics(first)?.gaussian,
        read_statistics(second)?.gaussian,
    );
    let started = Instant::now();
    let root = reference.root()?;
    let rooted = started.elapsed().as_secs_f64();
    let found = frechet_to(&root, &reference, &generated)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        r#"{{"distance": {:.17e}, "seconds": {seconds}, "seconds_with_cached_root": {}}}"#,
        found.distance,
        seconds - rooted
    );
    Ok(())
}

fn balls(real: &Features, fake: &Features) -> anyhow::Result<()> {
    let started = Instant::now();
    let found = prdc(real, fake, 5)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        r#"{{"precision": {}, "recall": {}, "density": {}, "coverage": {}, "seconds": {seconds}, "peak_mib": {}}}"#,
        found.precision,
        found.recall,
        found.density,
        found.coverage,
        peak_mib()
    );
    Ok(())
}

fn kernel(real: &Features, fake: &Features) -> anyhow::Result<()> {
    let started = Instant::now();
    let rows = 1000.min(real.count()).min(fake.count());
    let pairs: Vec<_> = random_subsets(0, fake.count(), rows, 100)?
        .into_iter()
        .zip(random_subsets(1, real.count(), rows, 100)?)
        .collect();
    let found = MeanStd::of(&kid(fake, real, &pairs)?);
    println!(
        r#"{{"mean": {}, "std": {}, "seconds": {}}}"#,
        found.mean,
        found.std,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Largest resident memory of this process in MiB; 0 where the system does not say.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
