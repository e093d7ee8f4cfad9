//! Opens a page in headless Chromium, in frames of several widths, and asks each what it sees.

use serde_json::Value;
use std::process::{Command, Stdio};

/// Put before everything else of the page: collects what goes wrong and reports once all is loaded.
const OBSERVER: &str = include_str!("observer.js");

/// What each frame saw; `None` where there is no Chromium.
pub fn open(html: &str, widths: &[u32]) -> Option<Vec<Value>> {
    let chromium = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ]
    .into_iter()
    .find(|name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })?;
    let folder = tempfile::tempdir().unwrap();
    let watched = html.replacen("<head>", &format!("<head><script>{OBSERVER}</script>"), 1);
    std::fs::write(folder.path().join("page.html"), watched).unwrap();
    let frames: String = widths
        .iter()
        .map(|width| {
            format!(
                "<iframe src=\"page.html\" \
                 style=\"width:{width}px;height:900px;border:0\"></iframe>"
            )
        })
        .collect();
    let listener = "addEventListener('message', (event) => \
        { const line = document.createElement('p'); line.textContent = 'SEEN ' + event.data; document.body.append(line); })";
    let wrapper = format!(
        "<!doctype html><meta charset=utf-8><body><script>{listener}</script>{frames}</body>"
    );
    std::fs::write(folder.path().join("frames.html"), wrapper).unwrap();
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            "--window-size=1500,1000",
        ])
        .args([
            "--virtual-time-budget=20000",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .arg(format!(
            "file://{}",
            folder.path().join("frames.html").display()
        ))
        .output()
        .unwrap();
    let (dom, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(complaints.is_empty(), "the console says: {complaints:#?}");
    let seen: Vec<Value> = dom
        .split("SEEN ")
        .skip(1)
        .filter_map(|rest| {
            rest.split("</p>")
                .next()?
                .starts_with('{')
                .then(|| rest.split("</p>").next())?
        })
        .map(|json| {
            serde_json::from_str(
                &json
                    .replace("&lt;", "<")
                    .replace("&gt;", ">")
                    .replace("&amp;", "&"),
            )
            .unwrap()
        })
        .collect();
    assert_eq!(
        seen.len(),
        widths.len(),
        "not every frame reported; Chromium said: {log}\n{}",
        &dom[dom.len().saturating_sub(2000)..]
    );
    Some(seen)
}
