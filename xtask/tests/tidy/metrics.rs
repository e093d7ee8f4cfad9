//! The tables of metrics in `dashboards/README.md` are made from the definitions in the code.

use crate::sources::{Source, sources};
use std::path::Path;

/// Where the metrics of every process are defined.
const EVERY_SERVICE: &str = "shared/runtime/src/metrics/process.rs";

/// One line of a `metrics!` list.
#[derive(Debug, PartialEq)]
struct Definition {
    kind: &'static str,
    labels: Vec<String>,
    name: String,
    unit: String,
    help: String,
}

/// The definitions in a file, in its order. The list is short and has one form, held by the macro:
/// `pub HANDLE: Type["label"] = "name", "unit", "help";`.
fn definitions(text: &str) -> Vec<Definition> {
    let Some((_, list)) = text.split_once("metrics! {\n") else {
        return Vec::new();
    };
    let list = list.split("\n}\n").next().unwrap();
    let statements = list
        .split(";\n")
        .filter(|part| part.contains(" = ") || part.contains(" =\n"));
    statements
        .map(|statement| {
            let (head, values) = statement.split_once('=').unwrap();
            let (_, type_name) = head.split_once(": ").unwrap();
            let kind = match type_name.trim().split(['[', ' ']).next().unwrap() {
                "Counter" => "counter",
                "Gauge" | "GaugeList" => "gauge",
                "JobSeconds" | "CallSeconds" => "histogram",
                other => panic!("`{other}` is no type of metric"),
            };
            let quoted = |text: &str| -> Vec<String> {
                let parts = text.split('"').skip(1).step_by(2);
                parts.map(str::to_owned).collect()
            };
            let [name, unit, help] = quoted(values).try_into().expect("name, unit and help");
            Definition {
                kind,
                labels: quoted(head),
                name,
                unit,
                help,
            }
        })
        .collect()
}

/// Rows of a table; with the service where the table is of several.
fn rows(source: &Source, service: Option<&str>) -> String {
    let row = |definition: Definition| {
        let labels: Vec<String> = definition
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let Definition {
            kind,
            name,
            unit,
            help,
            ..
        } = definition;
        let service = service.map_or(String::new(), |service| format!("{service} | "));
        let labels = labels.join(", ");
        format!("| `{name}` | {kind} | {service}{labels} | {unit} | {help} |\n")
            .replace("|  |", "| |")
    };
    definitions(&source.text).into_iter().map(row).collect()
}

/// The three tables: every service, the coordinator, the workers.
fn tables() -> [(&'static str, String); 3] {
    const PLAIN: &str = "| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n";
    const OF_WORKERS: &str =
        "| metric | type | service | labels | unit | meaning |\n|---|---|---|---|---|---|\n";
    let (mut every, mut coordinator, mut workers) =
        (PLAIN.to_owned(), PLAIN.to_owned(), OF_WORKERS.to_owned());
    for source in sources() {
        let service = source
            .path
            .strip_prefix("services/")
            .and_then(|rest| rest.split('/').next());
        match service {
            _ if source.path == EVERY_SERVICE => every += &rows(&source, None),
            Some("coordinator") => coordinator += &rows(&source, None),
            Some(service) if source.is_rust() => workers += &rows(&source, Some(service)),
            _ => {}
        }
    }
    [
        ("every service", every),
        ("coordinator", coordinator),
        ("workers", workers),
    ]
}

#[test]
fn the_tables_of_metrics_are_those_that_services_define() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/README.md");
    let found = std::fs::read_to_string(&file).unwrap();
    let mut expected = found.clone();
    for (title, table) in tables() {
        let open = format!("<!-- metrics: {title} -->\n");
        let (before, rest) = expected
            .split_once(&open)
            .unwrap_or_else(|| panic!("dashboards/README.md has no {open:?}"));
        let (_, after) = rest.split_once("<!-- end -->").expect("an end mark");
        expected = format!("{before}{open}{table}<!-- end -->{after}");
    }
    if std::env::var_os("CEDM_BLESS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    } else {
        assert!(
            found == expected,
            "dashboards/README.md is out of date: run this test with CEDM_BLESS=1"
        );
    }
}

#[test]
fn definitions_are_read_with_labels_and_without() {
    let text = "crate::metrics! {\n    pub A: Gauge = \"cedm_a\", \"1\", \"One; two\";\n    \
                pub(crate) B: JobSeconds[\"kind\", \"op\"] =\n        \"cedm_b\", \"seconds\",\n        \
                \"Time\";\n}\n";
    let found = definitions(text);
    assert_eq!(
        (found[0].kind, found[0].help.as_str()),
        ("gauge", "One; two")
    );
    assert_eq!(
        (found[1].kind, found[1].unit.as_str()),
        ("histogram", "seconds")
    );
    assert_eq!(found[1].labels, ["kind", "op"]);
}
