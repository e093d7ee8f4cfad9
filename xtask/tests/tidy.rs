//! The rules of the workspace as tests: which crate may import which, which dependencies may enter,
//! and what no file may contain.

#[path = "tidy/cuda.rs"]
mod cuda;
#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/metrics.rs"]
mod metrics;
#[path = "tidy/printing.rs"]
mod printing;
#[path = "tidy/sources.rs"]
mod sources;

use imports::Workspace;
use sources::{Source, sources};

/// Crates that never link libtorch: they build in seconds and run anywhere.
const TORCH_FREE: &[&str] = &[
    "cedm-contract",
    "cedm-fault",
    "cedm-terminal",
    "cedm-atomic-file",
    "cedm-catalogue",
    "cedm-sweep",
    "cedm-runtime",
    "cedm-tensor-files",
    "cedm-images",
    "cedm-partitions",
    "cedm-planner",
    "cedm-report",
    "cedm-coordinator",
    "cedm-bounds",
    "cedm-cli",
    "cedm-store",
    "cedm-tests",
    "xtask",
];

const SERVICES: &[&str] = &[
    "cedm-coordinator",
    "cedm-extractor",
    "cedm-clusterer",
    "cedm-bounds",
    "cedm-trainer",
    "cedm-sampler",
    "cedm-evaluator",
    "cedm-store",
    "cedm-cli",
];

