//! Rules of `[[clustering]]`.

use super::{Findings, Section, unknown};
use crate::{
    Clusters, Method, SweepSpec,
    file::{ClusteringFile, ClustersFile},
};
use cedm_contract::kinds::cluster::{KmeansParams, TemiParams};
use std::collections::BTreeMap;

const METHODS: [&str; 5] = ["temi", "kmeans", "ground_truth", "imported", "none"];

/// Checks that a clustering has the keys of its method and no others.
pub(super) fn as_written(file: &ClusteringFile, path: &str, findings: &mut Findings) {
    let method = file.method.as_str();
    if !METHODS.contains(&method) {
        findings.add(
            format!("{path}.method"),
            unknown("clustering method", method, &METHODS),
        );
        return;
    }
    let foreign = |present: bool, key: &str, owner: &str, findings: &mut Findings| {
        findings.check(
            !present || method == owner,
            format!("{path}.{key}"),
            format!("`{key}` belongs to method \"{owner}\", not to \"{method}\": remove it"),
        );
    };
    foreign(file.temi.is_some(), "temi", "temi", findings);
    foreign(file.kmeans.is_some(), "kmeans", "kmeans", findings);
    foreign(file.coarse.is_some(), "coarse", "ground_truth", findings);
    foreign(file.file.is_some(), "file", "imported", findings);
    if method == "imported" {
        let given = file.file.as_deref().is_some_and(|file| !file.is_empty());
        findings.check(
            given,
            format!("{path}.file"),
            "imported ids need `file = \"<npy or PyTorch file>\"`",
        );
    }
    let at = format!("{path}.clusters");
    match (method, &file.clusters) {
        ("ground_truth" | "none", Some(_)) => findings.add(
            at,
            format!(
                "method \"{method}\" has no choice of granularity: remove \
                 `clusters`"
            ),
        ),
        ("temi" | "kmeans", None) => findings.add(
            at,
            format!(
                "method \"{method}\" needs `clusters`: \"bound\", \"c_max\", or a list such \
                 as [10, 20, 40]"
            ),
        ),
        ("imported", Some(ClustersFile::List(list))) if list.len() == 1 => {}
        ("imported", _) => findings.add(
            at,
            "imported ids need `clusters = <number of ids>`: one number",
        ),
        (_, Some(ClustersFile::Word(word))) => {
            findings.check(
                ["bound", "c_max"].contains(&word.as_str()),
                at,
                unknown("granularity", word, &["bound", "c_max"]),
            );
        }
        _ => {}
    }
}

/// Checks names, lists and parameters of every clustering.
pub(super) fn resolved(spec: &SweepSpec, findings: &mut Findings) {
    findings.check(
        !spec.clusterings.is_empty(),
        "clustering",
        "no clustering: expected at least one `[[clustering]]` section",
    );
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unconditional = 0;
    for (index, clustering) in spec.clusterings.iter().enumerate() {
        let path = format!("clustering.{index}");
        let fits = !clustering.name.is_empty()
            && clustering.name.len() <= 40
            && clustering
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        findings.check(
            fits,
            format!("{path}.name"),
            format!(
                "the name `{}` is malformed: expected 1 to 40 of a-z, 0-9, - and .",
                clustering.name
            ),
        );
        if names.insert(&clustering.name, index).is_some() {
            findings.add(
                format!("{path}.name"),
                format!(
                    "a second clustering is called `{}`: give it another `name`",
                    clustering.name
                ),
            );
        }
        if let Clusters::List(list) = &clustering.clusters {
            check_list(list, &format!("{path}.clusters"), findings);
        }
        if clustering.clusters.needs_bound() && spec.bound_source(clustering).is_none() {
            findings.add(
                format!("{path}.clusters"),
                "no bound search: it needs a TEMI clustering with `clusters = \"bound\"` \
                 or \"c_max\" in this sweep",
            );
        }
        match &clustering.method {
            Method::Temi(temi) => check_temi(
                temi,
                Section {
                    path: &format!("{path}.temi"),
                    findings,
                },
            ),
            Method::Kmeans(kmeans) => check_kmeans(
                kmeans,
                &clustering.clusters,
                Section {
                    path: &format!("{path}.kmeans"),
                    findings,
                },
            ),
            Method::None => {
                unconditional += 1;
                findings.check(
                    unconditional < 2,
                    format!("{path}.method"),
                    "a second unconditional network would be the same: remove it",
                );
            }
            Method::GroundTruth { .. } | Method::Imported { .. } => {}
        }
    }
}

