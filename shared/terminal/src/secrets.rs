//! User and password of URLs, left out of what is printed.

use std::borrow::Cow;

/// `text` with `…` in place of the user and password of every URL: `nats://user:secret@host`
/// becomes `nats://…@host`.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, authority) = rest.split_at(at + 3);
        let end = authority.find(ends_authority).unwrap_or(authority.len());
        shown.push_str(before);
        rest = match authority[..end].rfind('@') {
            Some(at) => {
                shown.push('…');
                &authority[at..]
            }
            None => authority,
        };
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Whether a character cannot be part of a URL's authority (RFC 3986, section 3.2); a comma can,
/// but separates the URLs of a list.
fn ends_authority(character: char) -> bool {
    matches!(character, '/' | '?' | '#' | '"' | '`' | '<' | '>' | ',')
        || character.is_whitespace()
        || character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_passwords_are_left_out_and_nothing_else() {
        for (text, shown) in [
            ("plain a@b.c", "plain a@b.c"),
            ("connect to nats://host:4222", "connect to nats://host:4222"),
            (
                "nats://u:p@host:4222: refused",
                "nats://…@host:4222: refused",
            ),
            ("nats://a:b@x,nats://c:d@y", "nats://…@x,nats://…@y"),
            ("`http://key:s@cr@t@s3/b@c`", "`http://…@s3/b@c`"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("tls://token@host", "tls://…@host"),
            ("://@", "://…@"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
