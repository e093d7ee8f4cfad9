//! Keys of JSON values that a user names: a key, or one inside another, with dots between them.

use serde_json::Value;

/// The value under a key of an object: of that very name, or of the names that dots part, one in
/// the other (`meta.label`).
pub(super) fn value_at<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).or_else(|| {
        let mut dots = key.match_indices('.');
        dots.find_map(|(at, _)| value_at(value.get(&key[..at])?, &key[at + 1..]))
    })
}

/// The keys that [`value_at`] takes, for messages: those of objects inside with their names before
/// a dot.
pub(super) fn keys_of(value: &Value, depth: usize) -> Vec<String> {
    let entries = value.as_object().into_iter().flatten().take(KEYS);
    let keys = entries.flat_map(|(key, inner)| {
        let below = match inner {
            Value::Object(_) if depth < NESTED => keys_of(inner, depth + 1),
            _ => Vec::new(),
        };
        if below.is_empty() {
            return vec![key.clone()];
        }
        let below = below.iter().map(|inner| format!("{key}.{inner}"));
        below.collect()
    });
    keys.take(KEYS).collect()
}

/// Keys of each object that messages choose from, and the depth to which they are looked for.
const KEYS: usize = 20;
const NESTED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dots_lead_into_objects_unless_a_key_has_them() {
        let value = json!({"a": {"b": {"c": 1}}, "d.e": 3, "f": [{"g": 4}], "h": {}});
        for (key, expected) in [
            ("a.b.c", Some(json!(1))),
            ("d.e", Some(json!(3))),
            ("a.b", Some(json!({"c": 1}))),
            ("a.x", None),
            ("f.g", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(value_at(&value, key), expected.as_ref(), "{key}");
        }
        // A key that has dots itself comes before the path.
        let both = json!({"a.b": 1, "a": {"b": 2}});
        assert_eq!(value_at(&both, "a.b"), Some(&json!(1)));
        assert_eq!(keys_of(&value, 0), ["a.b.c", "d.e", "f", "h"]);
        assert!(keys_of(&json!([1]), 0).is_empty());
    }
}
