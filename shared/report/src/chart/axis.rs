//! Axes: which range, which ticks, and what is written at them.

mod ticks;

use ticks::{round_ticks, thinned};

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// Equal differences take equal lengths.
    Linear,
    /// Equal factors take equal lengths.
    Logarithmic,
}

/// How ticks are spaced along an axis.
#[derive(Clone, Debug, PartialEq)]
enum Ticks {
    /// At round numbers within the range.
    Round,
    /// At the values themselves: granularities, snapshots.
    AtValues,
    /// At 0, 1, …, with these names: the axis has categories, not numbers.
    Columns(Vec<String>),
}

/// An axis as a chart asks for it, before the values are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Name, unit and direction.
    pub label: String,
    scale: Scale,
    ticks: Ticks,
    /// The range reaches at least from here to there.
    includes: Option<(f64, f64)>,
    /// No value can lie outside, so the range does not either.
    limits: (f64, f64),
}

impl Axis {
    /// Equal steps with ticks at round numbers; the range follows the values.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Linear,
            ticks: Ticks::Round,
            includes: None,
            limits: (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
    /// All of 0 to 1.
    pub fn fraction(label: impl Into<String>) -> Self {
        Self {
            includes: Some((0.0, 1.0)),
            ..Self::linear(label)
        }
    }
    /// From 0 to the largest value.
    pub fn from_zero(label: impl Into<String>) -> Self {
        Self {
            includes: Some((0.0, 0.0)),
            ..Self::linear(label)
        }
    }
    /// Granularities C: equal factors, ticks at those that occur.
    pub fn clusters() -> Self {
        Self {
            scale: Scale::Logarithmic,
            ticks: Ticks::AtValues,
            ..Self::linear("C, number of clusters (logarithmic)")
        }
    }
    /// One place per name, at 0, 1, …
    pub fn columns(label: impl Into<String>, names: Vec<String>) -> Self {
        Self {
            includes: Some((-0.5, names.len() as f64 - 0.5)),
            ticks: Ticks::Columns(names),
            ..Self::linear(label)
        }
    }
    /// The same axis with ticks at the values themselves.
    pub fn with_ticks_at_values(self) -> Self {
        Self {
            ticks: Ticks::AtValues,
            ..self
        }
    }
    /// The same axis for a quantity that cannot lie outside `limits`: neither padding nor an error
    /// bar reaches beyond them.
    pub fn within(self, limits: (f64, f64)) -> Self {
        Self { limits, ..self }
    }

    /// The axis for these (low, high) values, with at most `most` ticks.
    pub fn laid_out(&self, values: &[(f64, f64)], most: usize) -> Layout {
        // One tick gives no scale.
        let most = most.max(2);
        let (low, high) = self.extent(values);
        let range = match self.scale {
            Scale::Linear => self.padded(low, high),
            Scale::Logarithmic => {
                let (low, high) = (logarithm(low), logarithm(high));
                // 6 % keeps marks off the frame; a single value gets half a unit of ln C on each
                // side.
                let pad = if high > low { (high - low) * 0.06 } else { 0.5 };
                (low - pad, high + pad)
            }
        };
        let mut layout = Layout {
            scale: self.scale,
            range,
            limits: self.limits,
            ticks: Vec::new(),
        };
        layout.ticks = match &self.ticks {
            Ticks::Columns(names) => (0..).map(f64::from).zip(names.iter().cloned()).collect(),
            Ticks::Round => ticks::labelled(round_ticks(range, most)),
            Ticks::AtValues => {
                ticks::labelled(thinned(values, most, |value| layout.fraction(value)))
            }
        };
        layout
    }

    /// Smallest and largest finite value, and what the axis has to include.
    fn extent(&self, values: &[(f64, f64)]) -> (f64, f64) {
        let finite = values
            .iter()
            .filter(|(low, high)| low.is_finite() && high.is_finite());
        let ends = finite
            .chain(&self.includes)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |ends, (low, high)| {
                (ends.0.min(*low), ends.1.max(*high))
            });
        if ends.0 > ends.1 { (0.0, 1.0) } else { ends }
    }

    /// A little room at both ends, but not beyond a limit, an end that is asked for, or zero: a
    /// distance or a count below zero does not exist.
    fn padded(&self, low: f64, high: f64) -> (f64, f64) {
        // 7 % keeps marks off the frame; a single value gets a tenth of itself on each side.
        let pad = if high > low {
            (high - low) * 0.07
        } else {
            high.abs().max(1.0) * 0.1
        };
        let (from, to) = self.includes.unwrap_or((f64::NAN, f64::NAN));
        let bottom = if low == from { low } else { low - pad };
        let top = if high == to && high > low {
            high
        } else {
            high + pad
        };
        let bottom = if low >= 0.0 { bottom.max(0.0) } else { bottom };
        let top = if high <= 0.0 && low < high {
            top.min(0.0)
        } else {
            top
        };
        (bottom.max(self.limits.0), top.min(self.limits.1))
    }
}

fn logarithm(value: f64) -> f64 {
    // A logarithmic axis has no zero: what is not positive stands at its left end.
    value.max(1e-12).ln()
}

/// An axis with its range and ticks.
pub struct Layout {
    scale: Scale,
    /// Ends of the axis: values, or their logarithms.
    range: (f64, f64),
    limits: (f64, f64),
    /// Value and label of each tick.
    pub ticks: Vec<(f64, String)>,
}

impl Layout {
    /// Where a value lies between the low end (0) and the high end (1).
    pub fn fraction(&self, value: f64) -> f64 {
        let value = value.clamp(self.limits.0, self.limits.1);
        let at = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => logarithm(value),
        };
        (at - self.range.0) / (self.range.1 - self.range.0)
    }
    /// Characters of the longest label.
    pub fn longest_label(&self) -> usize {
        let lengths = self.ticks.iter().map(|(_, label)| label.chars().count());
        lengths.max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_range(axis: &Axis, values: &[(f64, f64)], expect: (f64, f64)) {
        assert_eq!(axis.laid_out(values, 5).range, expect, "{axis:?}");
    }

    #[test]
    fn an_axis_without_values_still_has_a_range() {
        check_range(&Axis::linear("x"), &[], (0.0, 1.07));
    }
    #[test]
    fn padding_does_not_cross_zero() {
        check_range(&Axis::linear("FD"), &[(0.0, 100.0)], (0.0, 107.0));
        check_range(&Axis::linear("KID"), &[(-100.0, 0.0)], (-107.0, 0.0));
        check_range(&Axis::linear("change"), &[(-100.0, 100.0)], (-114.0, 114.0));
    }
    #[test]
    fn a_bounded_quantity_keeps_to_its_bounds() {
        let precision = Axis::linear("precision").within((0.0, 1.0));
        check_range(&precision, &[(-0.1, 0.2), (0.9, 1.05)], (0.0, 1.0));
        let layout = precision.laid_out(&[(-0.1, 0.2), (0.9, 1.05)], 5);
        assert_eq!((layout.fraction(-0.1), layout.fraction(1.05)), (0.0, 1.0));
    }
    #[test]
    fn logarithmic_axes_have_equal_factors() {
        let layout = Axis::clusters().laid_out(&[(5.0, 5.0), (20.0, 20.0), (80.0, 80.0)], 6);
        let between = |a: f64, b: f64| layout.fraction(b) - layout.fraction(a);
        assert!((between(5.0, 20.0) - between(20.0, 80.0)).abs() < 1e-12);
        let labels: Vec<&str> = layout.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(labels, ["5", "20", "80"]);
    }
}
