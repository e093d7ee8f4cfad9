//! Every panel of every dashboard shows data: its expressions are evaluated by a real Prometheus
//! that scraped a running system, and its JSON is accepted by Grafana's file provisioning. Every
//! rule is valid, reads series that exist, and every alert has its unit test and its section for
//! whoever is on call.

use anyhow::{Context, Result, ensure};
use cedm_tests::{System, digits, events::Watch, http};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

fn dashboards() -> Result<Vec<(PathBuf, Value)>> {
    let folder = folder();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let dashboard = serde_json::from_slice(&std::fs::read(&path)?)
                .with_context(|| format!("read {}", path.display()))?;
            found.push((path, dashboard));
        }
    }
    ensure!(!found.is_empty(), "no dashboard below {}", folder.display());
    Ok(found)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"])
        .iter()
        .filter(|panel| panel["type"] != "row")
}

#[test]
fn dashboards_can_be_provisioned() -> Result<()> {
    for (path, dashboard) in dashboards()? {
        let at = path.display();
        assert!(
            dashboard["schemaVersion"]
                .as_u64()
                .is_some_and(|version| version <= 41),
            "{at}: schemaVersion"
        );
        assert!(
            dashboard["uid"]
                .as_str()
                .is_some_and(|uid| uid.starts_with("cedm-")),
            "{at}: a fixed uid"
        );
        assert!(
            dashboard.get("id").is_none_or(Value::is_null),
            "{at}: an id would collide with one of the target instance"
        );
        let variables = list(&dashboard["templating"]["list"]);
        assert!(
            variables
                .iter()
                .any(|variable| variable["type"] == "datasource"),
            "{at}: the data source is a variable"
        );
        let (mut ids, mut places) = (
            std::collections::BTreeSet::new(),
            std::collections::BTreeSet::new(),
        );
        for panel in list(&dashboard["panels"]) {
            assert!(
                ids.insert(panel["id"].as_u64()),
                "{at}: panel id {} is used twice",
                panel["id"]
            );
            assert!(
                places.insert((
                    panel["gridPos"]["x"].as_u64(),
                    panel["gridPos"]["y"].as_u64()
                )),
                "{at}: two panels at {}",
                panel["gridPos"]
            );
        }
        for panel in panels(&dashboard) {
            let title = &panel["title"];
            assert!(
                panel["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 20),
                "{at}: {title} has no description"
            );
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{at}: {title} has no unit"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{at}: {title}");
            assert!(
                !list(&panel["targets"]).is_empty(),
                "{at}: {title} has no target"
            );
        }
    }
    Ok(())
}

#[test]
fn every_expression_returns_data_from_a_running_system() -> Result<()> {
    if std::process::Command::new("prometheus")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("SKIPPED: no Prometheus on this machine (Debian: apt install prometheus)");
        return Ok(());
    }
    let system = System::start_with(&["--prometheus"])?;
    let access: Value = serde_json::from_slice(
        &std::fs::read(system.home().join("access.json")).context("read access.json")?,
    )?;
    let port = access["prometheus_port"]
        .as_u64()
        .context("no port of Prometheus")? as u16;
    digits::submit(&system, "tiny", digits::TINY)?;
    assert!(
        Watch::on(&system, "tiny")?.end(Duration::from_secs(300))?,
        "the sweep did not complete"
    );
    let deadline = Instant::now() + Duration::from_secs(60);
    for (path, dashboard) in dashboards()? {
        for panel in panels(&dashboard) {
            for target in list(&panel["targets"]) {
                let written = target["expr"]
                    .as_str()
                    .context("a target without an expression")?;
                let expression = written
                    .replace("$__rate_interval", "2m")
                    .replace("$__range", "5m");
                // A rate needs two scrapes: repeat until they are done.
                loop {
                    let answer = query(port, &expression)?;
                    ensure!(
                        answer["status"] == "success",
                        "{}, {}: {written}: {}",
                        path.display(),
                        panel["title"],
                        answer["error"]
                    );
                    if !list(&answer["data"]["result"]).is_empty() {
                        break;
                    }
                    ensure!(
                        Instant::now() < deadline,
                        "{}, {}: no data for {written}",
                        path.display(),
                        panel["title"]
                    );
                    std::thread::sleep(Duration::from_millis(250));
                }
            }
        }
    }
    check_rules(port)
}

