//! Axes: which range, which ticks, which words.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors.
    Logarithmic,
}

/// An axis as asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Name, unit and direction.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// Whether ticks stand at the values themselves (granularities) rather than at round numbers.
    pub ticks_at_values: bool,
    /// The range must reach from here to there.
    pub span: Option<(f64, f64)>,
    /// Names of the places 0, 1, …, for axes that count nothing.
    pub columns: Vec<String>,
}

impl Axis {
    /// Round ticks, equal steps.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Linear,
            ticks_at_values: false,
            span: None,
            columns: Vec::new(),
        }
    }
    /// From 0 to 1.
    pub fn fraction(label: impl Into<String>) -> Self {
        Self {
            span: Some((0.0, 1.0)),
            ..Self::linear(label)
        }
    }
    /// From 0 on.
    pub fn from_zero(label: impl Into<String>) -> Self {
        Self {
            span: Some((0.0, 0.0)),
            ..Self::linear(label)
        }
    }
    /// Granularities: equal factors, ticks at those that occur.
    pub fn clusters() -> Self {
        Self {
            label: "C, number of clusters (logarithmic)".to_owned(),
            scale: Scale::Logarithmic,
            ticks_at_values: true,
            span: None,
            columns: Vec::new(),
        }
    }

    /// One place per name.
    pub fn columns(label: impl Into<String>, columns: Vec<String>) -> Self {
        Self {
            span: Some((-0.5, columns.len() as f64 - 0.5)),
            columns,
            ..Self::linear(label)
        }
    }

    /// Range and at most `most` ticks for these (low, high) values.
    pub fn laid_out(&self, values: &[(f64, f64)], most: u32) -> Layout {
        let most = most.max(2) as usize;
        let finite = values
            .iter()
            .filter(|(low, high)| low.is_finite() && high.is_finite());
        let (mut low, mut high) = finite
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (low, high)| {
                (a.min(*low), b.max(*high))
            });
        if let Some((from, to)) = self.span {
            (low, high) = (low.min(from), high.max(to));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match self.scale {
            Scale::Linear => {
                let pad = if high > low {
                    (high - low) * 0.07
                } else {
                    high.abs().max(1.0) * 0.1
                };
                let pinned = |edge: f64| {
                    self.span
                        .is_some_and(|(from, to)| edge == from || edge == to)
                };
                let range = (
                    if pinned(low) { low } else { low - pad },
                    if pinned(high) && high > low {
                        high
                    } else {
                        high + pad
                    },
                );
                let ticks = if !self.columns.is_empty() {
                    (0..self.columns.len())
                        .map(|column| column as f64)
                        .collect()
                } else if self.ticks_at_values {
                    thinned(values, most, |v| v)
                } else {
                    round_ticks(range, most)
                };
                Layout {
                    scale: self.scale,
                    range,
                    ticks,
                    columns: self.columns.clone(),
                }
            }
            Scale::Logarithmic => {
                let (low, high) = (low.max(1e-12).ln(), high.max(1e-12).ln());
                let pad = if high > low { (high - low) * 0.06 } else { 0.5 };
                let range = (low - pad, high + pad);
                Layout {
                    scale: self.scale,
                    range,
                    ticks: thinned(values, most, f64::ln),
                    columns: Vec::new(),
                }
            }
        }
    }
}

/// An axis with range and ticks, in drawing coordinates.
pub struct Layout {
    scale: Scale,
    /// Ends of the axis.
    pub range: (f64, f64),
    ticks: Vec<f64>,
    columns: Vec<String>,
}

impl Layout {
    /// Where a value lies.
    pub fn at(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(1e-12).ln(),
        }
    }
    /// Where the ticks lie.
    pub fn positions(&self) -> Vec<f64> {
        self.ticks.iter().map(|tick| self.at(*tick)).collect()
    }
    /// The words at a tick.
    pub fn text(&self, position: f64) -> String {
        let value = self.ticks.iter().copied().min_by(|a, b| {
            (self.at(*a) - position)
                .abs()
                .total_cmp(&(self.at(*b) - position).abs())
        });
        let value = value.unwrap_or(position);
        match self.columns.get(value as usize) {
            Some(name) => name.clone(),
            None => plain(value, self.thousands()),
        }
    }
    /// Whether ticks are written in thousands: all of them, or none.
    fn thousands(&self) -> bool {
        self.ticks.iter().any(|tick| tick.abs() >= 1e4)
    }
    /// Pixels that the widest tick needs.
    pub fn label_width(&self) -> u32 {
        let longest = self
            .ticks
            .iter()
            .map(|tick| plain(*tick, self.thousands()).chars().count())
            .max()
            .unwrap_or(1);
        8 + 7 * longest as u32
    }
}

/// A tick's number, as short as it can be.
fn plain(value: f64, thousands: bool) -> String {
    let size = value.abs();
    if size >= 1e6 {
        return format!("{}M", rounded(value / 1e6));
    }
    if size >= 1e3 && thousands {
        return format!("{}k", rounded(value / 1e3));
    }
    if size != 0.0 && size < 1e-3 {
        return format!("{value:.0e}");
    }
    rounded(value)
}

fn rounded(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten within the range.
fn round_ticks((low, high): (f64, f64), most: usize) -> Vec<f64> {
    let least = (high - low) / most as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    (0..=2 * most as i64)
        .map(|n| (first + n) as f64 * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

/// The values that occur, less those whose labels would touch; the ends stay.
fn thinned(values: &[(f64, f64)], most: usize, place: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = values
        .iter()
        .flat_map(|(low, high)| [*low, *high])
        .filter(|value| value.is_finite())
        .collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    let (Some(first), Some(last)) = (all.first().copied(), all.last().copied()) else {
        return Vec::new();
    };
    let gap = (place(last) - place(first)) / most as f64;
    let mut kept = vec![first];
    for value in all {
        let far = |other: f64| (place(value) - place(other)).abs() >= gap;
        if value < last && kept.last().is_some_and(|kept| far(*kept)) && far(last) {
            kept.push(value);
        }
    }
    if last > first {
        kept.push(last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_ticks_cover_the_range() {
        assert_eq!(
            round_ticks((0.0, 1.0), 5),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(round_ticks((3.0, 47.0), 5), [10.0, 20.0, 30.0, 40.0]);
    }
    #[test]
    fn ticks_stand_at_granularities_that_do_not_touch() {
        let values: Vec<_> = [2.0, 10.0, 11.0, 12.0, 80.0]
            .iter()
            .map(|c| (*c, *c))
            .collect();
        assert_eq!(thinned(&values, 6, f64::ln), [2.0, 10.0, 80.0]);
        assert_eq!(thinned(&values[..1], 6, f64::ln), [2.0]);
    }
    #[test]
    fn numbers_are_short() {
        for (value, expect) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (29_000.0, "29k"),
            (2.5e6, "2.5M"),
            (-3.0, "-3"),
            (0.00001, "1e-5"),
        ] {
            assert_eq!(plain(value, value > 1e4), expect);
        }
    }
    #[test]
    fn an_axis_without_values_still_has_a_range() {
        let layout = Axis::linear("x").laid_out(&[], 5);
        assert!(layout.range.0 < layout.range.1);
    }
}
