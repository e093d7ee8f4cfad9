//! Named places where a test can end or hold a process: the rows of the crash matrix.

use std::{path::Path, time::Duration};

/// Ends or holds the process here when `CEDM_FAILPOINT` asks for it:
/// `[<program>/]<place>[:<marker>[:hold]]`.
///
/// The process ends as if by SIGKILL. With a marker, a file that is created now and gets its
/// process id, only the first process that comes here is concerned, so that a restarted one passes.
/// With `hold` this thread stays here until `<marker>.go` exists, so that a test can kill, freeze
/// or drain a process whose state it knows.
pub(crate) fn failpoint(place: &str) {
    let Ok(wanted) = std::env::var("CEDM_FAILPOINT") else {
        return;
    };
    let mut parts = wanted.splitn(3, ':');
    let (at, marker, action) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if !is_meant(at, place, &crate::serve::program_name())
        || marker.is_some_and(|marker| mark(Path::new(marker)).is_err())
    {
        return;
    }
    match (marker, action) {
        (Some(marker), Some("hold")) => {
            let go = format!("{marker}.go");
            while !Path::new(&go).exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        _ => std::process::abort(),
    }
}

/// Creates the marker; an error when it exists already. It appears with its content.
fn mark(marker: &Path) -> std::io::Result<()> {
    let draft = marker.with_extension(std::process::id().to_string());
    std::fs::write(&draft, std::process::id().to_string())?;
    let made = std::fs::hard_link(&draft, marker);
    std::fs::remove_file(&draft)?;
    made
}

fn is_meant(at: &str, place: &str, program: &str) -> bool {
    match at.split_once('/') {
        Some((wanted, at)) => wanted == program && at == place,
        None => at == place,
    }
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn a_place_of_one_program_or_of_all() {
        for (at, expect) in [
            ("before-manifest", true),
            ("trainer/before-manifest", true),
            ("sampler/before-manifest", false),
            ("trainer/after-manifest", false),
            ("", false),
        ] {
            assert_eq!(is_meant(at, "before-manifest", "trainer"), expect, "{at}");
        }
    }
}
