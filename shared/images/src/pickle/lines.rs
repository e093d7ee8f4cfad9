//! Texts of protocol 0, which writes them on a line with escapes.

/// The bytes of a `repr` of Python 2, quotes included: `'a\\n\\x00'`.
pub(super) fn string(line: &str) -> Option<Vec<u8>> {
    let line = line.trim();
    let quote = line
        .chars()
        .next()
        .filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = line.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => number(&mut rest, 2)? as u8,
            other => other,
        });
    }
    Some(bytes)
}

/// A text in `raw-unicode-escape`: characters of Latin-1 as they are, others as `\\uXXXX` or
/// `\\UXXXXXXXX`.
///
/// Latin-1 is one byte a character, so that any line is such a text.
pub(super) fn unicode(line: &[u8]) -> Option<String> {
    let line: String = line.iter().map(|byte| char::from(*byte)).collect();
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        let mut ahead = rest.clone();
        let width = match (character, ahead.next()) {
            ('\\', Some('u')) => 4,
            ('\\', Some('U')) => 8,
            _ => {
                text.push(character);
                continue;
            }
        };
        let digits: String = ahead.by_ref().take(width).collect();
        let code = u32::from_str_radix(&digits, 16)
            .ok()
            .filter(|_| digits.len() == width)?;
        text.push(char::from_u32(code)?);
        rest = ahead;
    }
    Some(text)
}

fn number(rest: &mut std::str::Bytes<'_>, width: usize) -> Option<u32> {
    let digits: Vec<u8> = rest.take(width).collect();
    u32::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_lines_are_those_that_python_wrote() {
        assert_eq!(string(r"'a\x00\n\\b'"), Some(b"a\x00\n\\b".to_vec()));
        assert_eq!(string("\"it's\""), Some(b"it's".to_vec()));
        assert_eq!(string("plain"), None);
        assert_eq!(string(r"'\x0'"), Some(vec![0]));
        assert_eq!(
            unicode(br"a\u0000\u00fc\U0001f600"),
            Some("a\0ü😀".to_owned())
        );
        assert_eq!(unicode(b"\xfc\x80"), Some("ü\u{80}".to_owned()));
        assert_eq!(unicode(br"c:\dir"), Some(r"c:\dir".to_owned()));
        assert_eq!(unicode(br"\u00"), None);
    }
}