#[test]
fn crates_import_only_what_the_layers_allow() {
    let workspace = Workspace::read();
    let mut broken = Vec::new();
    let mut forbid = |crates: &[&str], reached: &[&str], why: &str| {
        for name in crates {
            for other in reached
                .iter()
                .filter(|other| *other != name && workspace.reaches(name, other))
            {
                broken.push(format!("{name} reaches {other}: {why}"));
            }
        }
    };
    forbid(
        TORCH_FREE,
        &["tch", "torch-sys", "cedm-torch"],
        "it must build without libtorch",
    );
    forbid(
        &[
            "cedm-contract",
            "cedm-catalogue",
            "cedm-fault",
            "cedm-atomic-file",
        ],
        &workspace.members_but(&[]),
        "it stands at the bottom and imports no crate of the workspace",
    );
    forbid(
        &["cedm-tensor-files", "cedm-partitions"],
        &workspace.members_but(&["cedm-fault", "cedm-atomic-file"]),
        "files and formulas know of the workspace only how an error is treated",
    );
    forbid(
        &["cedm-sweep"],
        &workspace.members_but(&["cedm-contract", "cedm-catalogue"]),
        "the sweep file is checked with the contract and the catalogue alone",
    );
    forbid(
        &[
            "cedm-contract",
            "cedm-catalogue",
            "cedm-fault",
            "cedm-sweep",
        ],
        &["tokio", "async-nats"],
        "it is pure data",
    );
    forbid(
        &["cedm-torch"],
        &workspace.members_but(&["cedm-tensor-files", "cedm-fault", "cedm-atomic-file"]),
        "every crate with tensors builds on it",
    );
    forbid(
        &["cedm-images"],
        &["cedm-runtime"],
        "image formats do not depend on how jobs are run",
    );
    forbid(
        &["cedm-maths"],
        &["cedm-contract", "cedm-runtime", "cedm-nets"],
        "formulas depend neither on messages nor on networks",
    );
    forbid(
        &[
            "cedm-nets",
            "cedm-dino",
            "cedm-clustering",
            "cedm-diffusion",
        ],
        &["cedm-runtime", "tokio"],
        "networks and methods do not depend on how jobs are run",
    );
    forbid(
        &["cedm-planner", "cedm-report"],
        &["cedm-runtime", "tokio", "async-nats"],
        "plan and report are pure functions",
    );
    broken.extend(
        workspace
            .importers("openssl-sys")
            .into_iter()
            .map(|name| format!("{name} imports openssl-sys: rustls is the only TLS stack")),
    );
    broken.extend(
        workspace
            .importers("safetensors")
            .into_iter()
            .filter(|name| name != "cedm-tensor-files")
            .map(|name| {
                format!("{name} imports safetensors: only cedm-tensor-files opens such files")
            }),
    );
    for direct in ["async-nats", "aws-sdk-s3", "aws-config"] {
        broken.extend(
            workspace
                .importers(direct)
                .into_iter()
                .filter(|name| name != "cedm-runtime")
                .map(|name| {
                    format!(
                        "{name} imports {direct}: only cedm-runtime talks to the \
                         broker and the store"
                    )
                }),
        );
    }
    broken.extend(
        workspace
            .importers("s3s")
            .into_iter()
            .filter(|name| name != "cedm-store")
            .map(|name| format!("{name} imports s3s: only cedm-store serves S3")),
    );
    for name in SERVICES {
        for other in SERVICES
            .iter()
            .filter(|other| *other != name && workspace.imports(name, other))
        {
            broken.push(format!(
                "{name} imports {other}: services share shared/* only"
            ));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn dependencies_have_allowed_licences_sources_and_versions() {
    let broken = dependencies::violations(&dependencies::metadata());
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_service_has_import_rules() {
    let workspace = Workspace::read();
    for name in TORCH_FREE.iter().chain(SERVICES) {
        assert!(
            workspace.members().contains(name),
            "{name} is in the rules, but no member of the workspace"
        );
    }
    let unplanned: Vec<_> = workspace
        .members()
        .into_iter()
        .filter(|name| workspace.folder(name).contains("/services/") && !SERVICES.contains(name))
        .collect();
    assert!(
        unplanned.is_empty(),
        "services without rules: {unplanned:?}"
    );
}

#[test]
fn crate_roots_forbid_unsafe_code_and_have_a_front_page() {
    let mut broken = Vec::new();
    let sources = sources();
    for source in sources.iter().filter(|source| source.is_crate_head()) {
        if !source.text.starts_with("//! ") {
            broken.push(format!("{}: does not open with //!", source.path));
        }
        let may_be_unsafe = source.path.starts_with("shared/torch/");
        if !may_be_unsafe && !source.text.contains("#![forbid(unsafe_code)]") {
            broken.push(format!("{}: lacks #![forbid(unsafe_code)]", source.path));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn files_are_short_documented_and_complete() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        if lines > 500 {
            broken.push(format!("{}: {lines} lines, 500 at most", source.path));
        }
        if source.path.ends_with("/mod.rs") {
            broken.push(format!(
                "{}: `foo.rs` beside `foo/`, never mod.rs",
                source.path
            ));
        }
        if !source.text.trim_start().starts_with("//!") {
            broken.push(format!(
                "{}: does not open with a //! sentence",
                source.path
            ));
        }
        // Characters, not bytes; rustfmt leaves comments as they are.
        let comments =
            source.text.lines().enumerate().filter(|(_, line)| {
                line.trim_start().starts_with("//") && line.chars().count() > 100
            });
        broken.extend(comments.map(|(index, _)| {
            format!("{}:{}: a comment over 100 columns", source.path, index + 1)
        }));
        // Written apart, so that this file keeps its own rules.
        for unfinished in [
            concat!("TO", "DO"),
            concat!("FIX", "ME"),
            concat!("todo", "!("),
            concat!("unimplemented", "!("),
            concat!("#[ig", "nore"),
        ] {
            broken.extend(
                source
                    .lines_with(unfinished)
                    .map(|line| format!("{}:{line}: {unfinished}", source.path)),
            );
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn no_file_names_a_machine_or_a_registry_host() {
    let mut broken = Vec::new();
    let hosts = [
        concat!("files.python", "hosted.org"),
        concat!("pypi", ".org"),
        concat!("download.py", "torch.org"),
        concat!("static.crates", ".io"),
    ];
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    for source in sources()
        .iter()
        .filter(|source| !source.path.ends_with("Cargo.lock"))
    {
        for needle in hosts.iter().chain(&places) {
            broken.extend(
                source
                    .lines_with(needle)
                    .map(|line| format!("{}:{line}: {needle}", source.path)),
            );
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn tensor_files_are_read_and_written_in_one_place() {
    let mut broken = Vec::new();
    // tch's own reader and writer stand in one test alone, which compares them with ours.
    let others =
        |source: &&Source| source.is_rust() && source.path != "shared/torch/src/tensor_files.rs";
    for source in sources().iter().filter(others) {
        for needle in [
            concat!("read_safe", "tensors("),
            concat!("write_safe", "tensors("),
        ] {
            broken.extend(
                source
                    .lines_with(needle)
                    .map(|line| format!("{}:{line}: use cedm_torch::tensor_files", source.path)),
            );
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The statement that ends in a call of `inputs::<…>` takes a whole struct apart: the compiler then
/// asks for every field, and warns of one that nobody reads.
fn takes_every_role(text_before_call: &str) -> bool {
    let Some(start) = text_before_call.rfind("let ") else {
        return false;
    };
    let statement = &text_before_call[start..];
    let fields = statement
        .split_once("Inputs {")
        .and_then(|(_, rest)| rest.split_once('}'));
    matches!(fields, Some((fields, rest))
        if rest.trim_start().starts_with('=')
            && !fields.contains("..")
            && !fields.contains(": _")
            && !rest.contains(';'))
}

#[test]
fn a_worker_takes_every_role_of_its_inputs() {
    let call = concat!(".inputs", "::<");
    let mut found = 0;
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust()) {
        for (at, _) in source.text.match_indices(call) {
            found += 1;
            if !takes_every_role(&source.text[..at]) {
                let line = source.text[..at].lines().count();
                broken.push(format!(
                    "{}:{line}: take the inputs apart, `let FitInputs {{ images }} = …`, so that \
                     a role which nobody reads does not compile",
                    source.path
                ));
            }
        }
    }
    assert!(found > 10, "found only {found} calls");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(takes_every_role("let FitInputs { images } = context"));
    for ignored in [
        "let images = context",
        "let FitInputs { .. } = context",
        "let FitInputs { images: _ } = context",
        "let FitInputs { images } = other; fetch(context",
    ] {
        assert!(!takes_every_role(ignored), "{ignored}");
    }
}

#[test]
fn the_checks_detect_violations() {
    let source = Source {
        path: "shared/x/src/lib.rs".to_owned(),
        text: format!("//! X.\nlet a = \"/wo{}\";\n", "rk/y"),
    };
    assert!(source.is_crate_head() && source.is_rust());
    assert_eq!(
        source.lines_with(concat!("/wo", "rk/")).collect::<Vec<_>>(),
        [2]
    );
    let workspace = Workspace::read();
    assert!(
        workspace.reaches("cedm-trainer", "torch-sys")
            && workspace.imports("cedm-runtime", "async-nats")
    );
}
