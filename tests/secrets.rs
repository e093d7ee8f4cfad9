//! No program shows a secret of its environment, and none prints what a stranger named as it is: in
//! the help of every command, at wrong arguments, and when it cannot connect.

use anyhow::{Context, Result, ensure};
use cedm_tests::program;
use std::{
    collections::VecDeque,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

const PROGRAMS: [&str; 9] = [
    "cedm",
    "cedm-coordinator",
    "cedm-extractor",
    "cedm-clusterer",
    "cedm-bounds",
    "cedm-trainer",
    "cedm-sampler",
    "cedm-evaluator",
    "cedm-store",
];

/// A part of every secret, and of nothing else.
const MARK: &str = "hush";
/// A name that clears the screen and looks like a line of the program's.
const FORGED: &str = "--no-such\u{1b}[2J\u{202e}\ncedm: all is well";

/// The environment of every call: each variable that is or may hold a secret. Nobody listens on
/// port 1.
fn secrets(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("CEDM_HOME", folder.join("home").display().to_string()),
        (
            "CEDM_NATS_URL",
            format!("nats://user:{MARK}-url@127.0.0.1:1"),
        ),
        ("CEDM_NATS_PASSWORD", format!("{MARK}-password")),
        ("CEDM_NATS_TOKEN", format!("{MARK}-token")),
        (
            "CEDM_S3_ENDPOINT",
            format!("http://key:{MARK}-s3@127.0.0.1:1"),
        ),
        ("AWS_ACCESS_KEY_ID", format!("{MARK}-id")),
        ("AWS_SECRET_ACCESS_KEY", format!("{MARK}-secret")),
        ("AWS_SESSION_TOKEN", format!("{MARK}-session")),
        ("CEDM_CONNECT_TIMEOUT_S", "0.2".to_owned()),
    ]
}

/// What a call writes on both streams, after a look for what must not stand there.
fn written(program: &Path, arguments: &[&str], secrets: &[(&str, String)]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .envs(secrets.iter().map(|(name, value)| (name, value)))
        .env_remove("CEDM_NATS_USER")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8(text).context("not UTF-8")?;
    let call = format!("{} {arguments:?}", program.display());
    ensure!(!text.contains(MARK), "{call} shows a secret: {text}");
    let raw = text.contains(['\u{1b}', '\u{202e}']) || text.contains("\ncedm: all is well");
    ensure!(!raw, "{call} prints text of strangers as it is: {text}");
    Ok(text)
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| Some(line.strip_prefix("  ")?.split(' ').next()?.to_owned()));
    names
        .filter(|name| !name.is_empty() && name != "help")
        .collect()
}

/// Every command of every program is called: with `--help`, with a wrong option, and, where it can
/// be started without further arguments, as it is.
#[test]
fn no_help_and_no_error_shows_a_secret_or_what_was_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let secrets = secrets(folder.path());
    let todo: VecDeque<Vec<String>> = PROGRAMS
        .iter()
        .map(|name| vec![(*name).to_owned()])
        .collect();
    let (todo, called) = (Mutex::new(todo), Mutex::new(0));
    let call = |words: &[String]| -> Result<()> {
        let path = program(&words[0])?;
        let before: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let with = |last: &'static str| [&before[..], &[last]].concat();
        let help = written(&path, &with("--help"), &secrets)?;
        ensure!(help.contains("Usage:"), "{words:?} --help: {help}");
        let wrong = written(&path, &with(FORGED), &secrets)?;
        ensure!(wrong.starts_with("error: "), "{words:?} {FORGED}: {wrong}");
        let inner = commands(&help);
        // All services connect by the same code: one with libtorch and one without.
        let service = matches!(words[0].as_str(), "cedm-coordinator" | "cedm-trainer");
        let connects = match before.last() {
            Some(&"serve") => service,
            Some(&"status") => true,
            _ => false,
        };
        if inner.is_empty() && connects {
            // Refused before anything is connected, and then not by the store but by the broker.
            let failed = written(&path, &before, &secrets)?;
            ensure!(
                failed.contains("CEDM_S3_ENDPOINT") || failed.contains("127.0.0.1:1"),
                "{words:?}: {failed}"
            );
            let mut plain = secrets.clone();
            plain.retain(|(name, _)| *name != "CEDM_S3_ENDPOINT");
            plain.push(("CEDM_S3_ENDPOINT", "http://127.0.0.1:1".to_owned()));
            let failed = written(&path, &before, &plain)?;
            ensure!(failed.contains("127.0.0.1:1"), "{words:?}: {failed}");
        }
        let inner = inner.into_iter().map(|name| [words, &[name]].concat());
        todo.lock().expect("no thread panics").extend(inner);
        *called.lock().expect("no thread panics") += 1;
        Ok(())
    };
    let work = || -> Result<()> {
        loop {
            let next = todo.lock().expect("no thread panics").pop_front();
            match next {
                Some(words) => call(&words)?,
                None => return Ok(()),
            }
        }
    };
    // A hundred processes, of which those with libtorch take a while to load.
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    let called = called.into_inner()?;
    ensure!(called > 40, "only {called} commands were found");
    Ok(())
}
