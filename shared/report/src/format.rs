//! Numbers and times as text for people. Where a number is missing, its reason is a tooltip.

use maud::{Markup, html};

/// A number with four significant digits.
pub fn number(value: f64) -> String {
    with_decimals(value, decimals(value))
}

/// Mean ± deviation, both to the mean's last digit.
pub fn spread(mean: f64, std: Option<f64>) -> String {
    match (std, decimals(mean)) {
        (None, decimals) => with_decimals(mean, decimals),
        (Some(std), Some(places)) => format!("{} ± {std:.places$}", number(mean)),
        (Some(std), None) => format!("{} ± {std:.1e}", number(mean)),
    }
}

/// Decimals that make four digits; `None` for numbers that need an exponent.
fn decimals(value: f64) -> Option<usize> {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return None;
    }
    Some(if size >= 1000.0 {
        0
    } else {
        (3 - size.max(1e-3).log10().floor() as i32).clamp(0, 4) as usize
    })
}

fn with_decimals(value: f64, decimals: Option<usize>) -> String {
    match decimals {
        _ if !value.is_finite() => "not finite".to_owned(),
        Some(places) => minus(format!("{value:.places$}")),
        None => minus(format!("{value:.3e}")),
    }
}

/// A change in percent, with its sign.
pub fn percent(fraction: f64) -> String {
    minus(format!("{:+.1} %", 100.0 * fraction))
}

/// A share of a whole in percent: `97.33 %`.
pub fn share(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// A difference with its sign, except where it rounds to zero.
pub fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 && text.chars().any(|c| matches!(c, '1'..='9')) {
        format!("+{text}")
    } else {
        text
    }
}

/// A count with its thousands separated by commas.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 job`, `3 jobs`.
pub fn counted(value: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(value),
        if value == 1 { "" } else { "s" }
    )
}

/// A number of training images: `500`, `28.7k`, `200M`.
pub fn images(nimg: u64) -> String {
    match nimg {
        0..1_000 => nimg.to_string(),
        1_000..1_000_000 => format!("{}k", trimmed(nimg as f64 / 1e3)),
        _ => format!("{}M", trimmed(nimg as f64 / 1e6)),
    }
}

fn trimmed(value: f64) -> String {
    format!("{value:.1}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// A duration in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    // The sum of no durations is −0.0.
    match seconds + 0.0 {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A point in time in UTC, to the minute.
pub fn moment(unix_ms: u64) -> String {
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp((unix_ms / 1000) as i64) else {
        return format!("{unix_ms} ms");
    };
    format!(
        "{}-{:02}-{:02} {:02}:{:02} UTC",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute()
    )
}

/// What stands where a number is missing.
pub fn missing(reason: &str) -> Markup {
    html! { span.missing title=(reason) { "missing" } }
}

/// What stands where a number would make no sense.
pub fn inapplicable(reason: &str) -> Markup {
    html! { span.quiet title=(reason) { "–" } }
}

/// A typographic minus sign, except where the number rounds to zero.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().any(|c| matches!(c, '1'..='9')) => format!("−{rest}"),
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, expect) in [
            (0.0, "0.0000"),
            (0.67123, "0.6712"),
            (12.3456, "12.35"),
            (1234.5, "1234"),
            (-0.5, "−0.5000"),
            (1e-7, "1.000e-7"),
            (f64::NAN, "not finite"),
        ] {
            assert_eq!(number(value), expect);
        }
        assert_eq!(spread(0.5, Some(0.01)), "0.5000 ± 0.0100");
        assert_eq!(percent(-0.123), "−12.3 %");
        assert_eq!(
            (signed(0.19), signed(-0.5), signed(0.0)),
            (
                "+0.1900".to_owned(),
                "−0.5000".to_owned(),
                "0.0000".to_owned()
            )
        );
    }
    #[test]
    fn counts_are_readable() {
        assert_eq!(
            (count(999), count(50_000), count(1_234_567)),
            (
                "999".to_owned(),
                "50,000".to_owned(),
                "1,234,567".to_owned()
            )
        );
        assert_eq!(
            (images(500), images(28_672), images(200_000_000)),
            ("500".to_owned(), "28.7k".to_owned(), "200M".to_owned())
        );
        assert_eq!(
            (counted(1, "job"), counted(2, "job")),
            ("1 job".to_owned(), "2 jobs".to_owned())
        );
    }
    #[test]
    fn times_are_readable() {
        assert_eq!(duration(std::iter::empty::<f64>().sum()), "0.0 s");
        assert_eq!(moment(1_700_000_000_000), "2023-11-14 22:13 UTC");
        assert_eq!(
            (duration(3.21), duration(90.0), duration(600.0)),
            ("3.2 s".to_owned(), "90 s".to_owned(), "10 min".to_owned())
        );
    }
}
