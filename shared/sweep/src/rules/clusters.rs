//! What must hold of `[[clustering]]` beyond its types.

use super::{Findings, unknown};
use crate::{
    Clusters, SweepSpec,
    file::ClustersFile,
    method::{ClusteringFile, Granularity, METHODS, MethodRow},
};
use std::collections::BTreeMap;

/// Checks that a clustering has the keys of its method and no others.
pub(super) fn as_written(file: &ClusteringFile, path: &str, findings: &mut Findings) {
    let method = file.method.as_str();
    let Some(row) = MethodRow::named(method) else {
        findings.add(
            format!("{path}.method"),
            unknown("clustering method", method, &METHODS.map(|row| row.name)),
        );
        return;
    };
    for (present, key, owner) in file.method_keys() {
        findings.check(
            !present || method == owner,
            format!("{path}.{key}"),
            format!("`{key}` belongs to method \"{owner}\", not to \"{method}\": remove it"),
        );
    }
    if method == "imported" {
        let given = file.file.as_deref().is_some_and(|file| !file.is_empty());
        findings.check(
            given,
            format!("{path}.file"),
            "imported ids need `file = \"<npy or PyTorch file>\"`",
        );
    }
    let at = format!("{path}.clusters");
    match (&row.granularity, &file.clusters) {
        (Granularity::Absent, Some(_)) => findings.add(
            at,
            format!(
                "method \"{method}\" has no choice of granularity: remove \
                 `clusters`"
            ),
        ),
        (Granularity::Chosen, None) => findings.add(
            at,
            format!(
                "method \"{method}\" needs `clusters`: \"bound\", \"c_max\", or a list such \
                 as [10, 20, 40]"
            ),
        ),
        (Granularity::OneNumber, Some(ClustersFile::List(list))) if list.len() == 1 => {}
        (Granularity::OneNumber, _) => findings.add(
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
        clustering
            .method
            .check(&clustering.clusters, &path, findings);
        if clustering.method.is_unconditional() {
            unconditional += 1;
            findings.check(
                unconditional < 2,
                format!("{path}.method"),
                "a second unconditional network would be the same: remove it",
            );
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
