//! What was asked for: the sweep file, and every default behind it.

use crate::{context::ReportContext, section::Section};
use maud::{Markup, html};
use serde_json::Value;

/// The sweep file as written, and with its defaults filled in.
pub fn section(context: &ReportContext) -> Section {
    let resolved = serde_json::to_value(&context.outcome.spec).unwrap_or_default();
    let body = html! {
        details open { summary { "The sweep file as written" } pre.code { (context.outcome.toml.trim_end()) } }
        details { summary { "With every default and preset filled in" } (tree(&resolved)) }
    };
    Section {
        id: "settings",
        title: "Settings",
        body,
    }
}

/// Nested settings as nested lists.
fn tree(value: &Value) -> Markup {
    html! { dl.tree {
        @for (name, value) in pairs(value) {
            dt { (name) }
            dd { @if value.is_object() || value.as_array().is_some_and(|list| list.iter().any(Value::is_object)) { (tree(value)) } @else { code { (plain(value)) } } }
        }
    } }
}

fn pairs(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| {
                (
                    value["name"]
                        .as_str()
                        .map_or(index.to_string(), str::to_owned),
                    value,
                )
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}