/// The rules that a running Prometheus has loaded: healthy, on series that exist, each alert with
/// what its reader needs, and none firing where nothing is wrong.
fn check_rules(port: u16) -> Result<()> {
    let metric = regex::Regex::new(r"\bcedm_[a-z0-9_]+|\b[a-z]*:cedm_[a-z0-9_:]+")?;
    let manual = std::fs::read_to_string(folder().join("README.md"))?;
    let tests = std::fs::read_to_string(folder().join("rules_test.yml"))?;
    let answer = get(port, "/api/v1/rules")?;
    let rules: Vec<&Value> = list(&answer["data"]["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]))
        .collect();
    ensure!(!rules.is_empty(), "Prometheus has loaded no rules");
    for rule in rules {
        let name = rule["name"].as_str().context("a rule without a name")?;
        let error = &rule["lastError"];
        ensure!(rule["health"] != "err", "{name}: {error}");
        let expression = rule["query"]
            .as_str()
            .context("a rule without expression")?;
        for found in metric.find_iter(expression) {
            // Recorded series exist once their own expression has data; their rule is checked
            // itself.
            let series = found.as_str();
            if !series.contains(':') {
                let answer = query(port, &format!("count({series})"))?;
                let found = !list(&answer["data"]["result"]).is_empty();
                ensure!(found, "{name}: nobody exposes {series}");
            }
        }
        if rule["type"] == "alerting" {
            ensure!(rule["state"] != "firing", "{name} fires: {rule}");
            let severity = &rule["labels"]["severity"];
            ensure!(
                severity == "critical" || severity == "warning",
                "{name}: severity {severity}, expected critical or warning"
            );
            for annotation in ["summary", "description"] {
                let text = rule["annotations"][annotation].as_str();
                ensure!(text.is_some(), "{name}: no {annotation}");
            }
            let anchor = format!("dashboards/README.md#{}", name.to_lowercase());
            ensure!(rule["annotations"]["runbook_url"] == anchor, "{name}");
            ensure!(
                manual.contains(&format!("### {name}\n")),
                "dashboards/README.md has no section {name}"
            );
            let fires =
                tests.contains(&format!("        alertname: {name}\n        exp_alerts:\n"));
            let quiet = format!("alertname: {name}, exp_alerts: []");
            ensure!(
                fires && tests.matches(&quiet).count() >= 2,
                "rules_test.yml does not show {name} quiet, firing and resolved"
            );
        }
    }
    Ok(())
}

#[test]
fn rules_pass_their_unit_tests() -> Result<()> {
    for arguments in [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ] {
        let run = std::process::Command::new("promtool")
            .args(arguments)
            .current_dir(folder())
            .output();
        let Ok(output) = run else {
            println!("SKIPPED: no promtool on this machine (Debian: apt install prometheus)");
            return Ok(());
        };
        ensure!(
            output.status.success(),
            "promtool {}: {}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Evaluates an expression by Prometheus's HTTP API.
fn query(port: u16, expression: &str) -> Result<Value> {
    let encoded: String = expression
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    get(port, &format!("/api/v1/query?query={encoded}"))
}

/// Asks Prometheus's HTTP API.
fn get(port: u16, path: &str) -> Result<Value> {
    let (_, body) = http::get(("127.0.0.1", port), path).context("ask Prometheus")?;
    serde_json::from_str(&body).with_context(|| format!("answer of Prometheus: {body}"))
}
