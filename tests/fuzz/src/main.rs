//! `cedm-fuzz`: runs the fuzz targets for a while, each in a child process with limits of time and
//! memory, and keeps every input that ends one.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use cedm_fuzz::{Mutator, Target, seeds};
use clap::{Parser, ValueEnum};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Fuzz the readers of strangers' files. Findings (a panic, an abort, more than 90 s or 1 GiB) are
/// written to a folder; the last line says how many inputs were run.
#[derive(Parser)]
#[command(name = "cedm-fuzz", version)]
struct Args {
    /// Only this target; default: all in turn
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Folder of sound files to start from
    #[arg(long, default_value = "tests/cases")]
    corpus: PathBuf,
    /// Number of the first input; the others follow
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Folder for inputs that made a reader fail
    #[arg(long, default_value = "fuzz-findings")]
    findings: PathBuf,
    /// Run inputs in this process and write the number of each to a file (used by the program
    /// itself)
    #[arg(long, hide = true)]
    worker: Option<PathBuf>,
}

/// Longest time for one input, and most memory of the process.
const TIME: Duration = Duration::from_secs(90);
const MEMORY_KIB: u64 = 1 << 20;

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(folder) = &args.worker {
        return work(&args, folder);
    }
    let targets = args
        .target
        .map_or_else(|| Target::ALL.to_vec(), |target| vec![target]);
    let mut found = 0;
    for target in targets {
        let (inputs, findings) = watch(&args, target)?;
        println!("{target:?}: {inputs} inputs, {findings} findings");
        found += findings;
    }
    ensure!(
        found == 0,
        "{found} findings in {}",
        args.findings.display()
    );
    Ok(())
}

/// Runs a target until its time is up, with a new process after every finding.
fn watch(args: &Args, target: Target) -> Result<(u64, u64)> {
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let (mut next, mut findings) = (args.first, 0);
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    while Instant::now() < until {
        let name = target
            .to_possible_value()
            .context("a target without a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--target", name.get_name(), "--first", &next.to_string()])
            .arg("--corpus")
            .arg(&args.corpus)
            .arg("--worker")
            .arg(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .context("start a worker")?;
        let (ended, last) = follow(&mut child, folder.path(), until)?;
        // A process that is killed while it writes leaves the file empty.
        let number = number_in(folder.path()).or(last).unwrap_or(next);
        if let Some(reason) = ended {
            let seeds = seeds(&args.corpus, target)?;
            fs::create_dir_all(&args.findings)?;
            let file = args.findings.join(format!("{}-{number}", name.get_name()));
            fs::write(&file, Mutator::new(&seeds).input(number))?;
            println!("{}: {reason}", file.display());
            findings += 1;
        }
        next = number + 1;
    }
    Ok((next - args.first, findings))
}

/// Waits for the end of the time or of the child; the reason where an input ended it, and the last
/// input that was seen.
fn follow(
    child: &mut Child,
    folder: &Path,
    until: Instant,
) -> Result<(Option<String>, Option<u64>)> {
    let (mut last, mut since) = (None, Instant::now());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((Some(format!("the process ended ({status})")), last));
        }
        let number = number_in(folder).or(last);
        if number != last {
            (last, since) = (number, Instant::now());
        }
        let slow = since.elapsed() > TIME;
        let large = peak_kib(child.id()).is_some_and(|kib| kib > MEMORY_KIB);
        if slow || large || Instant::now() > until {
            child.kill()?;
            child.wait()?;
            let reason = if slow {
                Some(format!("more than {} s", TIME.as_secs()))
            } else {
                large.then(|| "more than 1 GiB of memory".to_owned())
            };
            return Ok((reason, last));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn number_in(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join("number"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Largest resident size of a process so far.
fn peak_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The child: runs inputs until it is killed or one of them ends it.
fn work(args: &Args, folder: &Path) -> Result<()> {
    let Some(target) = args.target else {
        bail!("a worker needs a target");
    };
    let seeds = seeds(&args.corpus, target)?;
    let mutator = Mutator::new(&seeds);
    let inputs = folder.join("inputs");
    fs::create_dir_all(&inputs)?;
    for number in args.first.. {
        // Written before the input is read: it says which one ended the process.
        fs::write(folder.join("number"), number.to_string())?;
        target.run(&mutator.input(number), &inputs)?;
    }
    Ok(())
}