fn check_list(list: &[u32], path: &str, findings: &mut Findings) {
    findings.check(
        !list.is_empty(),
        path,
        "an empty list: expected at least one C, such as [10, 20, 40]",
    );
    for (index, c) in list.iter().enumerate() {
        findings.check(
            *c >= 2,
            path,
            format!("C = {c}: expected at least 2 clusters"),
        );
        findings.check(
            *c <= 1_000_000,
            path,
            format!("C = {c}: expected at most 1,000,000 clusters"),
        );
        findings.check(
            index == 0 || list[index - 1] != *c,
            path,
            format!("C = {c} is listed twice"),
        );
    }
}

fn check_temi(temi: &TemiParams, mut at: Section<'_>) {
    for (key, value) in [
        ("heads", temi.heads),
        ("layers", temi.layers),
        ("hidden", temi.hidden),
        ("bottleneck", temi.bottleneck),
        ("epochs", temi.epochs),
        ("batch", temi.batch),
        ("neighbours", temi.neighbours),
    ] {
        at.at_least(key, u64::from(value), 1);
    }
    for (key, value) in [
        ("beta", temi.beta),
        ("student_temperature", temi.student_temperature),
        ("teacher_temperature_start", temi.teacher_temperature_start),
        ("teacher_temperature", temi.teacher_temperature),
        ("base_lr", temi.base_lr),
    ] {
        at.positive(key, value);
    }
    at.check_value(
        temi.beta <= 2.0,
        "beta",
        temi.beta,
        "at most 2 (0.6 for near-uniform use, 1 for the lower bound)",
    );
    for (key, value) in [
        ("min_lr", temi.min_lr),
        ("weight_decay", temi.weight_decay),
        ("weight_decay_end", temi.weight_decay_end),
        ("clip", temi.clip),
    ] {
        at.not_negative(key, value);
    }
    at.below_one("marginal_momentum", temi.marginal_momentum);
    at.below_one("betas", temi.betas.0);
    at.below_one("betas", temi.betas.1);
    at.positive("eps", temi.eps);
    at.fraction("teacher_momentum", temi.teacher_momentum);
    at.fraction("teacher_momentum_end", temi.teacher_momentum_end);
    {
        let (key, value) = ("warmup_epochs", temi.warmup_epochs);
        let message = format!(
            "`{key}` is {value}, more than the {} epochs of the training",
            temi.epochs
        );
        at.check(value <= temi.epochs || temi.epochs == 0, key, message);
    }
    {
        let (key, value) = ("freeze_last_layer_epochs", temi.freeze_last_layer_epochs);
        let message = format!(
            "`{key}` is {value} of {} epochs: the last layer would never learn",
            temi.epochs
        );
        at.check(value < temi.epochs || temi.epochs == 0, key, message);
    }
}

fn check_kmeans(kmeans: &KmeansParams, clusters: &Clusters, mut at: Section<'_>) {
    at.at_least("starts", u64::from(kmeans.starts), 1);
    at.at_least("max_iterations", u64::from(kmeans.max_iterations), 1);
    at.not_negative("tolerance", kmeans.tolerance);
    if let Clusters::List(list) = clusters {
        let (rows, most) = (kmeans.mini_batch, list.iter().copied().max().unwrap_or(0));
        at.check(
            rows == 0 || rows >= most,
            "mini_batch",
            format!(
                "`mini_batch` is {rows}: expected 0 for full iterations, or at least the \
                 {most} clusters"
            ),
        );
    }
}
