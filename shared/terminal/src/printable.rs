//! Text of strangers made fit for a terminal.

use std::borrow::Cow;

/// `text` with every control character escaped as Rust writes it (`\\u{1b}`), line breaks and tabs
/// among them, and with the characters that change the direction of what follows.
///
/// Names of files and classes, messages of workers, and letters come from outside. Printed as they
/// are they could move the cursor, set the title of a window or hide a part of a line.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hidden(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// As [`printable`], for text of several lines: breaks between lines are kept.
pub fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// JSON with the same characters escaped as JSON escapes them (`\\u007f`, in surrogate pairs above
/// U+FFFF), so that it is still the same value. Line breaks are kept: in JSON they stand between
/// values alone.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |character: char| character != '\n' && is_hidden(character);
    if !json.chars().any(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_escaped(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // Marks, embeddings, overrides and isolates of direction; line and paragraph
            // separators; deprecated controls; the byte order mark; annotations; tags.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_the_cursor_is_left() {
        for (text, expected) in [
            ("plain, grün, 猫", "plain, grün, 猫"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable_lines("a\u{7}\nb"), "a\\u{7}\nb");
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = "\u{1b}[2J \u{7f}\u{9b}31m \u{202e}gnp \u{2028} \u{e0041} grün 猫 \\ \"\n";
        let value = serde_json::json!({"error": text, (text): [text]});
        for json in [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            let shown = printable_json(&json);
            let hidden = |line: &str| line.chars().any(is_hidden);
            assert!(!shown.lines().any(hidden), "{shown}");
            assert!(
                shown.contains("\\u007f") && shown.contains("\\udb40\\udc41"),
                "{shown}"
            );
            let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(read, value);
        }
        assert!(matches!(printable_json("{\n}"), Cow::Borrowed(_)));
    }
}
