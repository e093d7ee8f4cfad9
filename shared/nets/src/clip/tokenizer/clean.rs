//! Text normalisation before CLIP's tokenizer: plain typography, HTML unescaped, white space
//! collapsed, lower case.

use unicode_normalization::UnicodeNormalization;

/// Normalises a text. Of what the library `ftfy` does upstream, ligatures, curly quotes, full-width
/// forms and composed characters are handled; text decoded with the wrong encoding is not repaired.
pub(super) fn clean(text: &str) -> String {
    let plain: String = text.chars().flat_map(plain).nfc().collect();
    // Twice, as upstream: `&amp;amp;` becomes `&`.
    let unescaped = unescape(&unescape(&plain));
    unescaped
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

fn plain(c: char) -> Vec<char> {
    match c {
        '\u{2018}'..='\u{201b}' => vec!['\''],
        '\u{201c}'..='\u{201f}' => vec!['"'],
        // Latin ligatures, Dutch ĳ, full-width ASCII, the ideographic space: their compatibility
        // decomposition.
        '\u{fb00}'..='\u{fb06}'
        | '\u{132}'
        | '\u{133}'
        | '\u{149}'
        | '\u{1c4}'..='\u{1cc}'
        | '\u{1f1}'..='\u{1f3}'
        | '\u{ff01}'..='\u{ff5e}'
        | '\u{3000}' => c.nfkc().collect(),
        _ => vec![c],
    }
}

/// Replaces numeric character references, and the named ones that are usual in captions.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest
            .find(';')
            .filter(|end| *end <= 10)
            .and_then(|end| Some((end, character(&rest[1..end])?)));
        match reference {
            Some((end, c)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '©',
        "reg" => '®',
        "deg" => '°',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "euro" => '€',
        "pound" => '£',
        "eacute" => 'é',
        "trade" => '™',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn texts_are_normalised_as_by_clip() {
        for (text, expect) in [
            ("  A \t B\n", "a b"),
            ("rock &amp; roll &lt;3 &amp;amp;", "rock & roll <3 &"),
            ("&#65;&#x42; & ; &unknown;", "ab & ; &unknown;"),
            ("ﬁne “curly” ‘quotes’", "fine \"curly\" 'quotes'"),
            ("ｆｕｌｌ　width", "full width"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("ΕλλάδαΣ", "ελλάδας"),
        ] {
            assert_eq!(clean(text), expect);
        }
    }
}
